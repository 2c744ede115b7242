"""The figures the marts must show, computed from what the simulator meant to happen.

Here: naive counting over the intended events (`truth_*` tables), before any imperfection: range
joins, distinct counts, one grouping a question. Not here: the product's own SQL, any extract file,
or any rule by which sessions are *found*: a session's events carry its name from the visit that
made them.

Files of `_answer_key/` (Parquet, columns named and typed as in the marts; `environment` is
`production` or `sandbox`). Only rows with a figure other than zero; days up to the environment's
last one. An expected row that is not here is zero, or absent from the mart.

| file | key | figures |
|---|---|---|
| active_users_daily | environment, scope, workspace_id, project_id, service_id, activity_date | users_1d, users_7d, users_28d, users_30d, users_90d |
| mau_daily | workspace_id, activity_date (production) | mau |
| mau_monthly | workspace_id, month_start_date (production) | mau |
| user_lifecycle_daily, _weekly, _monthly | environment, scope, workspace_id, project_id, interval_start_date | active_count, new_count, returning_count, resurrected_count, dormant_count |
| retention_weekly, _monthly | environment, scope, workspace_id, project_id, cohort_start_date, period_index | cohort_size, retained_count, retained_or_later_count; every cell |
| active_user_definitions_daily | environment, workspace_id, activity_date | mau_rolling_30d, active_users_calendar_month, mau_sign_in_only, mau_returning_only, mean_dau_30d; every day |
| auth_daily | environment, workspace_id, project_id, activity_date | attempt_count, success_count, failure_count, login_count, login_success_count, token_refresh_count, token_exchange_count, mfa_challenge_count, mfa_pass_count, failures_with_trace_count |
| auth_daily_detail | the same, service_id, provider, method | the same |
| logins_daily | environment, workspace_id, project_id, activity_date | count of successful logins |
| sessions | environment, workspace_id, project_id, session_id, user_id, anonymous_id, started_at | ended_at, session_date, is_ended, is_revoked, revoked_at, revoke_reason, revoked_by_kind, is_engaged, is_overlong, is_test, is_impersonated; session_id null where the source gave none; user_id surviving; is_ended: by a session.ended or session.revoked |
| sessions_daily | environment, workspace_id, project_id, session_date | started_count, active_count, ended_count (any session, by ended_at), explicitly_ended_count (by ended_at, with a session.ended or session.revoked), revoked_count, engaged_count |
| unmatched_closes_daily | environment, activity_date | unmatched_close_count |
| journeys | environment, workspace_id, project_id, journey_id | journey_name, begun_at, completed_at, last_activity_at, state, is_test |
| journeys_daily | environment, workspace_id, project_id, journey_name, activity_date | begun_count, completed_count, abandoned_count, in_progress_count |
| session_metrics_daily | environment, workspace_id, project_id, metric_name, activity_date | sample_count, numeric_count, text_count |
| requests_daily | environment, workspace_id, project_id, api_key_id, is_all_keys, activity_date | request_count, error_count, client_error_count, server_error_count, safety_flagged_count |
| memberships_daily | environment, workspace_id, project_id, activity_date | invited_count, added_count, removed_count, role_changed_count, member_count_at_end |
| webhooks | environment, workspace_id, project_id, delivery_id, endpoint_id | event_type, outcome, attempt_count, is_test |
| webhooks_daily | environment, workspace_id, project_id, endpoint_id, event_type, activity_date | delivered_count, exhausted_count, pending_count, attempt_count, retry_count |
| campaign_messages | environment, workspace_id, project_id, message_id | campaign_id, channel, delivery_state, is_test |
| campaigns_daily | environment, workspace_id, project_id, campaign_id, channel, activity_date | message_count, sent_count, delivered_count, bounced_count, failed_count, complained_count, opened_count, clicked_count, unsubscribed_count |
| loyalty_balances | environment, workspace_id, project_id, program_id, user_id | balance, tier |
| loyalty_daily | environment, workspace_id, project_id, program_id, activity_date | earned_points, redeemed_points, expired_points, adjusted_points, reward_count, tier_change_count |
| notifications | environment, workspace_id, project_id, notification_id, channel | delivery_state, is_test |
| notifications_daily | environment, workspace_id, project_id, channel, activity_date | notification_count, sent_count, delivered_count, failed_count, read_count |
| analytics_views | environment, workspace_id, project_id, viewer_id, source, viewed_at | range_start_at, range_end_at, interval, event_count, is_incomplete_triple, is_impersonated |
| events_daily | environment, source_table, type, activity_date | event_count, all events, test ones included |
| failure_hours | environment, workspace_id, project_id, activity_hour_at (the attack) | attempt_count, failure_count, failures_with_trace_count |
| landing | table_name | line_count, accepted_count, duplicate_count, conflict_count, rejected_count |
| rejections | table_name, reason | rejected_count |
| schema_drift | table_name, field | (no figure: the fields that must be reported) |
| planted_secrets | secret | (no figure: texts that must appear nowhere behind landing) |

Choices where a file leaves room: `interval` of a view is that of its series, '' for a lone summary;
`duplicate_count` of landing counts every line of a file that was delivered twice under two names.
"""  # noqa: E501

from __future__ import annotations

from collections import Counter
from pathlib import Path

import duckdb

from simulator.imperfections import SECRETS
from simulator.world import Parameters
from simulator.writing import quoted

EVENT_TABLES = (
    "auth_events",
    "session_events",
    "platform_events",
    "membership_events",
    "webhook_deliveries",
    "campaign_events",
    "loyalty_events",
    "notification_events",
)
SCOPE = "environment, workspace_id, project_id"

# an instant later than five minutes after it was received counts as the instant received
TRUE_TIME = """
case when occurred_at > received_at + interval 5 minutes then received_at else occurred_at end
"""

PREPARATION = [
    *(
        f"create temp view {table} as select *, {TRUE_TIME} as happened_at,"
        f" cast({TRUE_TIME} as date) as activity_date from truth_{table}"
        for table in EVENT_TABLES
    ),
    "create temp table all_events as "
    + " union all ".join(
        f"select '{table}' as source_table, id, type, happened_at, activity_date, {SCOPE},"
        " user_id, service_id, impersonator_id, is_test,"
        f" {'outcome' if table == 'auth_events' else 'null::varchar'} as outcome from {table}"
        for table in EVENT_TABLES
    ),
    """create temp table last_days as
    select environment, max(activity_date) as last_date, min(activity_date) as first_date
    from all_events where not is_test group by environment""",
    # a user without a row of its own is human
    """create temp table principals as
    select users.user_id, survivors.user_id as survivor_id,
        case when survivors.has_row then survivors.kind else 'human' end as kind
    from users inner join users as survivors on users.survivor_no = survivors.user_no""",
    """create temp table user_days as
    select distinct environment, workspace_id, project_id, service_id, activity_date, survivor_id
    from all_events inner join principals on all_events.user_id = principals.user_id
    where kind = 'human' and not is_test and impersonator_id is null
        and (outcome is null or outcome <> 'failure')
        and type in ('login', 'signup', 'token_refresh', 'token_exchange', 'mfa_verification',
            'session.started', 'session.activity', 'metric.logged', 'journey.begun',
            'journey.step', 'journey.completed', 'api.request')""",
    """create temp table scoped_days as
    select 'workspace' as scope, environment, workspace_id, null::varchar as project_id,
        null::varchar as service_id, activity_date, survivor_id from user_days
    union all
    select 'project', environment, workspace_id, project_id, null, activity_date, survivor_id
    from user_days
    union all
    select 'service', environment, workspace_id, project_id, service_id, activity_date, survivor_id
    from user_days where service_id is not null""",
    """create temp table calendar as
    select environment, cast(unnest(generate_series(
        first_date::timestamp, last_date::timestamp, interval 1 day)) as date) as day
    from last_days""",
    # a session's events carry its name
    """create temp table session_parts as
    select session_events.*, coalesce(principals.survivor_id, session_events.user_id)
        as survivor_id,
        type in ('session.ended', 'session.revoked') as is_close
    from session_events left join principals on session_events.user_id = principals.user_id
    where visit_session is not null""",
    f"""create temp table sessions_answer as
    with grouped as (
        select visit_session, {SCOPE}, any_value(session_id) as session_id,
            arg_min(survivor_id, happened_at) filter (survivor_id is not null) as user_id,
            arg_min(anonymous_id, happened_at) filter (anonymous_id is not null) as anonymous_id,
            min(happened_at) as started_at,
            coalesce(min(happened_at) filter (is_close), max(happened_at)) as ended_at,
            bool_or(is_close) as has_close,
            min(happened_at) filter (type = 'session.ended') as first_end,
            min(happened_at) filter (type = 'session.revoked') as first_revoke,
            arg_min(reason, happened_at) filter (type = 'session.revoked') as reason,
            arg_min(revoked_by_kind, happened_at) filter (type = 'session.revoked') as by_kind,
            count(*) filter (type in ('session.activity', 'action.run', 'metric.logged')
                or type like 'journey.%' or type like 'custom.%') as doing_count,
            bool_or(type = 'journey.completed') as completes,
            bool_or(is_test) as is_test,
            bool_or(impersonator_id is not null) as is_impersonated
        from session_parts group by visit_session, {SCOPE}
    )
    select *, first_revoke is not null and (first_end is null or first_revoke < first_end)
            as is_revoked,
        cast(started_at as date) as session_date,
        ended_at - started_at > interval 10 seconds or doing_count >= 2 or completes as is_engaged,
        ended_at - started_at > interval 24 hours as is_overlong
    from grouped""",
    f"""create temp table journeys_answer as
    with begun as (
        select {SCOPE}, journey_id, min(happened_at) as begun_at,
            arg_min(journey_name, happened_at) as journey_name
        from session_events where type = 'journey.begun' group by all
    ),
    followed as (
        select begun.*,
            min(happened_at) filter (type = 'journey.completed' and happened_at >= begun_at)
                as completed_at,
            max(happened_at) as last_activity_at,
            bool_or(is_test) as is_test
        from begun inner join session_events using ({SCOPE}, journey_id)
        where session_events.type like 'journey.%'
        group by all
    )
    select followed.*, cast(begun_at as date) as activity_date,
        case when completed_at is not null then 'completed'
            when last_activity_at < last_date::timestamp then 'abandoned'
            else 'in_progress' end as state
    from followed inner join last_days using (environment)""",
    """create temp table webhooks_answer as
    select environment, workspace_id, project_id, delivery_id, endpoint_id,
        any_value(event_type) as event_type,
        case when bool_or(outcome = 'delivered') then 'delivered'
            when coalesce(arg_max(will_retry::int, attempt) filter (attempt = last_attempt), 0) = 1
                then 'pending'
            else 'exhausted' end as outcome,
        count(*) as attempt_count,
        bool_or(is_test) as is_test,
        cast(min(happened_at) as date) as activity_date
    from (select *, max(attempt) over (partition by environment, workspace_id, delivery_id,
        endpoint_id) as last_attempt
        from webhook_deliveries)
    group by all""",
]

# the order of states reached at the same instant
STATE_RANKS = """
case state when 'queued' then 1 when 'sent' then 2 when 'delivered' then 3 else 4 end
"""


def messages_sql(table: str, identity: str, extra: str) -> str:
    """Return the SELECT of one row a message (or notice and channel) with its final state."""
    return f"""
    with stated as (select *, split_part(type, '.', 2) as state from {table}),
    ranked as (
        select *, row_number() over (partition by {SCOPE}, {identity}
            order by happened_at desc, {STATE_RANKS} desc) as latest
        from stated where state in
            ('queued', 'sent', 'delivered', 'bounced', 'failed', 'complained')
    )
    select {SCOPE}, {identity}{extra},
        max(case when latest = 1 then state end) as delivery_state,
        bool_or(is_test) as is_test,
        cast(min(happened_at) as date) as activity_date,
        bool_or(state in ('sent', 'delivered', 'bounced', 'complained', 'failed')) as was_sent,
        bool_or(state = 'opened') as was_opened,
        bool_or(state = 'clicked') as was_clicked,
        bool_or(state = 'unsubscribed') as was_unsubscribed,
        bool_or(state = 'read') as was_read
    from (select * from ranked union all by name select * from stated where state in
        ('opened', 'clicked', 'unsubscribed', 'read'))
    group by all
    """


AUTH_FIGURES = """
    count(*) filter (is_attempt and outcome in ('success', 'failure')) as attempt_count,
    count(*) filter (is_attempt and outcome = 'success') as success_count,
    count(*) filter (is_attempt and outcome = 'failure') as failure_count,
    count(*) filter (type = 'login') as login_count,
    count(*) filter (type = 'login' and outcome = 'success') as login_success_count,
    count(*) filter (type = 'token_refresh') as token_refresh_count,
    count(*) filter (type = 'token_exchange') as token_exchange_count,
    count(*) filter (type = 'mfa_challenge') as mfa_challenge_count,
    count(*) filter (type = 'mfa_verification' and outcome = 'success') as mfa_pass_count,
    count(*) filter (is_attempt and outcome = 'failure' and trace_id is not null)
        as failures_with_trace_count
"""
AUTH_ATTEMPTS = """
(select *, type in ('login', 'signup', 'mfa_verification', 'password_reset') as is_attempt
from auth_events where not is_test)
"""
REQUEST_FIGURES = """
    count(*) as request_count,
    count(*) filter (status_code >= 400) as error_count,
    count(*) filter (status_code between 400 and 499) as client_error_count,
    count(*) filter (status_code >= 500) as server_error_count,
    count(*) filter (safety_flagged) as safety_flagged_count
"""
WINDOWS = (1, 7, 28, 30, 90)


def windows_sql(scopes: str = "scoped_days") -> str:
    """Return the SELECT of distinct users in each window, by joining every day to its window."""
    figures = ", ".join(
        f"count(distinct survivor_id) filter (activity_date > day - {window}) as users_{window}d"
        for window in WINDOWS
    )
    return f"""
    select calendar.environment, scope, workspace_id, project_id, service_id,
        day as activity_date, {figures}
    from calendar inner join {scopes} as active
        on calendar.environment = active.environment
        and active.activity_date between calendar.day - {max(WINDOWS) - 1} and calendar.day
    group by all
    """


def lives_sql(grain: str) -> str:
    """Return the SELECT of one row a scope, user and interval in which they were active."""
    return f"""
    select environment, scope, workspace_id, project_id, survivor_id,
        cast(active_at as date) as this_at,
        cast(min(active_at) over lives as date) as first_at,
        cast(lag(active_at) over lives_in_order as date) as at_before,
        cast(lead(active_at) over lives_in_order as date) as at_after,
        cast(active_at + interval 1 {grain} as date) as following,
        cast(active_at - interval 1 {grain} as date) as preceding,
        cast(date_trunc('{grain}', last_date) as date) as last_at
    from (select distinct environment, scope, workspace_id, project_id, survivor_id,
            date_trunc('{grain}', activity_date) as active_at
        from scoped_days where scope <> 'service')
    inner join last_days using (environment)
    window lives as (partition by environment, scope, workspace_id, project_id, survivor_id),
        lives_in_order as (partition by environment, scope, workspace_id, project_id, survivor_id
            order by active_at)
    """


def lifecycle_sql(grain: str) -> str:
    """Return the SELECT of who is new, stays, comes back and goes, by interval."""
    marks = ", ".join(
        f"count(*) filter (mark = '{mark}') as {mark}_count"
        for mark in ("new", "returning", "resurrected", "dormant")
    )
    return f"""
    with lives as ({lives_sql(grain)}),
    marked as (
        select *, this_at as interval_start_date, case when this_at = first_at then 'new'
            when at_before = preceding then 'returning' else 'resurrected' end as mark
        from lives
        union all
        select *, following, 'dormant' from lives
        where at_after is distinct from following and following <= last_at
    )
    select environment, scope, workspace_id, project_id, interval_start_date,
        count(*) filter (mark <> 'dormant') as active_count,
        {marks}
    from marked group by all
    """


def retention_sql(grain: str) -> str:
    """Return the SELECT of every cohort and interval since, by joining each to the cohort's."""
    return f"""
    with lives as ({lives_sql(grain)}),
    cohorts as (
        select environment, scope, workspace_id, project_id, first_at, last_at,
            count(distinct survivor_id) as cohort_size
        from lives group by all
    ),
    cells as (
        select *, unnest(range(0, date_diff('{grain}', first_at, last_at) + 1)) as period_index
        from cohorts
    )
    select cells.environment, cells.scope, cells.workspace_id, cells.project_id,
        cells.first_at as cohort_start_date, period_index, cohort_size,
        count(distinct survivor_id) filter (
            date_diff('{grain}', cells.first_at, this_at) = period_index
        ) as retained_count,
        count(distinct survivor_id) filter (
            date_diff('{grain}', cells.first_at, this_at) >= period_index
        ) as retained_or_later_count
    from cells inner join lives on cells.environment = lives.environment
        and cells.scope = lives.scope and cells.workspace_id = lives.workspace_id
        and cells.project_id is not distinct from lives.project_id
        and cells.first_at = lives.first_at
    group by all
    """


DEFINITIONS_SQL = """
with logins as (
    select distinct environment, workspace_id, survivor_id, activity_date, true as is_login
    from auth_events inner join principals on auth_events.user_id = principals.user_id
    where type = 'login' and outcome = 'success' and kind = 'human' and not is_test
        and impersonator_id is null
),
active as (
    select *, min(activity_date) over (partition by environment, workspace_id, survivor_id)
        as first_date
    from (select distinct environment, workspace_id, survivor_id, activity_date from user_days)
    left join logins using (environment, workspace_id, survivor_id, activity_date)
),
spine as (
    select calendar.environment, workspace_id, day
    from calendar inner join (
        select environment, workspace_id, min(activity_date) as first_day from active group by all
    ) as workspaces on calendar.environment = workspaces.environment and day >= first_day
)
select spine.environment, spine.workspace_id, day as activity_date,
    count(distinct survivor_id) filter (activity_date > day - 30) as mau_rolling_30d,
    count(distinct survivor_id) filter (
        date_trunc('month', activity_date) = date_trunc('month', day)
    ) as active_users_calendar_month,
    count(distinct survivor_id) filter (activity_date > day - 30 and is_login) as mau_sign_in_only,
    count(distinct survivor_id) filter (activity_date > day - 30 and activity_date > first_date)
        as mau_returning_only,
    count(*) filter (activity_date > day - 30) / 30 as mean_dau_30d
from spine left join active on spine.environment = active.environment
    and spine.workspace_id = active.workspace_id
    and active.activity_date between day - 30 and day
group by all
"""


def answers(parameters: Parameters) -> dict[str, str]:
    """Return the SELECT of each answer file, in the order in which they can be computed."""
    attack = f"date '1970-01-01' + {parameters.attack_day}"
    return {
        "active_users_daily": windows_sql(),
        "mau_daily": f"""select workspace_id, activity_date, users_30d as mau
            from ({windows_sql()}) where environment = 'production' and scope = 'workspace'
            and users_30d > 0""",
        "mau_monthly": """select workspace_id,
            cast(date_trunc('month', activity_date) as date) as month_start_date,
            count(distinct survivor_id) as mau
            from user_days where environment = 'production' group by all""",
        **{
            f"user_lifecycle_{name}": lifecycle_sql(grain)
            for grain, name in (("day", "daily"), ("week", "weekly"), ("month", "monthly"))
        },
        "retention_weekly": retention_sql("week"),
        "retention_monthly": retention_sql("month"),
        "active_user_definitions_daily": DEFINITIONS_SQL,
        "auth_daily": f"select {SCOPE}, activity_date, {AUTH_FIGURES} from {AUTH_ATTEMPTS}"
        " group by all",
        "auth_daily_detail": f"select {SCOPE}, service_id, provider, method, activity_date,"
        f" {AUTH_FIGURES} from {AUTH_ATTEMPTS} group by all",
        "logins_daily": f"""select {SCOPE}, activity_date, count(*) as login_success_count
            from auth_events where type = 'login' and outcome = 'success' and not is_test
            group by all""",
        "sessions": f"""select {SCOPE}, session_id, user_id, anonymous_id, started_at, ended_at,
            session_date, has_close as is_ended, is_revoked,
            case when is_revoked then first_revoke end as revoked_at,
            case when is_revoked then reason end as revoke_reason,
            case when is_revoked then by_kind end as revoked_by_kind,
            is_engaged, is_overlong, is_test, is_impersonated from sessions_answer""",
        "sessions_daily": f"""
            with marked as (
                select {SCOPE}, session_date, 'started' as mark from sessions_answer
                where not is_test
                union all
                select {SCOPE}, session_date, 'engaged' from sessions_answer
                where not is_test and is_engaged
                union all
                select {SCOPE}, cast(ended_at as date), 'ended' from sessions_answer
                where not is_test
                union all
                select {SCOPE}, cast(ended_at as date), 'closed' from sessions_answer
                where not is_test and has_close
                union all
                select {SCOPE}, cast(first_revoke as date), 'revoked' from sessions_answer
                where not is_test and is_revoked
                union all
                (select distinct on (visit_session, {SCOPE}, activity_date)
                    {SCOPE}, activity_date, 'active'
                from session_parts where visit_session in
                    (select visit_session from sessions_answer where not is_test))
            )
            select {SCOPE}, session_date,
                count(*) filter (mark = 'started') as started_count,
                count(*) filter (mark = 'active') as active_count,
                count(*) filter (mark = 'ended') as ended_count,
                count(*) filter (mark = 'closed') as explicitly_ended_count,
                count(*) filter (mark = 'revoked') as revoked_count,
                count(*) filter (mark = 'engaged') as engaged_count
            from marked group by all""",
        "unmatched_closes_daily": """select environment, activity_date,
            count(*) as unmatched_close_count
            from session_events where visit_session is null group by all""",
        "journeys": f"""select {SCOPE}, journey_id, journey_name, begun_at, completed_at,
            last_activity_at, state, is_test from journeys_answer""",
        "journeys_daily": f"""select {SCOPE}, journey_name, activity_date,
            count(*) as begun_count,
            count(*) filter (state = 'completed') as completed_count,
            count(*) filter (state = 'abandoned') as abandoned_count,
            count(*) filter (state = 'in_progress') as in_progress_count
            from journeys_answer where not is_test group by all""",
        "session_metrics_daily": f"""select {SCOPE}, name as metric_name, activity_date,
            count(*) as sample_count, count(numeric_value) as numeric_count,
            count(text_value) as text_count
            from session_events where type = 'metric.logged' and not is_test group by all""",
        "requests_daily": f"""
            select {SCOPE}, api_key_id, false as is_all_keys, activity_date, {REQUEST_FIGURES}
            from platform_events where type = 'api.request' and not is_test group by all
            union all
            select {SCOPE}, null, true, activity_date, {REQUEST_FIGURES}
            from platform_events where type = 'api.request' and not is_test group by all""",
        "memberships_daily": f"""
            with changes as (select * from membership_events where not is_test),
            places as (
                select {SCOPE}, min(activity_date) as first_date from changes group by all
            ),
            days as (
                select {SCOPE}, day from places inner join calendar using (environment)
                where day >= first_date
            ),
            latest as (
                select {", ".join(f"days.{name}" for name in SCOPE.split(", "))}, day, user_id,
                    arg_max(type, happened_at) as last_type
                from days inner join changes using ({SCOPE})
                where changes.activity_date <= day group by all
            ),
            counted as (
                select {SCOPE}, activity_date,
                    count(*) filter (type = 'membership.invited') as invited_count,
                    count(*) filter (type = 'membership.added') as added_count,
                    count(*) filter (type = 'membership.removed') as removed_count,
                    count(*) filter (type = 'membership.role_changed') as role_changed_count
                from changes group by all
            ),
            ends as (
                select {SCOPE}, day as activity_date, count(*) filter (last_type in
                    ('membership.added', 'membership.role_changed')) as member_count_at_end
                from latest group by all
            )
            select {SCOPE}, activity_date,
                coalesce(invited_count, 0) as invited_count,
                coalesce(added_count, 0) as added_count,
                coalesce(removed_count, 0) as removed_count,
                coalesce(role_changed_count, 0) as role_changed_count,
                coalesce(member_count_at_end, 0) as member_count_at_end
            from ends full join counted using ({SCOPE}, activity_date)""",
        "webhooks": f"""select {SCOPE}, delivery_id, endpoint_id, event_type, outcome,
            attempt_count, is_test from webhooks_answer""",
        "webhooks_daily": f"""select {SCOPE}, endpoint_id, event_type, activity_date,
            count(*) filter (outcome = 'delivered') as delivered_count,
            count(*) filter (outcome = 'exhausted') as exhausted_count,
            count(*) filter (outcome = 'pending') as pending_count,
            sum(attempt_count)::bigint as attempt_count,
            sum(attempt_count - 1)::bigint as retry_count
            from webhooks_answer where not is_test group by all""",
        "campaign_messages": f"""select {SCOPE}, message_id, campaign_id, channel, delivery_state,
            is_test
            from ({messages_sql("campaign_events", "message_id", ", campaign_id, channel")})""",
        "campaigns_daily": f"""select {SCOPE}, campaign_id, channel, activity_date,
            count(*) as message_count,
            count(*) filter (was_sent) as sent_count,
            count(*) filter (delivery_state in ('delivered', 'complained')) as delivered_count,
            count(*) filter (delivery_state = 'bounced') as bounced_count,
            count(*) filter (delivery_state = 'failed') as failed_count,
            count(*) filter (delivery_state = 'complained') as complained_count,
            count(*) filter (was_opened) as opened_count,
            count(*) filter (was_clicked) as clicked_count,
            count(*) filter (was_unsubscribed) as unsubscribed_count
            from ({messages_sql("campaign_events", "message_id", ", campaign_id, channel")})
            where not is_test group by all""",
        "loyalty_balances": f"""select {SCOPE}, program_id, user_id,
            sum(case type when 'points.earned' then points when 'points.adjusted' then points
                when 'points.redeemed' then -points when 'points.expired' then -points
                else 0 end)::bigint as balance,
            arg_max(tier, happened_at) filter (type = 'tier.changed') as tier
            from loyalty_events where not is_test group by all""",
        "loyalty_daily": f"""select {SCOPE}, program_id, activity_date,
            coalesce(sum(points) filter (type = 'points.earned'), 0)::bigint as earned_points,
            coalesce(sum(points) filter (type = 'points.redeemed'), 0)::bigint as redeemed_points,
            coalesce(sum(points) filter (type = 'points.expired'), 0)::bigint as expired_points,
            coalesce(sum(points) filter (type = 'points.adjusted'), 0)::bigint as adjusted_points,
            count(*) filter (type = 'reward.claimed') as reward_count,
            count(*) filter (type = 'tier.changed') as tier_change_count
            from loyalty_events where not is_test group by all""",
        "notifications": f"""select {SCOPE}, notification_id, channel, delivery_state, is_test
            from ({messages_sql("notification_events", "notification_id, channel", "")})""",
        "notifications_daily": f"""select {SCOPE}, channel, activity_date,
            count(*) as notification_count,
            count(*) filter (was_sent) as sent_count,
            count(*) filter (delivery_state = 'delivered') as delivered_count,
            count(*) filter (delivery_state = 'failed') as failed_count,
            count(*) filter (was_read) as read_count
            from ({messages_sql("notification_events", "notification_id, channel", "")})
            where not is_test group by all""",
        "analytics_views": f"""select {SCOPE}, user_id as viewer_id, source, viewed_at,
            range_start_at, range_end_at,
            case when kind = 'api' then '' else interval_word end as interval,
            case kind when 'api' then 1 when 'incomplete' then 2 else 3 end as event_count,
            kind = 'incomplete' as is_incomplete_triple,
            impersonator_email <> '' as is_impersonated
            from truth_page_views""",
        "events_daily": """select environment, source_table, type, activity_date,
            count(*) as event_count from all_events group by all
            union all
            select environment, 'audit_events', action, cast(occurred_at as date), count(*)
            from truth_audit group by all""",
        "failure_hours": f"""select {SCOPE}, cast(date_trunc('hour', happened_at) as timestamp)
            as activity_hour_at,
            count(*) as attempt_count,
            count(*) filter (outcome = 'failure') as failure_count,
            count(*) filter (outcome = 'failure' and trace_id is not null)
                as failures_with_trace_count
            from {AUTH_ATTEMPTS} where is_attempt
            group by {SCOPE}, activity_hour_at
            having activity_hour_at = {attack} + interval 3 hours
                and bool_or(id like 'au_stuffing_%')""",
    }


def write(
    connection: duckdb.DuckDBPyConnection,
    parameters: Parameters,
    folder: Path,
    landing: dict[str, Counter[str]],
) -> None:
    """Write every answer file to `folder` from the tables `truth_*` of `connection`."""
    folder.mkdir(parents=True, exist_ok=True)
    for statement in PREPARATION:
        connection.execute(statement)
    for name, query in answers(parameters).items():
        export(connection, query, folder / f"{name}.parquet")
    tables(connection, landing)
    for name in ("landing", "rejections", "schema_drift", "planted_secrets"):
        export(connection, f"select * from {name}_answer", folder / f"{name}.parquet")


def tables(connection: duckdb.DuckDBPyConnection, landing: dict[str, Counter[str]]) -> None:
    """Create the answer tables that were counted while writing."""
    kept = ("accepted", "duplicate", "conflict")
    connection.execute(
        "create temp table landing_answer (table_name varchar, line_count bigint,"
        " accepted_count bigint, duplicate_count bigint, conflict_count bigint,"
        " rejected_count bigint)"
    )
    connection.execute(
        "create temp table rejections_answer (table_name varchar, reason varchar,"
        " rejected_count bigint)"
    )
    for table, counts in landing.items():
        rejected = {reason: lines for reason, lines in counts.items() if reason not in kept}
        connection.execute(
            "insert into landing_answer values (?, ?, ?, ?, ?, ?)",
            [table, counts.total(), *(counts[name] for name in kept), sum(rejected.values())],
        )
        for reason, lines in rejected.items():
            connection.execute(
                "insert into rejections_answer values (?, ?, ?)", [table, reason, lines]
            )
    connection.execute(
        "create temp table schema_drift_answer as "
        + " union all ".join(
            f"select distinct '{table}' as table_name, unnest(['client_build', 'data.experiment',"
            f" 'data.referrer']) as field from truth_{table}"
            for table in EVENT_TABLES
        )
    )
    connection.execute("create temp table planted_secrets_answer (secret varchar)")
    connection.executemany(
        "insert into planted_secrets_answer values (?)",
        [
            ("demo.fake.token.0123456789abcdef0123456789abcdef",),
            (SECRETS[1],),
            ("fake-password-0000",),
            ("demo-fake-token-1111",),
        ],
    )


def export(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    """Write a query's rows, ordered by all columns, as Parquet."""
    connection.execute(
        f"copy (select * from ({query}) order by all) to '{quoted(path)}' (format parquet)"
    )
