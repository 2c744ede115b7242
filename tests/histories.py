"""Landing histories as data, and warehouses that live through them in memory.

A history is a list of steps: files land, environments are built, completely or in part.
`live_through` carries it out in one warehouse, and `differences` compares each mart, to the row,
with a warehouse into which the same files landed in one go and which was built once.

A build here replays the statements that dbt itself executes (recorder.py writes them down, from the
dbt project as it is now, when the tests begin): 0.2 s where a dbt process takes 5. The models are
plain SQL without literals of a build, so that what was recorded over an empty warehouse holds over
any; test_any_history.py compares with dbt itself.
"""

from __future__ import annotations

import functools
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.seals import seal_and_correct
from landing import create_raw_schema, land
from landing.schema import KEPT, RECEIPTS, put_pseudonym_key

ROOT = Path(__file__).resolve().parent.parent
DBT_PROJECT = ROOT / "dbt_project"
ENVIRONMENTS = ("production", "sandbox")
CLOCK = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
"""When everything lands. One clock: times more than 24 hours after it are rejected."""

Record = dict[str, Any]
Statement = tuple[str, str, list[Any] | None]
"""(dbt node or "", SQL, bindings)."""


# ---- steps


@dataclass(frozen=True)
class Land:
    """One file lands: its path below the landing folder, and its records as JSON lines."""

    path: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Build:
    """Environments are built one after the other.

    kind: "incremental" or "refresh" (dbt's --full-refresh). until says how far a build comes:
    ("all", 0); ("failed", n): the n-th model fails, those that need it are skipped, the others are
    built; ("killed", n): the process ends after n statements; ("selected", n): somebody builds a
    choice of models by hand, drawn with seed n. Only a complete build lets the state move on.
    publishes: whether a complete build is also published.
    """

    environments: tuple[str, ...] = ENVIRONMENTS
    kind: str = "incremental"
    until: tuple[str, int] = ("all", 0)
    publishes: bool = True


@dataclass(frozen=True)
class Seal:
    """The job that seals closed months of production runs, where all that landed is published."""


Step = Land | Build | Seal
History = Sequence[Step]


# ---- what dbt executes


@dataclass(frozen=True)
class Node:
    """A model or seed, and what dbt executes for it in each kind of build."""

    id: str
    name: str
    relation: str
    materialized: str
    is_mart: bool
    by_day: dict[str, str] | None
    """How publishing keeps an event-grain mart: see Replay.publish."""
    parents: tuple[str, ...]
    statements: dict[str, list[Statement]]


@dataclass(frozen=True)
class Recording:
    """One environment: its nodes in the order of a build, and what comes before and after them."""

    environment: str
    nodes: list[Node]
    before: dict[str, list[Statement]]
    """By kind of build: a full refresh begins at nothing."""
    after: dict[str, list[Statement]]
    """By kind of build: "complete", "failed" or "selected"."""

    @cached_property
    def marts(self) -> list[Node]:
        """Every mart of the manifest."""
        return [node for node in self.nodes if node.is_mart]

    def downstream(self, node: Node) -> set[str]:
        """Ids of the node and all that need it."""
        found = {node.id}
        for other in self.nodes:
            if not found.isdisjoint(other.parents):
                found.add(other.id)
        return found


def of_marts(recordings: Mapping[str, Recording], *names: str) -> dict[str, Recording]:
    """Builds of some marts and of what they are made of: a fraction of the time of all."""
    return {name: _of_marts(recording, names) for name, recording in recordings.items()}


def _of_marts(recording: Recording, names: Sequence[str]) -> Recording:
    waiting = [node for node in recording.nodes if node.name in names]
    assert len(waiting) == len(names), f"not all of {names} are models"
    needed: dict[str, Node] = {}
    while waiting:
        one = waiting.pop()
        needed[one.id] = one
        # also what its last state is read from, which dbt knows nothing of: macro `standing`
        text = "".join(sql for found in one.statements.values() for _, sql, _ in found)
        waiting += [
            node
            for node in recording.nodes
            if node.id not in needed and (node.id in one.parents or node.relation in text)
        ]
    return replace(recording, nodes=[node for node in recording.nodes if node.id in needed])


def record(
    project: Path = DBT_PROJECT, environments: Sequence[str] = ENVIRONMENTS
) -> dict[str, Recording]:
    """Let dbt build the environments from nothing, each in a process; about 25 s of two cores."""
    with tempfile.TemporaryDirectory(prefix="rollcall-recording-") as folder:
        files = {name: Path(folder) / f"{name}.json" for name in environments}
        command = [sys.executable, "-m", "tests.recorder", "record", str(project)]
        running = {
            name: subprocess.Popen(
                [*command, name, str(file)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for name, file in files.items()
        }
        outputs = {name: process.communicate()[0] for name, process in running.items()}
        for name, process in running.items():
            if process.returncode:
                raise RuntimeError(f"dbt can't build {name}:\n{outputs[name][-4000:]}")
        return {
            name: _recording(name, json.loads(file.read_text())) for name, file in files.items()
        }


def _recording(environment: str, found: dict[str, Any]) -> Recording:
    described, order = found["nodes"], found["order"]
    split = {kind: split_by_node(builds, described) for kind, builds in found["builds"].items()}
    nodes = [
        Node(
            id=name,
            **{key: value for key, value in described[name].items() if key != "parents"},
            parents=tuple(described[name]["parents"]),
            statements={
                kind: split[kind][1].get(name, []) for kind in ("first", "incremental", "refresh")
            },
        )
        for name in order
    ]
    return Recording(
        environment=environment,
        nodes=nodes,
        before={kind: split[kind][0] for kind in ("incremental", "refresh")},
        after={
            "complete": split["first"][2],
            "failed": split["failed"][2],
            "selected": split["selected"][2],
        },
    )


def split_by_node(
    statements: Iterable[Sequence[Any]], nodes: Iterable[str]
) -> tuple[list[Statement], dict[str, list[Statement]], list[Statement]]:
    """What a build executed before its models, for each of them, and after them."""
    known = set(nodes)
    before: list[Statement] = []
    after: list[Statement] = []
    by_node: dict[str, list[Statement]] = {}
    for node, sql, bindings in statements:
        statement = (node, sql, bindings)
        if node in known:
            by_node.setdefault(node, []).append(statement)
        else:
            (after if by_node else before).append(statement)
    return before, by_node, after


# ---- a warehouse in memory


@dataclass
class Replay:
    """A warehouse of its own in memory, with its landing folder, built by replay."""

    recordings: dict[str, Recording]
    folder: Path
    connection: duckdb.DuckDBPyConnection = field(init=False)
    built: dict[str, set[str]] = field(init=False)
    is_complete: dict[str, bool] = field(init=False)
    published: dict[str, int | None] = field(init=False)
    is_current: dict[str, bool] = field(init=False)
    """Whether nothing happened since the last complete build that was published."""
    run: int = 0

    def __post_init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute("attach ':memory:' as warehouse; attach ':memory:' as published")
        for name in self.recordings:
            self.connection.execute(f"attach ':memory:' as {name}_marts")
            self.connection.execute(f"create schema published.{name}")
        self.connection.execute("use warehouse; set TimeZone = 'UTC'")
        create_raw_schema(self.connection)
        # pseudonyms are made with the warehouse's own key: here, of all of them the same
        put_pseudonym_key(self.connection, b"key")
        self.built = {name: set() for name in self.recordings}
        self.is_complete = dict.fromkeys(self.recordings, False)
        self.published = dict.fromkeys(self.recordings, None)
        self.is_current = dict.fromkeys(self.recordings, False)

    def close(self) -> None:
        self.connection.close()

    def land(self, *files: Land) -> None:
        """Put the files into the landing folder and land what is new there."""
        for file in files:
            write(self.folder, file)
        self.is_current = dict.fromkeys(self.recordings, False)
        self.run += 1
        land(self.connection, self.folder, run_id=f"run_{self.run}", clock=CLOCK)

    def build(self, step: Build) -> None:
        """Build as the step says, and publish what is complete."""
        for environment in step.environments:
            recording = self.recordings.get(environment)
            if recording is None:
                continue
            how, number = step.until
            if not self.is_complete[environment]:
                how = "all"  # a first build that fails half-way: by dbt itself, test_any_history.py
            chosen = chosen_nodes(recording, how, number)
            statements = list(self._statements(recording, chosen, step.kind))
            if how == "killed":
                statements = statements[: number % (len(statements) + 1)]
            else:
                kind = {"all": "complete"}.get(how, how)
                statements += recording.after[kind]
            self._execute(statements)
            self.is_current[environment] = how == "all" and step.publishes
            if how == "all":
                self.is_complete[environment] = True
                if step.publishes:
                    self.publish(environment)
            else:
                self._clear_left_overs()

    def take(self, step: Step) -> None:
        """Carry out one step of a history."""
        if isinstance(step, Land):
            self.land(step)
        elif isinstance(step, Build):
            self.build(step)
        elif self.is_current.get("production"):
            seal_and_correct(self.connection, CLOCK.replace(tzinfo=None))
            self.is_current["production"] = False

    def _statements(
        self, recording: Recording, chosen: list[Node], kind: str
    ) -> Iterator[Statement]:
        built = self.built[recording.environment]
        yield from recording.before[kind]
        for node in chosen:
            if node.id not in built:
                built.add(node.id)
                yield from node.statements["first"]
            elif node.materialized not in ("view", "seed"):  # those are made again word for word
                yield from node.statements[kind]

    def _execute(self, statements: Iterable[Statement]) -> None:
        """Run statements as one dbt process: with its own temporary tables, transactions kept."""
        session = self.connection.cursor()
        session.execute("use warehouse; set TimeZone = 'UTC'")
        is_open = False
        for node, sql, bindings in statements:
            word = sql.rstrip(";").upper()
            is_open = word == "BEGIN" or (is_open and word != "COMMIT")
            try:
                for part in parsed(sql):
                    session.execute(part) if bindings is None else session.execute(part, bindings)
            except duckdb.Error as error:
                error.add_note(f"in {node or 'a hook'}: {sql}")
                raise
        if is_open:
            session.rollback()
        session.close()

    def _clear_left_overs(self) -> None:
        """Drop what a killed build had put aside, as dbt does when it meets it."""
        found = self.connection.execute(
            """
            with relations as (
                select database_name, schema_name, table_name as name, 'table' as kind
                from duckdb_tables()
                union all
                select database_name, schema_name, view_name, 'view' from duckdb_views()
            )
            select * from relations where regexp_matches(name, '__dbt_(backup|tmp)$')
            """
        ).fetchall()
        for database, schema, name, kind in found:
            self.connection.execute(f'drop {kind} "{database}"."{schema}"."{name}"')

    def publish(self, environment: str) -> None:
        """Keep event-grain marts as publishing does: days that the log of changes names, no others.

        A mart with meta `published_by_day` says the day of a row (`day`) and the log that lists the
        days whose rows changed (`changed_in`, and `source_table` there); what was published after
        batch B is brought up to date by replacing the days that are listed with a greater _batch.
        """
        recording = self.recordings[environment]
        since, batch = self.published[environment], self._batch()
        for mart in recording.marts:
            if mart.by_day is None:
                continue
            copy = f"published.{environment}.{mart.name}"
            if since is None:
                self.connection.execute(f"create table {copy} as select * from {mart.relation}")
                continue
            log = next(node for node in recording.nodes if node.name == mart.by_day["changed_in"])
            source = mart.by_day.get("source_table")
            days = f"select activity_date from {log.relation} where _batch > {since}"
            days += f" and source_table = '{source}'" if source else ""
            is_listed = f"coalesce(({mart.by_day['day']}) in ({days}), false)"
            self.connection.execute(f"delete from {copy} where {is_listed}")
            self.connection.execute(
                f"insert into {copy} select * from {mart.relation} where {is_listed}"
            )
        self.published[environment] = batch

    def _batch(self) -> int:
        query = "select coalesce(max(_batch), 0) from raw.landed_files"
        return int(self.connection.execute(query).fetchall()[0][0])

    def finish(self) -> None:
        """Build and publish what is not up to date."""
        stale = tuple(name for name, is_current in self.is_current.items() if not is_current)
        self.build(Build(stale))

    def digests(self) -> dict[str, tuple[Any, ...]]:
        """The digest of every mart as readers find it."""
        return {
            f"{environment}.{mart.name}": self.digest(self.address(environment, mart))
            for environment, recording in self.recordings.items()
            for mart in recording.marts
        }

    def address(self, environment: str, mart: Node) -> str:
        """Where readers find the mart: what is published of it, where only parts of it are."""
        return mart.relation if mart.by_day is None else f"published.{environment}.{mart.name}"

    def columns(self, address: str) -> list[str]:
        """Columns of a mart but those of bookkeeping, which begin with an underscore."""
        described = self.connection.execute(f"describe {address}").fetchall()
        return [f'"{name}"' for name, *_ in described if not name.startswith("_")]

    def digest(self, address: str) -> tuple[Any, ...]:
        """(rows, a sum over hashes of rows): equal for equal bags of rows."""
        row = f"hash(row({', '.join(self.columns(address))}))"
        return self.connection.execute(f"select count(*), sum({row}) from {address}").fetchall()[0]

    def rows(self, address: str) -> Counter[tuple[Any, ...]]:
        """The bag of rows."""
        query = f"select {', '.join(self.columns(address))} from {address}"
        return bag(self.connection.execute(query).fetchall())


def bag(rows: Iterable[tuple[Any, ...]]) -> Counter[tuple[Any, ...]]:
    """How often each row is there; a list in a row becomes a tuple."""
    return Counter(
        tuple(tuple(value) if isinstance(value, list) else value for value in row) for row in rows
    )


@functools.cache
def parsed(sql: str) -> list[Any]:
    """The statements of a text; parsing them is a fifth of the time of a build."""
    return list(duckdb.extract_statements(sql))


def chosen_nodes(recording: Recording, how: str, number: int) -> list[Node]:
    """The nodes that a build comes to, in order; see Build.until."""
    nodes = recording.nodes
    if how == "failed":
        skipped = recording.downstream(nodes[number % len(nodes)])
        return [node for node in nodes if node.id not in skipped]
    if how == "selected":
        chance = random.Random(number)
        share = chance.random()
        return [node for node in nodes if chance.random() < share]
    return list(nodes)


def text_of(file: Land) -> str:
    """What the file holds."""
    return "".join(json.dumps(record) + "\n" for record in file.records)


def write(folder: Path, file: Land) -> None:
    """Put a file into the landing folder."""
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(file))


# ---- by dbt itself


def drive(
    history: History, recordings: dict[str, Recording], home: Path, project: Path = DBT_PROJECT
) -> list[tuple[str, Build, dict[str, list[Statement]]]]:
    """Let dbt itself carry out the complete and the failed builds of a history, in `home`.

    Returns (environment, step, {node: statements}) of each build. Files land as in a replay.
    """
    script: list[list[Any]] = []
    builds = []
    for step in history:
        if isinstance(step, Land):
            script.append(["land", step.path, text_of(step), CLOCK.isoformat()])
            continue
        for environment in step.environments if isinstance(step, Build) else ():
            how, number = step.until
            if how not in ("all", "failed"):
                continue
            nodes = recordings[environment].nodes
            fail_at = nodes[number % len(nodes)].id if how == "failed" else None
            script.append(["build", environment, step.kind, fail_at])
            builds.append((environment, step))
    home.mkdir(parents=True, exist_ok=True)
    written, found = home / "script.json", home / "executed.json"
    written.write_text(json.dumps(script))
    command = [sys.executable, "-m", "tests.recorder", "drive", str(project), str(home)]
    subprocess.run(
        [*command, str(written), str(found)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    executed = json.loads(found.read_text())
    return [
        (name, step, split_by_node(statements, [node.id for node in recordings[name].nodes])[1])
        for (name, step), statements in zip(builds, executed, strict=True)
    ]


# ---- comparing


def differences(lived: Replay, limit: int = 5) -> dict[str, dict[str, list[Any]]]:
    """Marts that differ from those of a single build: their rows too many and too few.

    Builds `lived` once more where its last build was not complete or is not the last step. Where
    only some environments are given, the others are not built or compared.
    """
    lived.finish()
    single = built_once(lived, lived.recordings)
    try:
        found = {}
        for environment, recording in lived.recordings.items():
            for mart in recording.marts:
                address = lived.address(environment, mart)
                if lived.digest(address) != single.digest(mart.relation):
                    ours, theirs = lived.rows(address), single.rows(mart.relation)
                    found[f"{environment}.{mart.name}"] = {
                        "columns": lived.columns(address),
                        "too many": sorted((ours - theirs).elements(), key=repr)[:limit],
                        "missing": sorted((theirs - ours).elements(), key=repr)[:limit],
                    }
        return found
    finally:
        single.close()


def built_once(lived: Replay, recordings: dict[str, Recording]) -> Replay:
    """A new warehouse that sees the landing folder for the first time, and is built once.

    Everything lands in one go, in the order of the paths.
    """
    single = Replay(recordings, lived.folder)
    single.land()
    hand_over_seals(lived, single)
    single.build(Build())
    return single


def hand_over_seals(lived: Replay, single: Replay) -> None:
    """Give the single build what no landing can bring back: sealed months and receipts.

    What was sealed, and what was written beside it later, says what was known then; the marts are
    compared given the same seals.
    """
    for table in (*KEPT, *RECEIPTS):
        rows = lived.connection.execute(f"select * from raw.{table}").fetchall()
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            single.connection.executemany(f"insert into raw.{table} values ({marks})", rows)


def live_through(
    history: History, recordings: dict[str, Recording]
) -> dict[str, dict[str, list[Any]]]:
    """Carry out a history in a new warehouse; `differences` at its end."""
    with tempfile.TemporaryDirectory(prefix="rollcall-history-") as folder:
        lived = Replay(recordings, Path(folder))
        try:
            for step in history:
                lived.take(step)
            return differences(lived)
        finally:
            lived.close()


def script(history: History) -> str:
    """A history as Python text that `live_through` takes."""
    lines = ["["]
    for step in history:
        if not isinstance(step, Land):
            lines.append(f"    {step!r},")
            continue
        lines.append(f"    Land({step.path!r}, (")
        lines += [f"        {record!r}," for record in step.records]
        lines.append("    )),")
    return "\n".join([*lines, "]"])


def smaller(history: History, fails: Callable[[History], bool]) -> list[Step]:
    """The same failure in fewer steps, records and fields; much faster than hypothesis can."""
    found = list(history)
    assert fails(found)
    before = None
    while before != found:
        before = list(found)
        for position in reversed(range(len(found))):
            for other in simpler(found[position]):
                attempt = [*found[:position], *other, *found[position + 1 :]]
                if attempt != found and fails(attempt):
                    found = attempt
                    break
        for position in reversed(range(len(found))):
            found = with_fewer_records(found, position, fails)
    return found


def simpler(step: Step) -> Iterator[list[Step]]:
    """What could stand instead of a step: nothing, or one that does less."""
    yield []
    if isinstance(step, Build):
        yield [Build()]
        yield [replace(step, publishes=True)]
        yield [replace(step, kind="incremental")]
        yield [replace(step, environments=ENVIRONMENTS)]


def with_fewer_records(
    history: list[Step], position: int, fails: Callable[[History], bool]
) -> list[Step]:
    """Leave out records of one file, and fields of them, as long as it fails."""
    file = history[position]
    if not isinstance(file, Land):
        return history

    def put(records: Sequence[Record]) -> list[Step]:
        changed = Land(file.path, tuple(records))
        return [*history[:position], changed, *history[position + 1 :]]

    records = list(file.records)
    for number in reversed(range(len(records))):
        if fails(put(fewer := records[:number] + records[number + 1 :])):
            records = fewer
            continue
        for name in list(records[number]):
            record = {key: value for key, value in records[number].items() if key != name}
            if fails(put(fewer := [*records[:number], record, *records[number + 1 :]])):
                records = fewer
    return put(records)
