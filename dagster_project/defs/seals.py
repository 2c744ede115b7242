"""raw/mau_seals, raw/mau_corrections: the job that closes months.

Belongs here: the assets, the job, its time. Does not belong here: what is written (seals.py).
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from dagster_project import builds, worklist
from dagster_project.defs.resources import WRITER_POOL, retried_when_busy
from dagster_project.defs.schedules import environment_assets
from dagster_project.progress import sayer
from dagster_project.seals import seal_and_correct
from dagster_project.warehouse import Warehouse
from landing.schema import KEPT

BILLED = "production"
SEALS = [dg.AssetKey(["raw", table]) for table in sorted(KEPT)]


@dg.multi_asset(
    specs=[dg.AssetSpec(key, group_name="raw", kinds={"duckdb", "table"}) for key in SEALS],
    name="seal_closed_months",
    pool=WRITER_POOL,
)
def seal_closed_months(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[None]]:
    """Seal months that are over, correct those that are sealed."""
    with retried_when_busy(), warehouse.connect() as connection:
        if worklist.needs_build(warehouse, BILLED, builds.read_inputs(connection)):
            raise dg.Failure(
                f"what has landed is not all published for {BILLED}: run the whole job first,"
                " so that what is sealed is what was checked",
                allow_retries=False,
            )
        now = datetime.now(UTC).replace(tzinfo=None)
        sealing = seal_and_correct(connection, now)
    sayer(context.log)(f"{sealing.seals} seals, {sealing.corrections} corrections")
    numbers = {"seals": sealing.seals, "corrections": sealing.corrections}
    yield from (dg.MaterializeResult(asset_key=key, metadata=numbers) for key in SEALS)


seal_months = dg.define_asset_job(
    "seal_months",
    selection=dg.AssetSelection.assets(*SEALS) | environment_assets(BILLED),
    description="Seal the months whose grace period is over, publish.",
)

daily = dg.ScheduleDefinition(
    name="daily",
    job=seal_months,
    cron_schedule="22 4 * * *",
    execution_timezone="UTC",
    description="Months whose grace period is over are sealed, sealed ones corrected.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


@dg.definitions
def sealing() -> dg.Definitions:
    """The assets, their job and its time."""
    return dg.Definitions(assets=[seal_closed_months], jobs=[seal_months], schedules=[daily])
