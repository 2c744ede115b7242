"""Extracts of what exists: workspaces, projects, services, users and members, as versions.

Here: SQL text, one SELECT a table, of the versions (JSON lines) last updated in a span of days;
what existed before the first simulated day goes with the first span. Not here: the cast (`world`).
"""

from __future__ import annotations

from simulator.traffic import DAY
from simulator.world import WORKSPACES, Parameters, Span

TIMES = "%Y-%m-%dT%H:%M:%SZ"


def queries(parameters: Parameters, span: Span) -> dict[str, str]:
    """Return, per entity table, the SELECT (line, updated_at) of the versions of `span`."""
    first = parameters.first_day
    begin = 0 if span.first == first else span.first * DAY
    condition = f"updated_at >= instant({begin}) and updated_at < instant({(span.last + 1) * DAY})"
    return {
        table: f"select to_json(version)::varchar as line, updated_at from ({query})"
        f" where {condition}"
        for table, query in (
            ("workspaces", workspaces_sql(parameters)),
            ("projects", projects_sql(parameters)),
            ("services", services_sql(parameters)),
            ("users", users_sql(parameters)),
            ("members", members_sql(parameters)),
        )
    }


def founded(parameters: Parameters, number: str) -> str:
    """Return SQL of an instant well before the first day."""
    return f"instant(({parameters.first_day} - 600 - 7 * {number}) * {DAY} + 36000000000)"


def workspaces_sql(parameters: Parameters) -> str:
    """Return (version, updated_at); one workspace changes its plan halfway."""
    rows = ", ".join(
        f"({number}, '{workspace.key}', '{workspace.name}', '{workspace.plan_id}')"
        for number, workspace in enumerate(WORKSPACES)
    )
    halfway = (parameters.first_day + parameters.days // 2) * DAY + 50_000_000_000
    return f"""
with listed as (
    select *, {founded(parameters, "number")} as created_at, false as is_later
    from (values {rows}) as named(number, key, name, plan_id)
),
versions as (
    select *, created_at as updated_at from listed
    union all
    select * replace ('growth' as plan_id), instant({halfway}) from listed where key = 'juniper'
)
select
    {{
        'id': 'ws_' || key,
        'slug': key,
        'name': name,
        'plan_id': plan_id,
        'created_at': strftime(created_at, '{TIMES}'),
        'updated_at': strftime(updated_at, '{TIMES}'),
        'deleted_at': null::varchar
    }} as version,
    updated_at,
from versions
"""


def projects_sql(parameters: Parameters) -> str:
    """Return (version, updated_at)."""
    return f"""
select
    {{
        'id': project_id,
        'workspace_id': workspace_id,
        'name': name,
        'created_at': strftime(created_at, '{TIMES}'),
        'updated_at': strftime(created_at, '{TIMES}'),
        'deleted_at': null::varchar
    }} as version,
    created_at as updated_at,
from (select *, {founded(parameters, "project_no")} as created_at from projects)
"""


def services_sql(parameters: Parameters) -> str:
    """Return (version, updated_at)."""
    return f"""
select
    {{
        'id': services[number],
        'workspace_id': workspace_id,
        'project_id': project_id,
        'name': name || ' ' || ['API', 'Web'][number],
        'created_at': strftime(created_at, '{TIMES}'),
        'updated_at': strftime(created_at, '{TIMES}')
    }} as version,
    created_at as updated_at,
from (select *, {founded(parameters, "project_no")} as created_at from projects)
cross join (values (1), (2)) as numbers(number)
"""


def users_sql(parameters: Parameters) -> str:
    """Return (version, updated_at): as created, and as merged or deleted later."""
    changed = f"""instant(greatest(
        ({parameters.first_day} + pick(user_key, 81, {parameters.days})) * {DAY} + 54000000000,
        epoch_us(created_at) + 3600000000
    ))"""
    return f"""
with homes as (
    select users.*, projects.workspace_id, {changed} as changed_at
    from users
    inner join slots on users.slot = slots.slot
    inner join projects on slots.project_no = projects.project_no
    where users.has_row
),
versions as (
    select *, created_at as updated_at, false as is_changed from homes
    union all
    select *, changed_at, true from homes where merged_into is not null or is_deleted
)
select
    {{
        'id': user_id,
        'workspace_id': workspace_id,
        'kind': kind,
        'merged_into': case when is_changed then merged_into end,
        'created_at': strftime(created_at, '{TIMES}'),
        'updated_at': strftime(updated_at, '{TIMES}'),
        'deleted_at': case when is_changed and is_deleted then strftime(updated_at, '{TIMES}') end
    }} as version,
    updated_at,
from versions
"""


def members_sql(parameters: Parameters) -> str:
    """Return (version, updated_at): one member a (workspace, user), perhaps removed later."""
    return f"""
with joined as (
    select
        workspace_id,
        user_id,
        user_no,
        min(instant(
            ({parameters.first_day} + created_day) * {DAY} + 32400000000
        )) as created_at,
        -- who left everywhere
        case when bool_and(churn_day is not null and return_day is null and seat_key % 3 > 0)
            then instant(({parameters.first_day} + max(churn_day)) * {DAY} + 68400000000)
        end as removed_at,
    from seats
    where kind = 'human' and not is_merged_away and environment = 'production'
    group by all
),
versions as (
    select *, created_at as updated_at, false as is_removed from joined
    union all
    select *, removed_at, true from joined where removed_at is not null
)
select
    {{
        'workspace_id': workspace_id,
        'user_id': user_id,
        'role': case when user_no < 10 then 'owner' when user_no % 8 = 1 then 'admin'
            else 'member' end,
        'created_at': strftime(created_at, '{TIMES}'),
        'updated_at': strftime(updated_at, '{TIMES}'),
        'removed_at': case when is_removed then strftime(removed_at, '{TIMES}') end
    }} as version,
    updated_at,
from versions
"""
