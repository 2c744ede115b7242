"""shares/<name>: what was published leaves, to one consumer each, as shares.yml says.

Belongs here: one asset a share, their jobs and times. Does not belong here: what a share may
hold and how it leaves (sharing/), whether one waits (dagster_project/shares.py).

The status of a consumer in the file is what pauses, resumes and revokes; the job `share` carries
it out, and lets expire what passed its retention boundary since the day before. What the file
can't say is asked for by two jobs of their own: `replay_dead_letters` and `backfill_share`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date

import dagster as dg
from pydantic import Field

from dagster_project import dbt_runner, shares
from dagster_project.defs.resources import WRITER_POOL, retried_when_busy
from dagster_project.progress import sayer
from dagster_project.warehouse import ConfigurationError, Warehouse
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


class Replay(dg.Config):
    """Which dead letters go again."""

    share: str = Field(description="Its name in shares.yml.")
    reasons: list[str] = Field(
        default=[], description="Reasons such as too_long, see raw.share_deliveries; [] for all."
    )


class Backfill(dg.Config):
    """Which days go again."""

    share: str = Field(description="Its name in shares.yml.")
    first_day: str = Field(description="The first UTC day, such as 2025-01-01.")
    last_day: str = Field(description="The last UTC day.")


def carry_again(
    context: dg.OpExecutionContext, at: Warehouse, name: str, ask: Callable[[Share], int]
) -> None:
    """Ask for something to go again, and bring the share in step. Raises dg.Failure."""
    say = sayer(context.log)
    try:
        file = shares.read(at)
        share = shares.named(file, name)
        with retried_when_busy():
            say(f"{name}: {ask(share):,} events go again")
    except ConfigurationError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    contract = read_contract(dbt_runner.read_manifest(at, share.environment), share.environment)
    outcome = bring_in_step(at, share, file.consumer_of(share), contract, context.run_id)
    if outcome is None:
        return
    if outcome.is_failure:
        raise dg.Failure(f"{name}: {sentence(outcome)}", allow_retries=False)
    say(sentence(outcome))


@dg.op(pool=WRITER_POOL)
def replay_letters(
    context: dg.OpExecutionContext, config: Replay, warehouse: dg.ResourceParam[Warehouse]
) -> None:
    """Let dead letters go again, and share."""
    carry_again(
        context,
        warehouse,
        config.share,
        lambda share: shares.replay(warehouse, share, config.reasons),
    )


@dg.op(pool=WRITER_POOL)
def backfill_days(
    context: dg.OpExecutionContext, config: Backfill, warehouse: dg.ResourceParam[Warehouse]
) -> None:
    """Let days go again, and share."""
    try:
        first, last = date.fromisoformat(config.first_day), date.fromisoformat(config.last_day)
    except ValueError:
        raise dg.Failure(
            "first_day and last_day have to be days such as 2025-01-01", allow_retries=False
        ) from None
    carry_again(
        context,
        warehouse,
        config.share,
        lambda share: shares.backfill(warehouse, share, first, last),
    )


@dg.job(description="Dead letters of a pushed share go again, as its file says now.")
def replay_dead_letters() -> None:
    """Config: see Replay."""
    replay_letters()


@dg.job(description="Days of a share go again: pushed ones marked, files and streams if missing.")
def backfill_share() -> None:
    """Config: see Backfill."""
    backfill_days()


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
        jobs=[share_job, replay_dead_letters, backfill_share],
        schedules=[shares_in_step],
    )
