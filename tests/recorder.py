"""Writes down every statement that dbt executes for a build. Runs in a process of its own.

    python -m tests.recorder record <dbt project> <target> <file>
    python -m tests.recorder drive <dbt project> <home> <script> <file>

`record` makes an empty warehouse in a temporary folder, lets dbt build it for the first time, once
more, with `--full-refresh`, in part, and with a model that fails, and writes as JSON what each
build executed (class Recording of histories.py reads it). `drive` carries out a list of landings
and builds in a warehouse that stays, and writes what each build executed. Statements that only look
(SELECT, PRAGMA) are left out.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from landing import create_raw_schema, land

BUILD = ["build", "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"]
KINDS: dict[str, list[str]] = {
    "first": BUILD,
    "incremental": BUILD,
    "refresh": [*BUILD, "--full-refresh"],
}
LOOKS = {
    duckdb.StatementType.SELECT,
    duckdb.StatementType.EXPLAIN,
    duckdb.StatementType.PRAGMA,
}
TEMPORARY = re.compile(r"(__dbt_tmp)\d+")
"""Names of temporary tables, which hold the time of the build."""
COMMENT = re.compile(r"\s*/\*\s*(?:node: (\S+))?\s*\*/\s*;?\s*$")
"""The query-comment of dbt_project.yml."""
BOOKKEEPING = re.compile(r"\borchestration\b|^call ", re.IGNORECASE)
"""What tells of a build and decides no row: the run report."""


MANIFESTS: dict[str, Any] = {}
"""What dbt parsed, by target: parsing takes longer than building."""


class Executed(NamedTuple):
    """One statement as dbt gave it to DuckDB."""

    connection: int
    node: str | None
    """The dbt node it belongs to, "" outside of nodes; None where dbt says nothing (BEGIN)."""
    sql: str
    bindings: list[Any] | None


class Planned(Exception):
    """A model fails because the recorder wants it to."""


@contextmanager
def listening(fail_at: str | None = None) -> Iterator[list[Executed]]:
    """Within, what dbt's adapter executes is appended to the list; a node may be made to fail."""
    from dbt.adapters.duckdb.environments.local import DuckDBCursorWrapper  # noqa: PLC0415

    executed: list[Executed] = []
    # held, or the id of a closed one goes to the next, which then seems to go on its transaction
    cursors: dict[int, Any] = {}
    original = DuckDBCursorWrapper.execute

    def execute(self: Any, sql: str, bindings: Any = None) -> Any:
        comment = COMMENT.search(sql)
        node = (comment[1] or "") if comment else None
        bare = TEMPORARY.sub(r"\1", COMMENT.sub("", sql).strip())
        if fail_at is not None and node == fail_at:
            raise duckdb.Error(f"{fail_at} was made to fail")
        found = None if bindings is None else list(bindings)
        cursors[id(self._cursor)] = self._cursor
        executed.append(Executed(id(self._cursor), node, bare, found))
        return original(self, sql, bindings)

    DuckDBCursorWrapper.execute = execute
    try:
        yield executed
    finally:
        DuckDBCursorWrapper.execute = original


def settled(executed: list[Executed]) -> list[tuple[str, str, list[Any] | None]]:
    """What changed something, as (node, SQL, bindings); a BEGIN only where its COMMIT came."""
    kept: dict[int, Executed] = {}
    begun: dict[int, int] = {}
    within: dict[int, list[int]] = {}
    node_of: dict[int, str] = {}
    current: dict[int, str] = {}
    for position, one in enumerate(executed):
        if one.node is not None:
            current[one.connection] = one.node
        word = one.sql.rstrip(";").upper()
        if word == "BEGIN":
            # one that came before on this connection was rolled back, or closed, with what it held
            begun[one.connection], within[one.connection] = position, []
        elif word in ("COMMIT", "ROLLBACK"):
            start = begun.pop(one.connection, None)
            held = within.pop(one.connection, [])
            if start is not None and word == "COMMIT" and held:
                node = node_of[held[0]]
                kept[start] = executed[start]._replace(node=node)
                kept.update({number: executed[number] for number in held})
                kept[position] = one._replace(node=node)
        elif changes_something(one.sql):
            node_of[position] = current.get(one.connection, "")
            if one.connection in begun:
                within[one.connection].append(position)
            else:
                kept[position] = one
    return [
        (node_of.get(position, one.node or ""), one.sql, one.bindings)
        for position, one in sorted(kept.items())
    ]


def changes_something(sql: str) -> bool:
    """Whether a statement (or one of several) does more than look or keep the run report."""
    if not sql or BOOKKEEPING.search(sql):
        return False
    return any(part.type not in LOOKS for part in duckdb.extract_statements(sql))


def run_dbt(
    project: Path, home: Path, target: str, arguments: list[str], fail_at: str | None = None
) -> list[tuple[str, str, list[Any] | None]]:
    """Run dbt in this process; what it executed. Raises RuntimeError if it failed by itself."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # noqa: PLC0415
    from dbt.cli.main import dbtRunner  # noqa: PLC0415

    os.environ.update(ROLLCALL_HOME=str(home), ROLLCALL_ENGINE="duckdb", DO_NOT_TRACK="1")
    places = home / "dbt" / target
    folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
    folders += ["--target-path", str(places), "--log-path", str(places)]
    # a tenth of the time of a build
    folders += ["--log-level-file", "none"]
    quiet = ["--quiet"] if fail_at is None else ["--log-level", "none"]
    folders += ["--target", target]
    if target not in MANIFESTS:
        parsed = dbtRunner().invoke(["parse", *folders, "--quiet"])
        if not parsed.success:
            raise RuntimeError(f"dbt parse: {parsed.exception or 'see above'}")
        MANIFESTS[target] = parsed.result
    with listening(fail_at) as executed:
        result = dbtRunner(manifest=MANIFESTS[target]).invoke(
            [*arguments, *folders, "--threads", "1", *quiet]
        )
    # dbt leaves the file open, with settings of its own that landing does not share
    DuckDBConnectionManager.close_all_connections()
    if result.success != (fail_at is None):
        raise RuntimeError(f"dbt {' '.join(arguments)}: {result.exception or 'see above'}")
    return settled(executed)


def prepare(home: Path) -> None:
    """An empty warehouse with the folders that dbt expects."""
    for folder in ("marts", "spill", "dbt/production", "dbt/sandbox"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(home / "warehouse.duckdb")) as connection:
        create_raw_schema(connection)


def record(project: Path, target: str) -> dict[str, Any]:
    """Everything about the builds of one environment that a replay needs."""
    with tempfile.TemporaryDirectory(prefix="rollcall-recorder-") as folder:
        home = Path(folder)
        prepare(home)
        builds = {
            kind: run_dbt(project, home, target, arguments) for kind, arguments in KINDS.items()
        }
        manifest = json.loads((home / "dbt" / target / "manifest.json").read_bytes())
        nodes = described(manifest)
        order = list(dict.fromkeys(node for node, *_ in builds["first"] if node in nodes))
        first, last = order[0], order[-1]
        some = [*BUILD, "--select", nodes[first]["name"], nodes[last]["name"]]
        builds["selected"] = run_dbt(project, home, target, some)
        builds["failed"] = run_dbt(project, home, target, some, fail_at=last)
    return {"builds": builds, "nodes": nodes, "order": order}


def described(manifest: dict[str, Any]) -> dict[str, Any]:
    """Of each model and seed, what comparing and replaying it needs."""
    return {
        name: {
            "name": node["name"],
            "relation": node["relation_name"],
            "materialized": node["config"]["materialized"],
            "is_mart": node["resource_type"] == "model" and "marts" in node["fqn"],
            "by_day": (node["config"].get("meta") or {}).get("published_by_day"),
            "parents": list(node["depends_on"].get("nodes", ())),
        }
        for name, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed")
    }


def drive(project: Path, home: Path, script: list[list[Any]]) -> list[Any]:
    """Carry out ["land", path, text, clock] and ["build", target, kind, model to fail or null]."""
    prepare(home)
    executed = []
    for number, (verb, *arguments) in enumerate(script):
        if verb == "land":
            path, text, clock = arguments
            file = home / "landing" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            with duckdb.connect(str(home / "warehouse.duckdb")) as connection:
                connection.execute("set TimeZone = 'UTC'")
                at = datetime.fromisoformat(clock)
                land(connection, home / "landing", run_id=f"run_{number}", clock=at)
        else:
            target, kind, fail_at = arguments
            executed.append(run_dbt(project, home, target, KINDS[kind], fail_at))
    return executed


def main(verb: str, project: str, *arguments: str) -> None:
    if verb == "record":
        target, file = arguments
        found: Any = record(Path(project).resolve(), target)
    else:
        home, script, file = arguments
        found = drive(Path(project).resolve(), Path(home), json.loads(Path(script).read_text()))
    Path(file).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
