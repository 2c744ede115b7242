"""Jobs as selections of assets, and their times.

Belongs here: jobs, schedules, the sensor of the landing folder, the executor. Does not belong
here: what a step does (the other files of this folder).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from dagster_project import worklist
from dagster_project.defs.publish import PUBLISHED_TAG
from dagster_project.defs.resources import forget_run
from dagster_project.warehouse import ENVIRONMENTS, Warehouse
from landing.schema import KEPT

# sealing months has a job of its own: defs/seals.py
SEALED = dg.AssetSelection.assets(*(["raw", table] for table in KEPT))
RAW = dg.AssetSelection.groups("raw") - SEALED


def environment_assets(name: str) -> dg.AssetSelection:
    """What is built, checked and published of one environment."""
    schemas = (f"{name}_seeds", f"{name}_staging", f"{name}_intermediate", name)
    return dg.AssetSelection.groups(*schemas) | dg.AssetSelection.assets(["published", name])


run = dg.define_asset_job(
    "run",
    selection=dg.AssetSelection.all() - SEALED,
    description="Land what is new, build both environments, check, publish.",
)
land = dg.define_asset_job(
    "land", selection=RAW, description="Land what is new and reconcile the ledger; build nothing."
)
environment_jobs = [
    dg.define_asset_job(
        f"refresh_{name}",
        selection=environment_assets(name),
        description=f"Build, check and publish {name} from what has landed.",
    )
    for name in ENVIRONMENTS
]


# A missed tick is not caught up, and need not be: a run drains all that is pending.
@dg.schedule(
    job=run,
    cron_schedule="7 * * * *",
    execution_timezone="UTC",
    description="Whatever arrived within the hour; nothing when nothing did.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def hourly() -> dg.RunRequest | dg.SkipReason:
    """Ask for a run unless it would change nothing."""
    # Who is writing now is not waited for: the run that is asked for waits in the queue.
    is_idle = worklist.is_idle(replace(Warehouse.from_environment(), lock_seconds=0))
    return dg.SkipReason("nothing new since the last publish") if is_idle else dg.RunRequest()


@dg.sensor(
    job=run,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Asks for a run when files have come to rest in the landing folder.",
)
def new_extracts(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Two listings that agree are needed: a folder that is still filling up is left to fill up."""
    digest = worklist.landing_digest(Warehouse.from_environment().landing)
    seen, _, asked = (context.cursor or ":").partition(":")
    if digest is None or digest == asked:
        return dg.SkipReason("nothing new in the landing folder")
    if digest != seen:
        return dg.SensorResult(
            skip_reason=dg.SkipReason("files are arriving"), cursor=f"{digest}:{asked}"
        )
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=digest)], cursor=f"{digest}:{digest}"
    )


ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
DAYS_REMEMBERED = 7
PUBLISHING_RUNS_REMEMBERED = 30


def forgettable(
    runs: Sequence[tuple[str, datetime, bool]], now: datetime, days: int = DAYS_REMEMBERED
) -> list[str]:
    """Ids of runs to forget, given (id, created, did it publish), newest first.

    Older than `days` and not among the newest runs that published: those hold the last word on
    assets that an idle month leaves alone.
    """
    published = [run_id for run_id, _, has_published in runs if has_published]
    kept = set(published[:PUBLISHING_RUNS_REMEMBERED])
    oldest = now - timedelta(days=days)
    return [run_id for run_id, created, _ in runs if created < oldest and run_id not in kept]


def forget(instance: dg.DagsterInstance, at: Warehouse, now: datetime) -> list[str]:
    """Delete what Dagster keeps of runs that ended long ago; returns their ids."""
    records = instance.get_run_records(dg.RunsFilter(statuses=list(ENDED)))
    runs = [
        (
            record.dagster_run.run_id,
            record.create_timestamp,
            PUBLISHED_TAG in record.dagster_run.tags,
        )
        for record in records
    ]
    forgotten = forgettable(runs, now)
    for run_id in forgotten:
        forget_run(instance, at, run_id)
    return forgotten


@dg.op
def forget_old_runs(context: dg.OpExecutionContext) -> None:
    """Delete what Dagster keeps of runs that ended long ago."""
    forgotten = forget(context.instance, Warehouse.from_environment(), datetime.now(UTC))
    context.log.info(f"{len(forgotten)} runs forgotten")


@dg.job(description="Forget runs of long ago.")
def tidy() -> None:
    """Upkeep of Dagster's own storage."""
    forget_old_runs()


nightly = dg.ScheduleDefinition(
    name="nightly",
    job=tidy,
    cron_schedule="37 3 * * *",
    execution_timezone="UTC",
    description="Keeps Dagster's storage small.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


@dg.definitions
def schedules() -> dg.Definitions:
    """Everything that decides when."""
    return dg.Definitions(
        jobs=[run, land, *environment_jobs, tidy],
        schedules=[hourly, nightly],
        sensors=[new_extracts],
        # The default executor gives each step a process: two of them meet at DuckDB's lock, and
        # each imports everything anew (24 s instead of 5 s for the same three steps).
        executor=dg.in_process_executor,
    )
