"""shares/<name>: what was published leaves, to one consumer each, as shares.yml says.

Belongs here: one asset a share, their job and its time. Does not belong here: what a share may
hold and how it leaves (sharing/), whether one waits (dagster_project/shares.py).

The status of a consumer in the file is what pauses, resumes and revokes; the job `share` carries
it out, and lets expire what passed its retention boundary since the day before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import dagster as dg

from dagster_project import dbt_runner, shares
from dagster_project.defs.resources import WRITER_POOL, retried_when_busy
from dagster_project.progress import sayer
from dagster_project.warehouse import Warehouse
from sharing import Outcome, Share, carry_out
from sharing.contract import Table, read_contract
from sharing.definitions import Consumer

GROUP = "shares"


def bring_in_step(
    at: Warehouse, share: Share, consumer: Consumer, contract: Mapping[str, Table], run_id: str
) -> Outcome | None:
    """Carry out one share on what is published; None where nothing is."""
    published = at.published_version(share.environment)
    if published is None:
        return None
    with retried_when_busy(), at.connect():
        pass
    return carry_out(
        share,
        consumer,
        places=shares.places(at),
        published=published,
        contract=contract,
        books=at.connect,
        run_id=run_id,
    )


def sentence(outcome: Outcome) -> str:
    """What became of a share, in words."""
    if outcome.status == "unchanged":
        return f"nothing new since version {outcome.version}"
    if outcome.status == "committed":
        return f"{outcome.row_count:,} rows, version {outcome.version}"
    return f"{outcome.status}, {outcome.reason_code}: {outcome.message}"


def shared(share: Share, consumer: Consumer, contract: Mapping[str, Table]) -> dg.AssetsDefinition:
    """The slice of one consumer at its destination."""
    asset_spec = dg.AssetSpec(
        [GROUP, share.name],
        deps=[dg.AssetKey(["published", share.environment])],
        group_name=GROUP,
        description=f"What {share.consumer} gets of {share.environment}, in {share.format}.",
        kinds={share.format, "file"},
        skippable=True,
    )

    @dg.multi_asset(specs=[asset_spec], name=f"share_{share.name}", pool=WRITER_POOL)
    def carry(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.MaterializeResult[None]]:
        outcome = bring_in_step(warehouse, share, consumer, contract, context.run_id)
        if outcome is None:
            return
        if outcome.is_failure:
            raise dg.Failure(f"{share.name}: {sentence(outcome)}", allow_retries=False)
        sayer(context.log)(sentence(outcome))
        if outcome.status == "committed":
            metadata = {"rows": outcome.row_count, "version": outcome.version}
            yield dg.MaterializeResult(asset_key=asset_spec.key, metadata=metadata)

    return carry


share_job = dg.define_asset_job(
    "share",
    selection=dg.AssetSelection.groups(GROUP),
    description="Bring every share to what shares.yml says: export, pause, revoke, expire.",
)


@dg.schedule(
    job=share_job,
    cron_schedule="27 * * * *",
    execution_timezone="UTC",
    description="Shares whose file or day changed; what is published is shared by its own run.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def shares_in_step() -> dg.RunRequest | dg.SkipReason:
    """Ask for a run when a share waits."""
    waiting = list(shares.waiting(replace(Warehouse.from_environment(), lock_seconds=0)))
    return dg.RunRequest() if waiting else dg.SkipReason("every share is in step")


@dg.definitions
def sharing() -> dg.Definitions:
    """One asset a share; nothing without shares.yml."""
    at = Warehouse.from_environment()
    file = shares.read(at)
    if not file.shares:
        return dg.Definitions()
    dbt_runner.prepare_manifests(at)
    contracts = {
        name: read_contract(dbt_runner.read_manifest(at, name), name)
        for name in {share.environment for share in file.shares}
    }
    return dg.Definitions(
        assets=[
            shared(share, file.consumer_of(share), contracts[share.environment])
            for share in file.shares
        ],
        jobs=[share_job],
        schedules=[shares_in_step],
    )
