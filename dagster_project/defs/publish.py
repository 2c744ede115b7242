"""published/<environment>: the switch. What passed every gate becomes the version readers open.

Belongs here: the asset and the order of its steps. Does not belong here: whether to publish
(builds.py), how files are copied and switched (snapshots.py), which parts of a mart are written
anew (parts.py), what a version says of itself (contents.py).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb

from dagster_project import (
    builds,
    catalog,
    contents,
    dbt_runner,
    erasures,
    explanations,
    reporting,
    rewriting,
    snapshots,
)
from dagster_project.defs.checks import required_gates
from dagster_project.defs.resources import WRITER_POOL, retried_when_busy
from dagster_project.explanations import Explanation
from dagster_project.parts import DailyMart, Part, Writer, daily_marts, read_changed_days
from dagster_project.progress import sayer
from dagster_project.warehouse import (
    ENVIRONMENTS,
    NO_DOWNLOADS,
    Warehouse,
    open_locked_down,
    quoted,
)

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


def tidy_marts(at: Warehouse, environment: str, marts: Collection[str]) -> None:
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


@dataclass(frozen=True)
class Report:
    """What a publish did: the new file, rows a mart, its parts, and which of them are new."""

    path: Path
    rows: Mapping[str, int]
    parts: Sequence[Part] = ()

    @property
    def written(self) -> list[Part]:
        """The parts that were written for this very version."""
        version = snapshots.parse_version(self.path.name)
        ending = f"_v{version.number:06d}.parquet" if version else ""
        return [part for part in self.parts if part.path.name.endswith(ending)]


def publish_version(  # noqa: PLR0913
    at: Warehouse,
    environment: str,
    inputs: builds.Inputs,
    marts: Collection[str],
    *,
    daily: Sequence[DailyMart] = (),
    explained: Sequence[Explanation] = (),
    now: datetime | None = None,
) -> Report:
    """Copy the small marts, write the parts that changed, look into the result, switch, tidy.

    `daily` are those of the marts that are published in parts, `explained` those whose figures
    get a view of the rows behind them.
    """
    with at.writing(f"publishing {environment}"):
        tidy_marts(at, environment, marts)
        folder = at.published_folder(environment)
        version = snapshots.next_version(snapshots.versions(folder), inputs.batch, inputs.digest)
        candidate = snapshots.write_candidate(at.marts_file(environment), folder, version)
        now = now or datetime.now(UTC)
        parts = complete(
            at, environment, inputs, daily=daily, candidate=candidate, version=version, now=now
        )
        explain(candidate, environment, explained)
        snapshots.flush(candidate)
        rows = count_rows(candidate, environment, marts)
        path = snapshots.switch(candidate, folder, version)
        clean_up(folder, version)
    return Report(path, rows, parts)


def complete(  # noqa: PLR0913
    at: Warehouse,
    environment: str,
    inputs: builds.Inputs,
    *,
    daily: Sequence[DailyMart],
    candidate: Path,
    version: snapshots.Version,
    now: datetime,
) -> list[Part]:
    """Write the parts of a version, and into the copy of the marts what it says of itself."""
    folder = at.published_folder(environment)
    before = contents.read_current(folder)
    definitions = contents.definitions_of(daily, inputs.generation)
    anew = contents.must_renew_everything(before, inputs, definitions)
    parts: list[Part] = []
    with at.connect(marts=[environment]) as connection:
        connection.execute(f"attach '{quoted(candidate)}' as candidate")
        book = contents.Candidate(connection, environment)
        book.describe(version, inputs, definitions, now)
        schema = f"{environment}_marts.{environment}"
        writer = Writer(connection, schema, folder, version.number)
        for mart in daily:
            if before is None or anew:
                renewed = writer.renew(mart, [], None)
            else:
                changed = read_changed_days(connection, environment, mart, before.version.batch)
                renewed = writer.renew(mart, before.parts_of(mart.name, folder), changed)
            book.show(mart.name, renewed)
            parts += renewed
        book.list_parts(parts)
        if before and not anew:
            last = folder / before.version.file_name
            book.note_batches(inputs, last, before.version.batch)
        else:
            book.note_batches(inputs, None, 0)
        connection.execute("checkpoint candidate")
        connection.execute("detach candidate")
    return parts


def explain(candidate: Path, environment: str, explained: Sequence[Explanation]) -> None:
    """Write schema `explained` into a version; its views are read as readers will read them."""
    with duckdb.connect(str(candidate), config=dict(NO_DOWNLOADS)) as connection:
        explanations.write(connection, environment, explained)


def clean_up(folder: Path, current: snapshots.Version) -> None:
    """Delete versions that need not be kept, then the parts that no kept version lists.

    A version that can't be read may list anything: then all parts stay.
    """
    moments, said, is_certain = contents.read_all(folder)
    old = snapshots.superfluous(moments, current)
    snapshots.delete(folder, old)
    if is_certain:
        kept = [book for version, book in said.items() if version not in old]
        snapshots.delete_parts_but(folder, (part.path for book in kept for part in book.parts))


def count_rows(path: Path, environment: str, marts: Collection[str]) -> dict[str, int]:
    """Rows of each mart in a database file; raises Failure when it lacks one."""
    with open_locked_down(path) as connection:
        rows = reporting.count_rows(connection, environment)
    if missing := sorted(set(marts) - set(rows)):
        raise dg.Failure(f"{environment}: the copy lacks {', '.join(missing)}")
    return rows


def describe(report: Report) -> dict[str, dg.MetadataValue]:
    """Metadata of a published version."""
    records = [dg.TableRecord({"mart": mart, "rows": rows}) for mart, rows in report.rows.items()]
    schema = dg.TableSchema([dg.TableColumn("mart"), dg.TableColumn("rows", "int")])
    parts, written = report.parts, report.written
    return {
        "path": dg.MetadataValue.path(str(report.path)),
        "version": dg.MetadataValue.text(report.path.stem),
        "bytes": dg.MetadataValue.int(report.path.stat().st_size),
        "parts": dg.MetadataValue.int(len(parts)),
        "parts_written": dg.MetadataValue.int(len(written)),
        "part_bytes": dg.MetadataValue.int(sum(part.byte_count for part in parts)),
        "part_bytes_written": dg.MetadataValue.int(sum(part.byte_count for part in written)),
        "marts": dg.MetadataValue.table(records, schema=schema),
    }


def published(
    environment: str,
    marts: list[str],
    daily: Sequence[DailyMart],
    explained: Sequence[Explanation],
) -> dg.AssetsDefinition:
    """The published version of one environment, downstream of all its marts and their checks."""
    asset_spec = dg.AssetSpec(
        ["published", environment],
        deps=[dg.AssetKey([environment, mart]) for mart in marts],
        group_name="published",
        description=(
            f"The {environment} marts that readers open, read-only, behind"
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
        if kept := still_right(warehouse, environment, inputs):
            erasures.note_published(warehouse, datetime.now(UTC))
            sayer(context.log)(f"{kept} has the same inputs: kept")
            return
        if reason:
            raise dg.Failure(f"{environment} is not published: {reason}", allow_retries=False)
        report = publish_version(
            warehouse, environment, inputs, marts, daily=daily, explained=explained
        )
        with warehouse.connect() as connection:
            builds.note_all_is_well(connection, environment)
        rewriting.delete_versions_before(warehouse, environment)
        erasures.note_published(warehouse, datetime.now(UTC))
        context.instance.add_run_tags(context.run_id, {PUBLISHED_TAG: report.path.stem})
        yield dg.MaterializeResult(asset_key=asset_spec.key, metadata=describe(report))

    return publish


def still_right(at: Warehouse, environment: str, inputs: builds.Inputs) -> str | None:
    """The file name of the newest version when it is of these inputs and lacks no part."""
    folder = at.published_folder(environment)
    current = snapshots.current_version(folder)
    if current is None or current.digest != inputs.digest or contents.lacks_parts(folder):
        return None
    return current.file_name


@dg.definitions
def publishing() -> dg.Definitions:
    """One asset an environment."""
    at = Warehouse.from_environment()
    dbt_runner.prepare_manifests(at)
    manifests = {name: dbt_runner.read_manifest(at, name) for name in ENVIRONMENTS}
    return dg.Definitions(
        assets=[
            published(
                name,
                catalog.marts(manifest, name),
                daily_marts(manifest, name),
                explanations.explanations(manifest, name),
            )
            for name, manifest in manifests.items()
        ]
    )
