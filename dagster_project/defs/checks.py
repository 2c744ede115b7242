"""What no single dbt model can see, checked in front of publish; all of it blocks.

Belongs here: which audit is shown at which asset. Does not belong here: the audits themselves
(audits.py), what one model can state of itself (dbt tests).
"""

from collections.abc import Iterable, Iterator, Mapping

import dagster as dg

from dagster_project import audits, builds, catalog, dbt_runner, parts
from dagster_project.audits import Finding
from dagster_project.defs.resources import WRITER_POOL, retried_when_busy
from dagster_project.parts import DailyMart
from dagster_project.warehouse import ENVIRONMENTS, Warehouse
from landing import TABLES

EVERY_LINE = "every_line_is_accounted_for"
ONCE = "no_id_landed_twice"
STAGED = "staged_rows_equal_raw_rows"


def wall(environment: str) -> str:
    """Name of the check that the other environment is not in this one's marts."""
    [other] = set(ENVIRONMENTS) - {environment}
    return f"{other}_never_reaches_{environment}"


def required_gates(environment: str) -> tuple[str, ...]:
    """Gates that must have passed for a build before it is published."""
    return (STAGED, wall(environment))


def spec(name: str, schema: str, table: str, description: str) -> dg.AssetCheckSpec:
    """A blocking check at one table."""
    return dg.AssetCheckSpec(
        name, asset=dg.AssetKey([schema, table]), description=description, blocking=True
    )


def results(name: str, schema: str, findings: Iterable[Finding]) -> Iterator[dg.AssetCheckResult]:
    """A check result a finding, with the numbers behind it."""
    for finding in findings:
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=dg.AssetKey([schema, finding.table]),
            passed=finding.is_passed,
            metadata=dict(finding.numbers),
        )


def selected(
    context: dg.AssetCheckExecutionContext, found: Iterable[dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckResult]:
    """Those results that the run asked for: all of them, unless somebody picked in the UI."""
    wanted = {(key.asset_key, key.name) for key in context.selected_asset_check_keys}
    for result in found:
        if result.asset_key and (result.asset_key, result.check_name) in wanted:
            yield result


def ledger_checks(tables: list[str]) -> dg.AssetChecksDefinition:
    """Of each raw record table: ledger, raw rows and rejected lines agree, no id is there twice."""
    lines = (
        "Lines read = accepted + duplicates + conflicts + rejected, for every file; rows ="
        " accepted less those displaced by a copy received earlier."
    )

    once = "No event landed since the last publication has the id of one that landed before."
    events = [table for table in tables if TABLES[table].family != "entity"]

    @dg.multi_asset_check(
        specs=[
            *(spec(EVERY_LINE, "raw", table, lines) for table in tables),
            *(spec(ONCE, "raw", table, once) for table in events),
        ],
        name="reconcile_ledger",
        can_subset=True,
        pool=WRITER_POOL,
    )
    def reconcile_ledger(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.AssetCheckResult]:
        with retried_when_busy(), warehouse.connect() as connection:
            accounted = audits.account_for_every_line(connection, tables)
            apart = audits.find_landed_twice(connection, events)
        yield from selected(context, results(EVERY_LINE, "raw", accounted))
        yield from selected(context, results(ONCE, "raw", apart))

    return reconcile_ledger


def environment_checks(
    environment: str, event_tables: list[str], marts: list[str], by_day: Mapping[str, DailyMart]
) -> dg.AssetChecksDefinition:
    """Staging holds what was accepted, and every mart holds its own environment only."""
    staged = "As many events, and the same ids, as raw accepted for this environment."
    stranger = f"Every row is of {environment}."
    specs = [
        *(spec(STAGED, f"{environment}_staging", f"stg_{name}", staged) for name in event_tables),
        *(spec(wall(environment), environment, mart, stranger) for mart in marts),
    ]

    @dg.multi_asset_check(
        specs=specs, name=f"audit_{environment}", can_subset=True, pool=WRITER_POOL
    )
    def audit(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.AssetCheckResult]:
        with retried_when_busy(), warehouse.connect(marts=[environment]) as connection:
            kept = audits.compare_staged_with_raw(connection, environment, event_tables)
            apart = audits.find_strangers(connection, environment, marts, by_day)
            outcomes = {STAGED: holds(kept), wall(environment): holds(apart)}
            builds.note_gates(connection, environment, outcomes)
        staged_findings = [Finding(f"stg_{f.table}", f.is_passed, f.numbers) for f in kept]
        yield from selected(context, results(STAGED, f"{environment}_staging", staged_findings))
        yield from selected(context, results(wall(environment), environment, apart))

    return audit


def holds(findings: Iterable[Finding]) -> bool:
    """Whether every finding passed."""
    return all(finding.is_passed for finding in findings)


@dg.definitions
def checks() -> dg.Definitions:
    """The checks of the ledger and of both environments."""
    at = Warehouse.from_environment()
    dbt_runner.prepare_manifests(at)
    manifests = {name: dbt_runner.read_manifest(at, name) for name in ENVIRONMENTS}
    return dg.Definitions(
        asset_checks=[
            ledger_checks(sorted(TABLES)),
            *(
                environment_checks(
                    name,
                    catalog.staged_event_tables(manifest),
                    catalog.marts(manifest, name),
                    {mart.name: mart for mart in parts.daily_marts(manifest, name)},
                )
                for name, manifest in manifests.items()
            ),
        ]
    )
