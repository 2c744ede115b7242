"""The project's own SQL, as dbt compiles it, run on Parquet events without landing or Dagster.

Belongs here: which models make a mart (from the manifest), in which order, as what. Does not
belong here: any SQL of a model. What is timed is the product and no second telling of it.
"""

import json
import os
import subprocess
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.events import Events
from dagster_project.dbt_runner import DBT_EXECUTABLE
from dagster_project.warehouse import DBT_PROJECT, SEEDS

ENVIRONMENT = "production"
THREADS = 2


@dataclass(frozen=True)
class Step:
    """One relation on the way to a mart: its name, its address, its kind, and what makes it.

    `kind` is source or seed for what a build finds (`origin`: name of the raw table, path of the
    file), view or table for what it makes (`origin`: the SELECT). Incremental models are tables,
    because this is a build from nothing, and so are the marts themselves, whatever publishes them.
    """

    name: str
    address: str
    kind: str
    origin: str


def compiled(marts: Collection[str], folder: Path) -> list[Step]:
    """Compile the marts and all they come from against an empty warehouse; in building order.

    Takes 10 s. Raises RuntimeError with dbt's words when the project does not compile.
    """
    home = folder / "dbt"
    (home / "marts").mkdir(parents=True, exist_ok=True)
    ran = subprocess.run(
        [
            *(str(DBT_EXECUTABLE), "compile", "--quiet", "--full-refresh"),
            *("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)),
            *("--target", ENVIRONMENT, "--target-path", str(home / "target")),
            *("--select", *(f"+{mart}" for mart in marts)),
        ],
        env={**os.environ, "ROLLCALL_HOME": str(home), "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"dbt compile failed:\n{ran.stdout}{ran.stderr}")
    manifest = json.loads((home / "target" / "manifest.json").read_bytes())
    nodes = {**manifest["nodes"], **manifest["sources"]}
    parents = {
        name: [parent for parent in manifest["parent_map"][name] if parent in nodes]
        for name in nodes
    }
    names = {node["name"]: name for name, node in nodes.items()}
    wanted, todo = set[str](), [names[mart] for mart in marts]
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += parents[name]
    order = TopologicalSorter({name: parents[name] for name in sorted(wanted)}).static_order()
    return [_step(nodes[name], marts) for name in order]


def prepare(connection: duckdb.DuckDBPyConnection, steps: Collection[Step], raw: Events) -> None:
    """Put in place what a build finds: databases, schemas, seeds, raw tables as views of files."""
    connection.execute(f"set threads = {THREADS}; set TimeZone = 'UTC'")
    connection.execute("set enable_progress_bar = false")
    for step in steps:
        database, schema, _ = (part.strip('"') for part in step.address.split("."))
        connection.execute(f"attach if not exists ':memory:' as {database}")
        connection.execute(f"create schema if not exists {database}.{schema}")
        if step.kind == "source":
            files = raw.files(step.origin)
            connection.execute(f"create view {step.address} as from read_parquet('{files}')")
        elif step.kind == "seed":
            connection.execute(f"create table {step.address} as from read_csv('{step.origin}')")

    # what the project's on-run-start hook leaves before a first build
    connection.execute(
        f"""
        use warehouse;
        create schema {ENVIRONMENT}_state;
        create table {ENVIRONMENT}_state.build as
        select 0::bigint as built_batch, 0::bigint as checked_batch, 1::bigint as batch;
        """
    )


def build(connection: duckdb.DuckDBPyConnection, steps: Iterable[Step]) -> None:
    """Make every model, in order."""
    for step in steps:
        if step.kind in ("view", "table"):
            connection.execute(f"create {step.kind} {step.address} as {step.origin}")


def _step(node: Mapping[str, Any], marts: Collection[str]) -> Step:
    name, address = node["name"], node["relation_name"]
    if node["resource_type"] == "source":
        return Step(name, address, "source", node["identifier"])
    if node["resource_type"] == "seed":
        return Step(name, address, "seed", str(SEEDS / Path(node["path"]).name))
    is_view = node["config"]["materialized"] == "view" and name not in marts
    return Step(name, address, "view" if is_view else "table", node["compiled_code"])
