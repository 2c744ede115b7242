"""Sessions by the gap rule and by id, with how they were closed, from a year of events.

Ours are the models up to fct_sessions, with every column they have. Rivals give the columns of
COLUMNS alone, and are spared: keys, trace ids, revokers and reasons, impersonation, ties in time
between events of a visitor, and looking at later events of a session whose first one lacks a user
or a device class (none here does unless all do).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.events import Events
from benchmarks.frame import Measurement, Seconds, Size, timed
from benchmarks.product import Step
from benchmarks.rivals import ClickHouse, Comparison, Rival, measure_rivals, product_run

MART = "fct_sessions"
COLUMNS = (
    *("workspace_id", "project_id", "session_id", "user_id", "started_at", "ended_at"),
    *("event_count", "action_run_count", "device_class", "is_engaged", "is_ended", "is_revoked"),
    "is_test",
)
KEYS = ("workspace_id", "project_id", "session_id", "user_id", "started_at")

GAP_MICROSECONDS = 30 * 60 * 1_000_000
CLOSING = ("session.ended", "session.revoked")
ENGAGING = ("session.activity", "action.run", "metric.logged")


def measure(size: Size) -> list[Measurement]:
    """Ours beside Polars and chDB."""
    rivals = [
        Rival("Polars", polars_run, 2.0, "13 columns of ours; shifts over one sort, then groups"),
        Rival("chDB", chdb_run, 2.0, "13 columns of ours; sorted arrays of each visitor, split"),
    ]
    return measure_rivals(Comparison("sessions", MART, KEYS, ours, rivals), size)


def ours(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """The project's models."""
    return product_run(events, steps, out, MART, ", ".join(COLUMNS))


def polars_run(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """Codes instead of text while reading; id sessions grouped, gap sessions cut after a sort."""
    import polars as pl  # noqa: PLC0415 - a rival's package, in the rival's process alone

    frames: list[Any] = []
    seconds = timed(lambda: frames.append(_polars(pl, events)))
    if out:
        frames[0].write_parquet(out)
    return seconds


def _polars(pl: Any, events: Events) -> Any:
    col = pl.col
    entities = pl.read_parquet(events.files("users"), columns=["id", "merged_into"])
    survivors = (
        entities.filter(col("merged_into").is_not_null())
        .join(entities, left_on="merged_into", right_on="id", how="left", suffix="_2")
        .select(
            col("id").cast(pl.Categorical).alias("user_id"),
            pl.coalesce("merged_into_2", "merged_into").cast(pl.Categorical).alias("survivor"),
        )
    )
    agents = pl.read_parquet(
        events.files("user_agents"), columns=["user_agent", "device_class"]
    ).with_columns(col("user_agent").cast(pl.Categorical))
    kind = col("type")
    read = (
        pl.scan_parquet(events.files("session_events"))
        .filter(col("environment") == "production")
        .select(
            *(col(name).cast(pl.Categorical) for name in ("workspace_id", "project_id")),
            *(col(name).cast(pl.Categorical) for name in ("user_id", "user_agent")),
            *("session_id", "anonymous_id", "is_test"),
            at=pl.when(col("_is_clock_skewed")).then("received_at").otherwise("occurred_at"),
            is_ended=kind == CLOSING[0],
            is_revoked=kind == CLOSING[1],
            is_action_run=kind == "action.run",
            is_completion=kind == "journey.completed",
            is_engagement=kind.is_in(ENGAGING)
            | kind.str.starts_with("journey.")
            | kind.str.starts_with("custom."),
        )
        .join(survivors.lazy(), on="user_id", how="left")
        .join(agents.lazy(), on="user_agent", how="left")
        .with_columns(user_id=pl.coalesce("survivor", "user_id"))
        .drop("survivor", "user_agent")
        .collect(engine="streaming")
    )
    first = col("at").arg_min()
    counts = {
        "event_count": pl.len(),
        "action_run_count": col("is_action_run").sum(),
        "engagements": col("is_engagement").sum(),
        "completions": col("is_completion").sum(),
    }
    identified = (
        read.lazy()
        .filter(col("session_id").is_not_null())
        .group_by("workspace_id", "project_id", "session_id")
        .agg(
            col("user_id").get(first),
            col("device_class").get(first),
            started_at=col("at").min(),
            last_at=col("at").max(),
            ended=col("at").filter(col("is_ended")).min(),
            revoked=col("at").filter(col("is_revoked")).min(),
            is_test=col("is_test").any(),
            **counts,
        )
        .with_columns(
            is_revoked=col("revoked").is_not_null()
            & (col("ended").is_null() | (col("revoked") < col("ended"))),
            closed_at=pl.min_horizontal("ended", "revoked"),
        )
        .drop("ended", "revoked")
        .collect(engine="streaming")
    )
    visitor = ["workspace_id", "project_id", "user_id", "anonymous_id", "is_test"]
    visits = (
        read.lazy()
        .filter(
            col("session_id").is_null()
            & (col("user_id").is_not_null() | col("anonymous_id").is_not_null())
        )
        .with_columns(
            anonymous_id=pl.when(col("user_id").is_null()).then("anonymous_id"),
            is_closing=col("is_ended") | col("is_revoked"),
        )
        .collect()
    )
    # one integer tells a visitor: one column is sorted in place of five
    numbers = visits.select(visitor).unique().with_row_index("visitor")
    visits = visits.join(numbers, on=visitor, nulls_equal=True).sort("visitor", "at", "is_closing")
    same = col("visitor") == col("visitor").shift(1)
    inferred = (
        visits.with_columns(
            previous=pl.when(~col("is_closing")).then("at").forward_fill().shift(1),
            # whose event `previous` is
            previous_of=pl.when(~col("is_closing")).then("visitor").forward_fill().shift(1),
            after_closing=same.fill_null(False) & col("is_closing").shift(1),
        )
        .with_columns(
            previous=pl.when(col("previous_of") == col("visitor")).then("previous"),
        )
        .with_columns(
            is_near=(
                (col("at") - col("previous")).dt.total_microseconds() <= GAP_MICROSECONDS
            ).fill_null(False)
            & ~col("after_closing").fill_null(False)
        )
        .filter(~col("is_closing") | col("is_near"))
        .with_columns(session=(~col("is_closing") & ~col("is_near")).cum_sum())
        .lazy()
        .group_by("session")
        .agg(
            *(col(name).first() for name in ("workspace_id", "project_id", "user_id", "is_test")),
            col("device_class").first(),
            started_at=col("at").first(),
            last_at=col("at").filter(~col("is_closing")).max(),
            closed_at=col("at").filter(col("is_closing")).min(),
            is_revoked=col("is_revoked").any(),
            event_count=(~col("is_closing")).sum(),
            **{name: count for name, count in counts.items() if name != "event_count"},
        )
        .collect(engine="streaming")
    )
    return (
        pl.concat([identified, inferred.drop("session")], how="diagonal_relaxed")
        .with_columns(ended_at=pl.coalesce("closed_at", "last_at"))
        .with_columns(
            *(
                col(name).cast(pl.String)
                for name in ("workspace_id", "project_id", "user_id", "device_class")
            ),
            is_ended=col("closed_at").is_not_null(),
            is_engaged=((col("ended_at") - col("started_at")).dt.total_microseconds() > 10_000_000)
            | (col("engagements") >= 2)
            | (col("completions") >= 1),
        )
        .select(COLUMNS)
    )


def chdb_run(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """Id sessions grouped; of gap sessions each visitor's events as one sorted array, split.

    Arrays, because they did well beside window frames on user-days (windows.py); a formulation with
    window functions was not measured here.
    """
    clickhouse = ClickHouse()
    seconds = timed(lambda: _chdb(clickhouse, events))
    if out:
        written = ", ".join(
            {
                "session_id": "nullIf(session_id, '') as session_id",
                "user_id": "nullIf(user_id, '') as user_id",
                "device_class": "nullIf(toString(device_class), '') as device_class",
                "workspace_id": "toString(workspace_id) as workspace_id",
                "project_id": "toString(project_id) as project_id",
                "started_at": "fromUnixTimestamp64Micro(started_at, 'UTC') as started_at",
                "ended_at": "fromUnixTimestamp64Micro(ended_at, 'UTC') as ended_at",
            }.get(name, f"{name}")
            for name in COLUMNS
        )
        clickhouse.write(
            f"select {written} from (select {', '.join(COLUMNS)} from result) as result", out
        )
    return seconds


def _chdb(clickhouse: ClickHouse, events: Events) -> None:
    low = "LowCardinality(String)"
    structure = (
        f"environment {low}, type {low}, workspace_id {low}, project_id {low}, user_agent {low},"
        " session_id String, user_id String, anonymous_id String, is_test Bool,"
        " occurred_at DateTime64(6), received_at DateTime64(6), _is_clock_skewed Bool"
    )
    entities = f"file('{events.files('users')}', Parquet, 'id String, merged_into String')"
    agents = (
        f"file('{events.files('user_agents')}', Parquet, 'user_agent {low}, device_class {low}')"
    )
    clickhouse.create(
        "survivors",
        f"""
        select first.id as user_id,
            if(second.merged_into != '', second.merged_into, first.merged_into) as survivor
        from {entities} as first
        left join {entities} as second on first.merged_into = second.id
        where first.merged_into != ''
        """,
    )
    clickhouse.create(
        "events",
        f"""
        select workspace_id, project_id, session_id, is_test, device_class,
            if(survivor != '', survivor, events.user_id) as user_id,
            if(events.user_id = '', anonymous_id, '') as visitor_id,
            toUnixTimestamp64Micro(if(_is_clock_skewed, received_at, occurred_at)) as at,
            -- bits: ended, revoked, action run, journey completed, engagement
            toUInt8((type = '{CLOSING[0]}') + (type = '{CLOSING[1]}') * 2
                + (type = 'action.run') * 4 + (type = 'journey.completed') * 8
                + (type in {ENGAGING} or startsWith(type, 'journey.')
                    or startsWith(type, 'custom.')) * 16) as bits
        from file('{events.files("session_events")}', Parquet, '{structure}') as events
        left join survivors on events.user_id = survivors.user_id
        left join {agents} as agents on events.user_agent = agents.user_agent
        where environment = 'production'
        """,
    )
    judged = """
        (ended_at - started_at > 10000000 or engagements >= 2 or completions >= 1) as is_engaged
    """
    clickhouse.create(
        "result",
        f"""
        select workspace_id, project_id, session_id, user_id, started_at,
            multiIf(ended > 0 and revoked > 0, least(ended, revoked), ended > 0, ended,
                revoked > 0, revoked, last_at) as ended_at,
            event_count, action_run_count, device_class, {judged},
            ended > 0 or revoked > 0 as is_ended,
            revoked > 0 and (ended = 0 or revoked < ended) as is_revoked, is_test
        from (
            select workspace_id, project_id, session_id,
                argMin(user_id, at) as user_id, argMin(device_class, at) as device_class,
                min(at) as started_at, max(at) as last_at,
                minIf(at, bitTest(bits, 0)) as ended, minIf(at, bitTest(bits, 1)) as revoked,
                count() as event_count, countIf(bitTest(bits, 2)) as action_run_count,
                countIf(bitTest(bits, 3)) as completions, countIf(bitTest(bits, 4)) as engagements,
                max(is_test) as is_test
            from events where session_id != ''
            group by workspace_id, project_id, session_id
        )
        union all
        select workspace_id, project_id, '' as session_id, user_id, part[1].1 as started_at,
            if(bitAnd(part[-1].3, 3) > 0, part[-1].1,
                arrayMax(event -> event.1, part)) as ended_at,
            toUInt64(length(part) - (bitAnd(part[-1].3, 3) > 0)) as event_count,
            toUInt64(arrayCount(event -> bitTest(event.3, 2), part)) as action_run_count,
            part[1].4 as device_class,
            (ended_at - started_at > 10000000
                or arrayCount(event -> bitTest(event.3, 4), part) >= 2
                or arrayExists(event -> bitTest(event.3, 3), part)) as is_engaged,
            bitAnd(part[-1].3, 3) > 0 as is_ended, bitTest(part[-1].3, 1) as is_revoked, is_test
        from (
            select workspace_id, project_id, user_id, is_test,
                arraySort(groupArray((at, bitAnd(bits, 3) > 0, bits, device_class))) as sorted,
                sorted.1 as times,
                sorted.2 as closings,
                -- of each row: the time of the last event before it that closes nothing, else 0
                arrayPopBack(arrayPushFront(arrayFill(
                    (time, closing) -> not closing,
                    arrayMap((time, closing) -> if(closing, 0, time), times, closings), closings
                ), 0)) as previous,
                arrayPopBack(arrayPushFront(closings, 0)) as after_closing,
                arrayMap((time, before, after) -> before > 0 and not after
                    and time - before <= {GAP_MICROSECONDS},
                    times, previous, after_closing) as near,
                arrayFilter((row, closing, is_near) -> not closing or is_near,
                    arrayZip(times, closings, sorted.3, sorted.4, near), closings, near) as kept
            from events
            where session_id = '' and (user_id != '' or visitor_id != '')
            group by workspace_id, project_id, user_id, visitor_id, is_test
        )
        array join arraySplit(row -> not row.5, kept) as part
        """,
    )
