"""Sealed months: what was billed stays what was billed, and what came later is accounted for.

Belongs here: the rows of raw.mau_seals, raw.mau_corrections and what they are worked out from.
Does not belong here: who counts as active, which month is closed (dbt_project/), when the job runs
(defs/seals.py).

A seal is state: it holds the number of distinct users of a calendar month of production, who they
were, and who had been merged into whom by then. Nothing here edits a row of raw.mau_seals.
"""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from landing.ledger import roll_back


@dataclass(frozen=True)
class Sealing:
    """What a run of the job wrote: rows of seals and of corrections."""

    seals: int
    corrections: int


def seal_and_correct(connection: duckdb.DuckDBPyConnection, now: datetime) -> Sealing:
    """Correct what is sealed already, then seal every month that is closed; one transaction.

    The models of production must hold everything that has landed. `now`: UTC, without zone.
    """
    connection.execute("begin")
    try:
        corrections = _correct(connection, now)
        seals = _seal(connection, now)
    except BaseException:
        roll_back(connection)
        raise
    connection.execute("commit")
    return Sealing(seals, corrections)


def _seal(connection: duckdb.DuckDBPyConnection, now: datetime) -> int:
    connection.execute(
        """
        create or replace temp table closed_months as
        select distinct month_start_date
        from production_intermediate.int_mau_months_closed
        where is_closed and month_start_date not in (select month_start_date from raw.mau_seals)
        """
    )
    connection.execute(
        """
        insert into raw.mau_sealed_identities
        select month_start_date, user_id, surviving_user_id, kind
        from production_intermediate.int_users_resolved
        cross join closed_months
        where is_merged or kind <> 'human'
        """
    )
    connection.execute(
        f"""
        insert into raw.mau_sealed_users
        select workspace_id, month_start_date, user_id, 0, null
        from ({_active_users("select month_start_date from closed_months")})
        """
    )
    connection.execute(
        """
        insert into raw.mau_seals
        select
            workspace_id,
            month_start_date,
            count(*),
            md5(string_agg(user_id, chr(10) order by user_id)),
            ?,
            (select built_batch from production_state.build)
        from raw.mau_sealed_users
        where month_start_date in (select month_start_date from closed_months)
        group by workspace_id, month_start_date
        """,
        [now],
    )
    return _count(
        connection,
        "raw.mau_seals where month_start_date in (select month_start_date from closed_months)",
    )


def _correct(connection: duckdb.DuckDBPyConnection, now: datetime) -> int:
    """Compare sealed months that changed with who is active in them now, as known then."""
    # a month stays on the list while its days changed after the seal: 31 days of user-days each
    connection.execute(
        """
        create or replace temp table changed_months as
        select distinct seals.month_start_date
        from (
            select month_start_date, min(_batch) as sealed_batch
            from raw.mau_seals group by month_start_date
        ) as seals
        inner join production_intermediate.int_days_changed as days
            on seals.month_start_date = date_trunc('month', days.activity_date)
        where days._batch > seals.sealed_batch and days.source_table <> 'audit_events'
        """
    )
    months = "select month_start_date from changed_months"
    connection.execute(
        f"""
        create or replace temp table differences as
        with known as (
            select workspace_id, month_start_date, user_id
            from raw.mau_sealed_users
            where until_correction is null and month_start_date in ({months})
        ),
        active as ({_active_users(months)})
        select *, 1 as change from (from active except from known)
        union all
        select *, -1 as change from (from known except from active)
        """
    )
    # of a month whose events were purged nobody can tell any more who was active in it
    connection.execute(
        """
        delete from differences where exists (
            select 1 from raw.purged_records as purged
            where purged.environment = 'production'
                and purged.workspace_id = differences.workspace_id
                and differences.month_start_date <= purged.last_activity_date
        )
        """
    )
    if not _count(connection, "differences"):
        return 0
    connection.execute(
        f"""
        create or replace temp table causes as
        with named as (
            select workspace_id, user_id, event_id, activity_date, _batch, 1 as change
            from production_intermediate.int_events_judged
            where is_qualifying and activity_date in ({_days_of(months)})
            union all
            select workspace_id, user_id, event_id, activity_date, _batch, -1 as change
            from production_staging.stg_displaced_records
            where activity_date in ({_days_of(months)})
        ),
        identified as (
            select
                named.workspace_id,
                cast(date_trunc('month', named.activity_date) as date) as month_start_date,
                coalesce(identities.surviving_user_id, named.user_id) as user_id,
                named.event_id,
                named._batch,
                named.change
            from named
            left join raw.mau_sealed_identities as identities
                on named.user_id = identities.user_id
                and date_trunc('month', named.activity_date) = identities.month_start_date
        ),
        of_users as (
            select
                workspace_id, month_start_date, user_id, change,
                -- who came, came with their first event; who went, went with their last one
                case
                    when change = 1 then min(identified._batch)
                    else max(identified._batch)
                end as batch,
                list(struct_pack(id := event_id, batch := identified._batch)) as events
            from differences
            left join identified using (workspace_id, month_start_date, user_id, change)
            group by workspace_id, month_start_date, user_id, change
        )
        select
            workspace_id, month_start_date, user_id, change,
            -- without an event of its own a change comes of the rules: the batch it was found at
            coalesce(batch, (select built_batch from production_state.build)) as batch,
            [event.id for event in events if event.batch = batch] as event_ids
        from of_users
        """
    )
    # a workspace without anybody in a month that is sealed for others is sealed with nobody
    connection.execute(
        """
        insert into raw.mau_seals
        select distinct
            workspace_id, month_start_date, 0, md5(''), ?::timestamp,
            (select built_batch from production_state.build)
        from causes
        where (workspace_id, month_start_date) not in (
            select (workspace_id, month_start_date) from raw.mau_seals
        )
        """,
        [now],
    )
    connection.execute(
        """
        create or replace temp table numbered as
        with by_batch as (
            select
                workspace_id, month_start_date, batch,
                sum(change) as change,
                list_sort(list_distinct(flatten(list(event_ids)))) as event_ids
            from causes
            group by workspace_id, month_start_date, batch
        ),
        so_far as (
            select
                seals.workspace_id,
                seals.month_start_date,
                coalesce(max_by(mau_after, correction_number), any_value(seals.mau)) as mau,
                coalesce(max(correction_number), 0) as correction_number
            from raw.mau_seals as seals
            left join raw.mau_corrections as corrections using (workspace_id, month_start_date)
            group by seals.workspace_id, seals.month_start_date
        )
        select
            workspace_id,
            month_start_date,
            so_far.correction_number
            + row_number() over (partition by workspace_id, month_start_date order by batch)
                as correction_number,
            so_far.mau + sum(change) over (
                partition by workspace_id, month_start_date order by batch
            ) as mau_after,
            change,
            batch,
            event_ids
        from by_batch
        inner join so_far using (workspace_id, month_start_date)
        """
    )
    connection.execute(
        """
        insert into raw.mau_corrections
        select
            workspace_id, month_start_date, correction_number, mau_after - change, mau_after,
            batch, event_ids, ?
        from numbered
        """,
        [now],
    )
    connection.execute(
        """
        update raw.mau_sealed_users as users
        set until_correction = numbered.correction_number
        from causes
        inner join numbered using (workspace_id, month_start_date, batch)
        where
            causes.change = -1
            and users.until_correction is null
            and users.workspace_id = causes.workspace_id
            and users.month_start_date = causes.month_start_date
            and users.user_id = causes.user_id
        """
    )
    connection.execute(
        """
        insert into raw.mau_sealed_users
        select workspace_id, month_start_date, user_id, correction_number, null
        from causes
        inner join numbered using (workspace_id, month_start_date, batch)
        where causes.change = 1
        """
    )
    return _count(connection, "numbered")


def _active_users(months: str) -> str:
    """A query of (workspace_id, month_start_date, user_id): the active, as known at the seal."""
    return f"""
        select distinct
            users.workspace_id,
            users.month_start_date,
            coalesce(identities.surviving_user_id, users.user_id) as user_id
        from production_intermediate.int_month_users_identified as users
        left join raw.mau_sealed_identities as identities
            on users.user_id = identities.user_id
            and users.month_start_date = identities.month_start_date
        where
            users.activity_date in ({_days_of(months)})
            and coalesce(identities.kind, 'human') = 'human'
    """


def _days_of(months: str) -> str:
    """A query of the days of some months, so that only these are read."""
    return f"""
        select cast(unnest(generate_series(
            month_start_date, last_day(month_start_date), interval 1 day
        )) as date)
        from ({months})
    """


def _count(connection: duckdb.DuckDBPyConnection, rows: str) -> int:
    return int(connection.execute(f"select count(*) from {rows}").fetchall()[0][0])
