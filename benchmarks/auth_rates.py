"""Sign-in figures of a day, by project, service, provider and method, from a year of events.

Ours are the models up to fct_auth_daily. Everybody gives all its columns that are counts or rates.
Rivals are spared merge chains of any length (these have up to two).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.events import Events
from benchmarks.frame import Measurement, Seconds, Size, timed
from benchmarks.product import Step
from benchmarks.rivals import ClickHouse, Comparison, Rival, measure_rivals, product_run

MART = "fct_auth_daily"
KEYS = ("workspace_id", "project_id", "service_id", "provider", "method", "activity_date")
COUNTS = (
    *("attempt_count", "success_count", "failure_count", "login_count", "login_success_count"),
    *("token_refresh_count", "token_exchange_count", "mfa_challenge_count", "mfa_pass_count"),
    *("user_count", "failures_with_trace_count"),
)
# name: numerator, denominator
RATES = {
    "success_rate": ("success_count", ("success_count", "failure_count")),
    "mfa_challenge_rate": ("mfa_challenge_count", ("login_success_count",)),
    "mfa_pass_rate": ("mfa_pass_count", ("mfa_challenge_count",)),
}
RESULT = (*KEYS, *COUNTS, *RATES)
ATTEMPTS = ("login", "signup", "mfa_verification", "password_reset")


def measure(size: Size) -> list[Measurement]:
    """Ours beside Polars and chDB."""
    rivals = [
        Rival("Polars", polars_run, 1.0, "category codes, one group-by, streaming"),
        Rival("chDB", chdb_run, 1.0, "LowCardinality text, one group-by"),
    ]
    return measure_rivals(Comparison("auth_rates", MART, KEYS, ours, rivals), size)


def ours(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """The project's models."""
    return product_run(events, steps, out, MART, ", ".join(RESULT))


def polars_run(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """One group-by, keys and users as category codes."""
    import polars as pl  # noqa: PLC0415 - a rival's package, in the rival's process alone

    frames: list[Any] = []
    seconds = timed(lambda: frames.append(_polars(pl, events)))
    if out:
        frames[0].write_parquet(out)
    return seconds


def _polars(pl: Any, events: Events) -> Any:
    col = pl.col
    entities = pl.read_parquet(
        events.files("users"), columns=["id", "kind", "merged_into"]
    ).with_columns(col("id").cast(pl.Categorical), col("merged_into").cast(pl.Categorical))
    people = entities.select("id", "merged_into")
    # who is not simply themselves, a human: everybody else is missing here
    special = (
        people.join(people, left_on="merged_into", right_on="id", how="left", suffix="_2")
        .select("id", survivor=pl.coalesce("merged_into_2", "merged_into", "id"))
        .join(entities.select("id", "kind"), left_on="survivor", right_on="id", how="left")
        .with_columns(is_human=col("kind").fill_null("human") == "human")
        .filter((col("id") != col("survivor")) | ~col("is_human"))
        .select(col("id").alias("user_id"), "survivor", "is_human")
    )
    kind, is_success = col("type"), col("outcome") == "success"
    is_attempt, is_failure = kind.is_in(ATTEMPTS), col("outcome") == "failure"
    counted = (
        pl.scan_parquet(events.files("auth_events"))
        .filter((col("environment") == "production") & ~col("is_test") & (kind != "logout"))
        .with_columns(
            col(name).cast(pl.Categorical)
            for name in ("workspace_id", "project_id", "service_id", "user_id")
        )
        .join(special.lazy(), on="user_id", how="left")
        .with_columns(
            user=pl.when(col("is_human").fill_null(True) & col("impersonator_id").is_null()).then(
                pl.coalesce("survivor", "user_id").to_physical()
            )
        )
        .group_by(*KEYS[:-1], col("_activity_date").alias("activity_date"))
        .agg(
            attempt_count=is_attempt.sum(),
            success_count=(is_attempt & is_success).sum(),
            failure_count=(is_attempt & is_failure).sum(),
            login_count=(kind == "login").sum(),
            login_success_count=((kind == "login") & is_success).sum(),
            token_refresh_count=(kind == "token_refresh").sum(),
            token_exchange_count=(kind == "token_exchange").sum(),
            mfa_challenge_count=(kind == "mfa_challenge").sum(),
            mfa_pass_count=((kind == "mfa_verification") & is_success).sum(),
            user_count=col("user").drop_nulls().n_unique(),
            failures_with_trace_count=(
                is_attempt & is_failure & col("trace_id").is_not_null()
            ).sum(),
        )
        .collect(engine="streaming")
    )

    def rate(part: str, whole: tuple[str, ...]) -> Any:
        total = pl.sum_horizontal(whole)
        return pl.when(total > 0).then(col(part).cast(pl.Float64) / total)

    return counted.with_columns(
        *(col(name).cast(pl.String) for name in KEYS[:-1]),
        *(rate(*parts).alias(name) for name, parts in RATES.items()),
    ).select(RESULT)


def chdb_run(events: Events, steps: Sequence[Step], out: Path | None) -> Seconds:
    """One group-by with conditional counts; uniqExact of text, so that no keys are made first."""
    clickhouse = ClickHouse()
    seconds = timed(lambda: _chdb(clickhouse, events))
    if out:
        keys = ", ".join(f"nullIf(toString({key}), '') as {key}" for key in KEYS[:-1])
        figures = ", ".join([*COUNTS, *RATES])
        clickhouse.write(
            f"select {keys}, toDate32(activity_date) as activity_date, {figures}"
            f" from (select {', '.join(RESULT)} from result) as result",
            out,
        )
    return seconds


def _chdb(clickhouse: ClickHouse, events: Events) -> None:
    low = "LowCardinality(String)"
    text = ("environment", "type", "outcome", *KEYS[:-1])
    structure = ", ".join(f"{name} {low}" for name in text) + (
        ", is_test Bool, _activity_date Date, user_id String, impersonator_id Nullable(String),"
        " trace_id Nullable(String)"
    )
    entities = (
        f"file('{events.files('users')}', Parquet, 'id String, kind {low}, merged_into String')"
    )
    clickhouse.create(
        "special",
        f"""
        select resolved.id as user_id, survivor, entities.kind in ('', 'human') as is_human
        from (
            select first.id as id, multiIf(
                second.merged_into != '', second.merged_into,
                first.merged_into != '', first.merged_into, first.id) as survivor
            from {entities} as first
            left join {entities} as second on first.merged_into = second.id
        ) as resolved
        left join {entities} as entities on survivor = entities.id
        where survivor != resolved.id or not is_human
        """,
    )
    is_attempt = f"type in {ATTEMPTS}"
    rates = ", ".join(
        f"if({' + '.join(whole)} > 0, {part} / ({' + '.join(whole)}), null) as {name}"
        for name, (part, whole) in RATES.items()
    )
    clickhouse.create(
        "result",
        f"""
        select *, {rates} from (
            select {", ".join(KEYS[:-1])}, _activity_date as activity_date,
                countIf({is_attempt}) as attempt_count,
                countIf({is_attempt} and outcome = 'success') as success_count,
                countIf({is_attempt} and outcome = 'failure') as failure_count,
                countIf(type = 'login') as login_count,
                countIf(type = 'login' and outcome = 'success') as login_success_count,
                countIf(type = 'token_refresh') as token_refresh_count,
                countIf(type = 'token_exchange') as token_exchange_count,
                countIf(type = 'mfa_challenge') as mfa_challenge_count,
                countIf(type = 'mfa_verification' and outcome = 'success') as mfa_pass_count,
                uniqExactIf(
                    if(special.survivor != '', special.survivor, events.user_id),
                    events.user_id != '' and impersonator_id is null
                        and (special.survivor = '' or is_human)
                ) as user_count,
                countIf({is_attempt} and outcome = 'failure' and trace_id is not null)
                    as failures_with_trace_count
            from file('{events.files("auth_events")}', Parquet, '{structure}') as events
            left join special on events.user_id = special.user_id
            where environment = 'production' and not is_test and type != 'logout'
            group by {", ".join(KEYS[:-1])}, activity_date
        )
        """,
    )
