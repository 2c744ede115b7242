"""Distinct users of 1, 7, 28, 30 and 90 days, for every scope and day, from a year of events.

Ours are the models up to fct_active_users_daily. Everybody starts from the same Parquet files and
ends with (scope, workspace_id, project_id, service_id, activity_date, users_1d … users_90d) for
every scope and day from the scope's first day on. Rivals are spared what is ours alone:
is_complete, stickiness, merge chains of any length (these have up to two), event types read from a
catalogue.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.events import EVENT_TABLES, Events
from benchmarks.frame import Measurement, Seconds, Size, timed
from benchmarks.product import THREADS, Step
from benchmarks.rivals import ClickHouse, Comparison, Rival, listed, measure_rivals, product_run

MART = "fct_active_users_daily"
WINDOWS = (1, 7, 28, 30, 90)
KEYS = ("scope", "workspace_id", "project_id", "service_id", "activity_date")
RESULT = ", ".join([*KEYS, *(f"users_{days}d" for days in WINDOWS)])

# what counts as active, see seeds/event_catalog.csv
ACTIVE = {
    "auth_events": ("login", "signup", "token_refresh", "token_exchange", "mfa_verification"),
    "session_events": (
        *("session.started", "session.activity", "metric.logged"),
        *("journey.begun", "journey.step", "journey.completed"),
    ),
    "platform_events": ("api.request",),
}
SCOPES = {
    "workspace": ("workspace_id",),
    "project": ("workspace_id", "project_id"),
    "service": ("workspace_id", "project_id", "service_id"),
}


def measure(size: Size) -> list[Measurement]:
    """Ours beside the range join, Polars, and chDB exact and approximate."""
    rivals = [
        Rival("range join in DuckDB", range_join, 2.0, "one join a window, on integer keys"),
        Rival("Polars", polars_run, 2.0, "category codes, packed keys, one sort, gaps"),
        Rival("chDB exact", chdb_gaps, 2.0, "LowCardinality text, gaps in sorted arrays"),
        Rival("chDB bitmaps", chdb_bitmaps, 2.0, "exact: groupBitmap states merged by window"),
        Rival("chDB uniqCombined", chdb_combined, 2.0, "approximate: states merged by window", 0.1),
        Rival("chDB uniqHLL12", chdb_hll, 2.0, "approximate: states merged by window", 0.15),
    ]
    return measure_rivals(Comparison("windows", MART, KEYS, ours, rivals), size)


def ours(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """The project's models."""
    return product_run(events, steps, out, MART, RESULT)


# --- the range join -------------------------------------------------------------------------------


def range_join(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """Each day joined to the user-days of its window, users counted distinct.

    As one writes it who knows DuckDB: events are first reduced to user-days of each scope, on
    integers, because joining events would multiply them by the window. One statement a window: all
    five in one would need a distinct set for each of them at the same time.
    """
    with duckdb.connect() as connection:
        connection.execute(f"set threads = {THREADS}; set enable_progress_bar = false")
        seconds = timed(lambda: _range_join(connection, events))
        if out:
            connection.execute(f"copy result to '{out}' (format parquet)")
        return seconds


def _range_join(connection: duckdb.DuckDBPyConnection, events: Events) -> None:
    active = " union all ".join(
        f"""
        select workspace_id, project_id, service_id, user_id, _activity_date as activity_date
        from read_parquet('{events.files(table)}')
        where environment = 'production' and not is_test and impersonator_id is null
            and user_id is not null and type in {listed(ACTIVE[table])}
            {"and outcome is distinct from 'failure'" if table == "auth_events" else ""}
        """
        for table in EVENT_TABLES
    )
    scoped = " union ".join(
        f"""
        select scopes.scope_key, user_key, activity_date
        from user_days
        inner join scopes on scopes.scope = '{scope}'
            and {" and ".join(f"scopes.{key} = user_days.{key}" for key in keys)}
        """
        for scope, keys in SCOPES.items()
    )
    named = " union ".join(
        f"""
        select '{scope}' as scope, {
            ", ".join(
                key if key in keys else f"null as {key}"
                for key in ("workspace_id", "project_id", "service_id")
            )
        }
        from user_days where {keys[-1]} is not null
        """
        for scope, keys in SCOPES.items()
    )
    connection.execute(
        f"""
        create table text_days as select distinct * from ({active});
        create table users as
        with entities as (from read_parquet('{events.files("users")}')),
        survivors as (
            select named.user_id,
                coalesce(second.merged_into, first.merged_into, named.user_id) as survivor
            from (select distinct user_id from text_days) as named
            left join entities as first on named.user_id = first.id
            left join entities as second on first.merged_into = second.id
        )
        select user_id, dense_rank() over (order by survivor)::integer as user_key
        from survivors
        left join entities on survivor = entities.id
        where coalesce(kind, 'human') = 'human';
        create table user_days as
        select text_days.* exclude (user_id), user_key from text_days inner join users
        using (user_id);
        create table scopes as
        select row_number() over ()::integer as scope_key, * from ({named});
        create table scoped as {scoped};
        create table days as
        select unnest(generate_series(min(activity_date), max(activity_date), interval 1 day))::date
            as activity_date
        from scoped;
        """
    )
    for days in WINDOWS:
        connection.execute(
            f"""
            create table users_{days} as
            select scoped.scope_key, days.activity_date, count(distinct scoped.user_key) as users
            from days
            inner join scoped
                on scoped.activity_date between days.activity_date - {days - 1}
                    and days.activity_date
            group by all
            """
        )
    joins = "\n".join(
        f"left join users_{days} on users_{days}.scope_key = spine.scope_key"
        f" and users_{days}.activity_date = spine.activity_date"
        for days in WINDOWS
    )
    counts = ", ".join(f"coalesce(users_{days}.users, 0) as users_{days}d" for days in WINDOWS)
    connection.execute(
        f"""
        create table result as
        with spine as (
            select scope_key, days.activity_date
            from (select scope_key, min(activity_date) as first_date from scoped group by scope_key)
            inner join days on first_date <= days.activity_date
        )
        select scope, workspace_id, project_id, service_id, spine.activity_date, {counts}
        from spine
        inner join scopes using (scope_key)
        {joins}
        """
    )


# --- Polars ---------------------------------------------------------------------------------------


def polars_run(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """Our gaps, told in Polars: the fastest of four formulations tried.

    Text becomes category codes while it is read (on 20M events a join to integer keys before
    `unique` took 4.4 s and `unique` on text 3.8 s where codes took 2.9 s), a user-day one 64-bit
    number, so that one sort of one column puts each user's days side by side; the streaming engine
    reads and reduces.
    """
    import polars as pl  # noqa: PLC0415 - a rival's package, in the rival's process alone

    frames: list[Any] = []
    seconds = timed(lambda: frames.append(_polars(pl, events)))
    if out:
        frames[0].write_parquet(out)
    return seconds


def _polars(pl: Any, events: Events) -> Any:
    places = ["workspace_id", "project_id", "service_id"]
    col = pl.col

    def active(table: str) -> Any:
        frame = pl.scan_parquet(events.files(table)).filter(
            (col("environment") == "production")
            & ~col("is_test")
            & col("impersonator_id").is_null()
            & col("user_id").is_not_null()
            & col("type").is_in(ACTIVE[table])
        )
        if table == "auth_events":
            frame = frame.filter(col("outcome").ne_missing("failure"))
        return frame.select(
            *(col(name).cast(pl.Categorical) for name in [*places, "user_id"]),
            col("_activity_date").cast(pl.Int32).alias("day"),
        )

    days = pl.concat([active(table) for table in EVENT_TABLES]).unique().collect(engine="streaming")
    entities = pl.read_parquet(
        events.files("users"), columns=["id", "kind", "merged_into"]
    ).with_columns(col("id").cast(pl.Categorical), col("merged_into").cast(pl.Categorical))
    merges = entities.select(col("id").alias("merged_into"), col("merged_into").alias("second"))
    users = (
        days.select(col("user_id").unique())
        .join(entities.select("id", "merged_into"), left_on="user_id", right_on="id", how="left")
        .join(merges, on="merged_into", how="left")
        .with_columns(survivor=pl.coalesce("second", "merged_into", "user_id"))
        .join(entities.select("id", "kind"), left_on="survivor", right_on="id", how="left")
        .filter(col("kind").fill_null("human") == "human")
        .select("user_id", user=col("survivor").to_physical().cast(pl.UInt64))
    )
    days = days.join(users, on="user_id")
    named, packed, offset = [], [], 0
    for scope, ids in SCOPES.items():
        here = days.filter(col("service_id").is_not_null()) if scope == "service" else days
        names = here.select(ids).unique().with_row_index("scope_key", offset=offset)
        offset += len(names)
        named.append(names.with_columns(scope=pl.lit(scope)))
        packed.append(
            here.join(names, on=ids).select(
                key=(col("scope_key").cast(pl.UInt64) * 2**48 + col("user") * 2**16 + col("day"))
            )
        )
    keys = pl.concat(packed).unique().sort("key").lazy()
    owner, key = col("key") // 2**16, col("key")
    edges = (
        keys.select(
            scope_key=(key // 2**48).cast(pl.UInt32),
            day=(key % 2**16).cast(pl.Int32),
            since=pl.when(owner == owner.shift(1)).then(key - key.shift(1)).otherwise(9999),
            until=pl.when(owner == owner.shift(-1)).then(key.shift(-1) - key).otherwise(9999),
        )
        # beside the first and the last row stands nobody
        .with_columns(col("since").fill_null(9999), col("until").fill_null(9999))
        .group_by("scope_key", "day")
        .agg(
            *((col("since") >= n).sum().cast(pl.Int64).alias(f"gained_{n}") for n in WINDOWS),
            *((col("until") >= n).sum().cast(pl.Int64).alias(f"last_{n}") for n in WINDOWS),
        )
        .collect(engine="streaming")
    )
    last_day = edges["day"].max() + 1
    return (
        edges.group_by("scope_key")
        .agg(pl.int_range(col("day").min(), last_day, dtype=pl.Int32).alias("day"))
        .explode("day")
        .join(edges, on=["scope_key", "day"], how="left")
        .fill_null(0)
        .sort("scope_key", "day")
        .with_columns(
            (
                col(f"gained_{n}").cum_sum().over("scope_key")
                - col(f"last_{n}").cum_sum().shift(n).over("scope_key").fill_null(0)
            ).alias(f"users_{n}d")
            for n in WINDOWS
        )
        .join(pl.concat(named, how="diagonal"), on="scope_key")
        .select(
            "scope",
            *(col(name).cast(pl.String) for name in places),
            col("day").cast(pl.Date).alias("activity_date"),
            *(f"users_{n}d" for n in WINDOWS),
        )
    )


# --- chDB -----------------------------------------------------------------------------------------


def chdb_gaps(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """Our gaps, in sorted arrays of each user's days: the fastest exact formulation tried.

    20M events: 0.6 s from the user-days on, where bitmaps merged by window took 7.3 s.
    """
    return _chdb(events, out, _gap_windows)


def chdb_bitmaps(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """The usual exact way in ClickHouse: a bitmap of user keys a day, merged over each window."""
    return _chdb(events, out, partial(_merged_windows, function="groupBitmap"))


def chdb_combined(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """Sketches of ClickHouse's default accuracy a day, merged over each window."""
    return _chdb(events, out, partial(_merged_windows, function="uniqCombined"))


def chdb_hll(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """HyperLogLog of 2¹² registers a day, merged over each window."""
    return _chdb(events, out, partial(_merged_windows, function="uniqHLL12"))


def _chdb(events: Events, out: Path | None, windows: Any) -> Seconds:
    clickhouse = ClickHouse()

    def run() -> None:
        _chdb_user_days(clickhouse, events)
        windows(clickhouse)

    seconds = timed(run)
    if out:
        clickhouse.write(
            f"""
            select scope, workspace_id, nullIf(toString(project_id), '') as project_id,
                nullIf(toString(service_id), '') as service_id, toDate32(day) as activity_date,
                {", ".join(f"users_{days}d" for days in WINDOWS)}
            from result inner join scopes using (scope_key)
            """,
            out,
        )
    return seconds


def _chdb_user_days(clickhouse: ClickHouse, events: Events) -> None:
    """Table scoped: scope_key, user_key, day. No value is '', so '' can stand for null.

    20M events: 7.7 s up to distinct user-days; 11.0 s on Nullable(String) columns, and 11.0 s when
    places were numbered and a user-day packed into one number before `distinct`.
    """
    low = "LowCardinality(String)"
    structure = (
        ", ".join(
            f"{name} {low}"
            for name in (
                "environment",
                "type",
                "workspace_id",
                "project_id",
                "service_id",
                "outcome",
            )
        )
        + ", is_test Bool, impersonator_id Nullable(String), user_id String, _activity_date Date"
    )
    active = " union all ".join(
        f"""
        select workspace_id, project_id, service_id, user_id, toUInt16(_activity_date) as day
        from file('{events.files(table)}', Parquet, '{structure}')
        where environment = 'production' and not is_test and impersonator_id is null
            and user_id != '' and has({list(ACTIVE[table])}, type)
            {"and outcome != 'failure'" if table == "auth_events" else ""}
        """
        for table in EVENT_TABLES
    )
    entities = (
        f"file('{events.files('users')}', Parquet, 'id String, kind {low}, merged_into String')"
    )
    clickhouse.create("text_days", f"select distinct * from ({active})")
    clickhouse.create(
        "users",
        f"""
        select user_id, toUInt32(dense_rank() over (order by survivor)) as user_key
        from (
            select named.user_id as user_id, multiIf(
                second.merged_into != '', second.merged_into,
                first.merged_into != '', first.merged_into,
                named.user_id) as survivor
            from (select distinct user_id from text_days) as named
            left join {entities} as first on named.user_id = first.id
            left join {entities} as second on first.merged_into = second.id
        ) as resolved
        left join {entities} as entities on survivor = entities.id
        where entities.kind in ('', 'human')
        """,
    )
    clickhouse.create(
        "user_days",
        "select workspace_id, project_id, service_id, user_key, day"
        " from text_days inner join users on text_days.user_id = users.user_id",
    )
    clickhouse.create(
        "scopes",
        """
        select toUInt16(row_number() over ()) as scope_key, * from (
            select distinct 'workspace' as scope, workspace_id, '' as project_id, '' as service_id
            from user_days
            union all select distinct 'project', workspace_id, project_id, '' from user_days
            union all select distinct 'service', workspace_id, project_id, service_id
            from user_days where service_id != ''
        )
        """,
    )
    clickhouse.create(
        "scoped",
        "select distinct scope_key, user_key, day from ("
        + " union all ".join(
            f"""
            select scope_key, user_key, day
            from user_days inner join scopes on scopes.scope = '{scope}'
                and {" and ".join(f"scopes.{key} = user_days.{key}" for key in keys)}
            """
            for scope, keys in SCOPES.items()
        )
        + ")",
    )


def _spine(clickhouse: ClickHouse) -> None:
    last_day = clickhouse.execute("select max(day) + 1 from scoped")
    clickhouse.create(
        "spine",
        f"select scope_key, toUInt16(arrayJoin(range(min(day), {last_day}))) as day"
        " from scoped group by scope_key",
    )


def _gap_windows(clickhouse: ClickHouse) -> None:
    clickhouse.create(
        "edges",
        f"""
        select scope_key, day, {
            ", ".join(
                f"toInt64(countIf(since >= {n})) as gained_{n},"
                f" toInt64(countIf(until >= {n})) as last_{n}"
                for n in WINDOWS
            )
        }
        from (
            select scope_key, days[i] as day,
                if(i = 1, 9999, days[i] - days[i - 1]) as since,
                if(i = length(days), 9999, days[i + 1] - days[i]) as until
            from (
                select scope_key, arraySort(groupArray(day)) as days
                from scoped group by scope_key, user_key
            )
            array join arrayEnumerate(days) as i
        )
        group by scope_key, day
        """,
    )
    _spine(clickhouse)
    totals = ", ".join(
        f"sum(gained_{n}) over days as gained_{n}, sum(last_{n}) over days as last_{n}"
        for n in WINDOWS
    )
    windows = ", ".join(
        f"gained_{n} - lagInFrame(last_{n}, {n}, toInt64(0)) over days as users_{n}d"
        for n in WINDOWS
    )
    frame = (
        "window days as (partition by scope_key order by day"
        " rows between unbounded preceding and current row)"
    )
    clickhouse.create(
        "result",
        f"""
        select scope_key, day, {windows} from (
            select scope_key, day, {totals}
            from spine left join edges using (scope_key, day)
            {frame}
        )
        {frame}
        """,
    )


def _merged_windows(clickhouse: ClickHouse, function: str) -> None:
    """One state a scope and day, merged over the rows of each window (a day without: no users).

    Bitmaps of 20M events: 7.3 s with window frames, 13.5 s joined to each of their days.
    """
    clickhouse.create(
        "states",
        f"select scope_key, day, {function}State(user_key) as state from scoped"
        " group by scope_key, day",
    )
    _spine(clickhouse)
    merged = ", ".join(
        f"{function}Merge(state) over (partition by scope_key order by day"
        f" rows between {n - 1} preceding and current row) as users_{n}d"
        for n in WINDOWS
    )
    clickhouse.create(
        "result",
        f"select scope_key, day, {merged} from spine left join states using (scope_key, day)",
    )
