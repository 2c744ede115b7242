"""What has passed its retention leaves raw, and with it everything that is built from raw.

Belongs here: the policy, the boundaries, the SQL on raw. Does not belong here: what readers are
shown (sharing/plans.py: a boundary by the day, applied on reading), the new file (rewriting.py).

Nothing is purged unless ROLLCALL_RETENTION says so: `plan` (seeds/plans.csv, by plan and
environment), a number of days for everybody, or both, `plan,730`: the shorter one counts.

A row of day d may be shown while d >= today - retention days. A figure of the oldest such day looks
back up to 89 days, so rows stay 89 days longer, and to the beginning of the month: what is shown is
never counted from a part, and a purge, which means building everything anew, comes once a month.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb

from dagster_project import rewriting
from dagster_project.warehouse import ENVIRONMENTS, SEEDS, Policy, Warehouse
from landing import TABLES
from landing.ledger import roll_back
from sharing.plans import Plans, oldest_day, read_plans

# the longest window of fct_active_users_daily less the day itself
DAYS_BEHIND = 89
# A balance is the sum of all points, a membership the last of all changes: their events stay.
SUMS_OVER_EVERYTHING = frozenset(("loyalty_events", "membership_events"))
PURGED = tuple(
    name
    for name, table in TABLES.items()
    if table.family != "entity" and name not in SUMS_OVER_EVERYTHING
)


def shown_from(policy: Policy, plan_days: int | None, today: date) -> date | None:
    """The oldest day that may be shown under a policy, None for no limit."""
    limit = plan_days if policy.by_plan else None
    if limit is None and policy.days is None:
        return None
    return oldest_day(today, limit, policy.days)


def kept_from(shown: date | None) -> date:
    """The oldest day whose rows stay, so that every shown day is counted from all of its rows."""
    if shown is None or shown <= date.min + timedelta(days=DAYS_BEHIND):
        return date.min
    return (shown - timedelta(days=DAYS_BEHIND)).replace(day=1)


def boundaries(
    policy: Policy, plans: Plans, workspaces: Mapping[str, str | None], today: date
) -> dict[tuple[str, str | None], date]:
    """The oldest kept day by (environment, workspace); workspace None: of all others.

    Of a workspace that is not known, or whose plan is not, only the limit for everybody is known:
    what is not told deletes nothing.
    """
    found: dict[tuple[str, str | None], date] = {}
    for environment in ENVIRONMENTS:
        found[environment, None] = kept_from(shown_from(policy, None, today))
        for workspace, plan_id in workspaces.items():
            plan = plans.get((plan_id or "", environment))
            days = plan.retention_days if plan else None
            found[environment, workspace] = kept_from(shown_from(policy, days, today))
    return found


@dataclass(frozen=True)
class Report:
    """Rows that were taken out of raw."""

    rows: int

    def sentence(self) -> str:
        """For the console."""
        return f"purged {self.rows:,} rows that passed their retention"


def carry_out(at: Warehouse, now: datetime) -> Report | None:
    """Purge what is due, None when nothing is. The build file must not be open.

    Afterwards both environments have to be built and published (rewriting.py).
    """
    if not at.retention:
        return None
    with at.connect() as connection:
        if not is_due(connection, at.retention, now):
            return None
        connection.begin()
        try:
            rows = purge(connection, at.retention, now)
            rewriting.begin(connection, at, "purge", now)
        except BaseException:
            roll_back(connection)
            raise
        connection.commit()
    rewriting.rewrite(at)
    return Report(rows)


def is_due(
    connection: duckdb.DuckDBPyConnection,
    policy: Policy,
    now: datetime,
    plans: Path = SEEDS / "plans.csv",
) -> bool:
    """Whether raw holds a row that passed its boundary; leaves them in temporary `boundaries`.

    Costs the row groups that are older than the youngest boundary; none, mostly.
    """
    if not policy:
        return False
    workspaces = dict(
        connection.execute(
            """
            select id, plan_id from raw.workspaces
            qualify row_number() over (
                partition by id order by updated_at desc, _content_hash desc
            ) = 1
            """
        ).fetchall()
    )
    found = boundaries(policy, read_plans(plans), workspaces, now.date())
    connection.execute(
        "create or replace temp table boundaries"
        " (environment varchar, workspace_id varchar, kept_from date)"
    )
    connection.executemany(
        "insert into boundaries values (?, ?, ?)",
        [(environment, workspace, day) for (environment, workspace), day in found.items()],
    )
    youngest = max(found.values(), default=date.min)
    return any(
        connection.execute(f"select 1 from {_passed(name, youngest)} limit 1").fetchall()
        for name in PURGED
    )


def _passed(table: str, youngest: date | None = None, day: str = "_activity_date") -> str:
    """SQL: rows of a raw table that passed the boundary of their workspace, with their row id."""
    early = f"and t.{day} < date '{youngest}'" if youngest else ""
    return f"""
        (
            select t.*, t.rowid as row_id
            from raw.{table} as t
            left join boundaries as own
                on t.environment = own.environment and t.workspace_id = own.workspace_id
            inner join boundaries as others
                on t.environment = others.environment and others.workspace_id is null
            where t.{day} < coalesce(own.kept_from, others.kept_from) {early}
        )
    """


def purge(connection: duckdb.DuckDBPyConnection, policy: Policy, now: datetime) -> int:
    """Delete what passed its boundary, in the caller's transaction; returns the rows.

    What the quality of the days of receipt is told by stays, in raw.purged_records; of rejected
    lines, which have no day and no workspace, the text goes when they landed before the limit for
    everybody. To be called after `is_due`.
    """
    rows = 0
    for name in PURGED:
        for table, day, condition in (
            (name, "_activity_date", "true"),
            ("superseded_records", "_activity_date", f"table_name = '{name}'"),
            ("id_conflicts", "occurred_at", f"table_name = '{name}'"),
        ):
            connection.execute(
                f"create or replace temp table passed_{table} as"
                f" select * from {_passed(table, day=day)} where {condition}"
            )
        connection.execute(
            f"""
            insert into raw.purged_records
            with purged as (
                select
                    environment, workspace_id, received_at::date as received_date,
                    _activity_date, 'accepted' as kind,
                    epoch_us(received_at) - epoch_us(
                        case when _is_clock_skewed then received_at else occurred_at end
                    ) as lateness
                from passed_{name}
                union all
                select environment, workspace_id, received_at::date, null, 'conflict', null
                from passed_id_conflicts
                union all
                select environment, workspace_id, received_at::date, null, 'superseded', null
                from passed_superseded_records where not is_same_content
            )
            select
                '{name}', environment, workspace_id, received_date, max(_activity_date),
                count(*) filter (kind = 'accepted'),
                count(*) filter (lateness > 24 * 3600 * 1000000::bigint),
                max(greatest(lateness, 0)) / 1000000.0::double,
                count(*) filter (kind = 'conflict'),
                count(*) filter (kind = 'superseded'),
                ?
            from purged
            group by environment, workspace_id, received_date
            """,
            [now.replace(tzinfo=None)],
        )
        for table in (name, "superseded_records", "id_conflicts"):
            [(count,)] = connection.execute(
                f"delete from raw.{table} where rowid in (select row_id from passed_{table})"
            ).fetchall()
            connection.execute(f"drop table passed_{table}")
            rows += count
    if policy.days is not None:
        connection.execute(
            "update raw.rejected_records set payload = '' where _landed_at < ?",
            [kept_from(shown_from(policy, None, now.date()))],
        )
    return rows
