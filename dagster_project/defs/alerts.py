"""Sensors that notice what somebody has to know while Dagster's daemon runs.

Belongs here: when an alert is sent. Does not belong here: what it says (dagster_project/alerts.py),
runs of `make run`, which tells of itself (run.py).
"""

from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from dagster_project import alerts
from dagster_project.progress import cause
from dagster_project.warehouse import Warehouse


@dg.run_failure_sensor(
    name="failed_runs",
    description="Tells ROLLCALL_ALERT_URL of each run that failed and the checks that blocked it.",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
)
def failed_runs(context: dg.RunFailureSensorContext) -> None:
    """One alert a run."""
    steps = {
        event.step_key or "": cause(event.step_failure_data.error)
        for event in context.get_step_failure_events()
    }
    if not steps:
        steps = {"run": context.failure_event.message or "ended without a word"}
    alert = alerts.of_run(context.dagster_run.job_name, steps, failed_checks(context))
    alerts.send(Warehouse.from_environment(), alert)


def failed_checks(context: dg.RunFailureSensorContext) -> list[str]:
    """The blocking checks that did not pass, by table and name."""
    records = context.instance.all_logs(
        context.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    )
    found = []
    for record in records:
        check = record.dagster_event.asset_check_evaluation_data if record.dagster_event else None
        if check and not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
            found.append(f"{'.'.join(check.asset_key.path)}: {check.check_name}")
    return found


@dg.sensor(
    name="stale_tables",
    description="Tells ROLLCALL_ALERT_URL, once, of tables that got nothing new for two days.",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=1800,
)
def stale_tables() -> dg.SkipReason:
    """One alert of what became stale since the last one."""
    at = replace(Warehouse.from_environment(), lock_seconds=0)
    news = alerts.tell_of_stale(at, datetime.now(UTC))
    return dg.SkipReason(f"{len(news)} told" if news else "nothing became stale")


@dg.definitions
def alerting() -> dg.Definitions:
    """The sensors."""
    return dg.Definitions(sensors=[failed_runs, stale_tables])
