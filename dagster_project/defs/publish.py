"""published/<environment>: the switch. What passed every gate becomes the version readers open.

Belongs here: the asset and the order of its steps. Does not belong here: whether to publish
(builds.py), how files are copied and switched (snapshots.py).
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg

from dagster_project import builds, catalog, dbt_runner, reporting, snapshots
from dagster_project.defs.checks import required_gates
from dagster_project.defs.resources import WRITER_POOL, retried_when_busy
from dagster_project.progress import sayer
from dagster_project.warehouse import ENVIRONMENTS, Warehouse, open_locked_down

# On every run that published something: what such a run tells of assets is kept longest.
PUBLISHED_TAG = "rollcall/published"

# Extracts come daily or oftener: a day without a new version deserves a look, two an alarm.
FRESHNESS = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(hours=26), fail_window=timedelta(hours=50)
)


def read_permission(at: Warehouse, environment: str) -> tuple[builds.Inputs, str | None]:
    """The inputs as they are, and why their build must not be published (None: it may)."""
    with at.connect() as connection:
        inputs = builds.read_inputs(connection)
        reason = builds.reason_not_to_publish(
            builds.read_build(connection, environment),
            inputs,
            builds.read_gates(connection, environment),
            required_gates(environment),
        )
    return inputs, reason


def tidy_marts(at: Warehouse, environment: str, marts: list[str]) -> None:
    """Drop what is no mart (left by a killed build or a removed model) and fold the log in."""
    with at.connect_marts(environment) as connection:
        tables = connection.execute(
            "select table_schema, table_name, table_type from information_schema.tables"
            " where table_catalog = current_database()"
        ).fetchall()
        for schema, table, kind in tables:
            if schema != environment or table not in marts:
                noun = "view" if kind == "VIEW" else "table"
                connection.execute(f'drop {noun} "{schema}"."{table}"')
        connection.execute("checkpoint")


def publish_version(
    at: Warehouse, environment: str, inputs: builds.Inputs, marts: list[str]
) -> tuple[Path, dict[str, int]]:
    """Copy the marts, look into the copy, switch. Returns the new file and rows a mart."""
    tidy_marts(at, environment, marts)
    folder = at.published_folder(environment)
    version = snapshots.next_version(snapshots.versions(folder), inputs.batch, inputs.digest)
    candidate = snapshots.write_candidate(at.marts_file(environment), folder, version)
    rows = count_rows(candidate, environment, marts)
    return snapshots.switch(candidate, folder, version), rows


def count_rows(path: Path, environment: str, marts: list[str]) -> dict[str, int]:
    """Rows of each mart in a database file; raises Failure when it lacks one."""
    with open_locked_down(path) as connection:
        rows = reporting.count_rows(connection, environment)
    if missing := sorted(set(marts) - set(rows)):
        raise dg.Failure(f"{environment}: the copy lacks {', '.join(missing)}")
    return rows


def describe(path: Path, rows: dict[str, int]) -> dict[str, dg.MetadataValue]:
    """Metadata of a published version."""
    records = [dg.TableRecord({"mart": mart, "rows": count}) for mart, count in rows.items()]
    schema = dg.TableSchema([dg.TableColumn("mart"), dg.TableColumn("rows", "int")])
    return {
        "path": dg.MetadataValue.path(str(path)),
        "version": dg.MetadataValue.text(path.stem),
        "bytes": dg.MetadataValue.int(path.stat().st_size),
        "marts": dg.MetadataValue.table(records, schema=schema),
    }


def published(environment: str, marts: list[str]) -> dg.AssetsDefinition:
    """The published version of one environment, downstream of all its marts and their checks."""
    asset_spec = dg.AssetSpec(
        ["published", environment],
        deps=[dg.AssetKey([environment, mart]) for mart in marts],
        group_name="published",
        description=(
            f"The {environment} marts that readers open: a read-only copy behind"
            f" `published/{environment}/latest.duckdb`, switched in one step after every check."
        ),
        kinds={"duckdb", "file"},
        freshness_policy=FRESHNESS,
        skippable=True,
    )

    @dg.multi_asset(specs=[asset_spec], name=f"publish_{environment}", pool=WRITER_POOL)
    def publish(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.MaterializeResult[None]]:
        with retried_when_busy():
            inputs, reason = read_permission(warehouse, environment)
        current = snapshots.current_version(warehouse.published_folder(environment))
        if current and current.digest == inputs.digest:
            sayer(context.log)(f"{current.file_name} has the same inputs: kept")
            return
        if reason:
            raise dg.Failure(f"{environment} is not published: {reason}", allow_retries=False)
        path, rows = publish_version(warehouse, environment, inputs, marts)
        context.instance.add_run_tags(context.run_id, {PUBLISHED_TAG: path.stem})
        yield dg.MaterializeResult(asset_key=asset_spec.key, metadata=describe(path, rows))

    return publish


@dg.definitions
def publishing() -> dg.Definitions:
    """One asset an environment."""
    at = Warehouse.from_environment()
    dbt_runner.prepare_manifests(at)
    return dg.Definitions(
        assets=[
            published(name, catalog.marts(dbt_runner.read_manifest(at, name), name))
            for name in ENVIRONMENTS
        ]
    )
