"""raw/<table>: extract files become rows. One step, because landing walks the folder once.

Belongs here: the assets and what the run says of each file. Does not belong here: how a file is
read (landing/), what is computed from it (models.py).
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from logging import INFO, WARNING

import dagster as dg

from dagster_project import (
    builds,
    catalog,
    dbt_runner,
    erasures,
    purges,
    reporting,
    worklist,
)
from dagster_project.defs.resources import WRITER_POOL, forget_run, retried_when_busy
from dagster_project.progress import sayer
from dagster_project.warehouse import ENVIRONMENTS, Warehouse
from landing import TABLES, land
from landing.schema import BOOKKEEPING, KEYS, RECEIPTS


def raw_specs(descriptions: Mapping[str, str]) -> list[dg.AssetSpec]:
    """One spec a raw table: records of files, the books that landing keeps, and what it creates."""
    return [
        dg.AssetSpec(
            ["raw", table],
            group_name="raw",
            description=descriptions.get(table),
            skippable=True,
            kinds={"duckdb", "file" if table in TABLES else "table"},
        )
        for table in sorted({*TABLES, *BOOKKEEPING, *RECEIPTS, *KEYS})
    ]


def take_out(context: dg.AssetExecutionContext, at: Warehouse) -> None:
    """Whose erasure was requested, and what passed its retention, before anything is built."""
    now = datetime.now(UTC)

    def forget(run_id: str) -> None:
        forget_run(context.instance, at, run_id)

    with retried_when_busy():
        if purged := purges.carry_out(at, now):
            sayer(context.log)(purged.sentence())
        if erased := erasures.carry_out(at, context.run_id, now, forget):
            sayer(context.log, WARNING if erased.left else INFO)(erased.sentence())


@dg.definitions
def extracts() -> dg.Definitions:
    """The raw tables, described by the sources of the dbt project."""
    at = Warehouse.from_environment()
    dbt_runner.prepare_manifests(at)
    specs = raw_specs(catalog.sources(dbt_runner.read_manifest(at, ENVIRONMENTS[0])))

    @dg.multi_asset(specs=specs, name="land_extracts", pool=WRITER_POOL)
    def land_extracts(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Land what is new in the landing folder, a transaction a file."""
        progress = reporting.GroupedFiles(sayer(context.log), sayer(context.log, WARNING))
        with retried_when_busy(), warehouse.connect() as connection:
            report = land(
                connection,
                warehouse.landing,
                run_id=context.run_id,
                clock=datetime.now(UTC),
                on_file=progress.add,
            )
            is_idle = not report.files and worklist.all_built(
                warehouse, builds.read_inputs(connection)
            )
        progress.finish()
        take_out(context, warehouse)
        if is_idle:
            sayer(context.log)("nothing new since the last publish")
            return
        for spec in specs:
            files = [file for file in report.files if file.table_name == spec.key.path[-1]]
            yield dg.MaterializeResult(
                asset_key=spec.key, metadata=reporting.landing_numbers(files) if files else None
            )

    return dg.Definitions(assets=[land_extracts])
