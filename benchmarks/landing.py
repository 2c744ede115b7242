"""Landing of JSON lines beside the least that loading them can cost.

The floor is DuckDB alone: one `create table as` a table, from `read_ndjson` with every column
typed, all files of the table at once, lines that do not parse left out. It accounts for nothing,
and knows neither a ledger, a hash, a duplicate, a secret, a reason nor a line number; landing does
all of that. The second floor stores the text of each record too, as landing has to.

Belongs here: both contenders and the proof that they hold the same. Does not belong here: what
landing promises (tests/test_landing_*.py hold that).
"""

import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from benchmarks.frame import Measurement, NotEqualError, Size, alternate, in_own_process
from landing import land
from landing.contract import SQL_TYPES, TABLES, Field, Table
from landing.tabular import quote

EVENTS = 3_000_000  # at most, of the size that was asked for: the cost is per line
DAYS = 10
THREADS = 2
TARGET = 1.5

EVENT_TABLES = tuple(table for table in TABLES.values() if table.family == "event")


def measure(size: Size) -> list[Measurement]:
    """Land the event tables of demo extracts, and load them by either floor."""
    events = min(size.events, EVENTS)
    folder = extracts(size.folder / "landing", events)
    contenders = {
        "landing": lambda: in_own_process(ours, folder),
        "typed": lambda: in_own_process(floor, folder, False),
        "typed and text": lambda: in_own_process(floor, folder, True),
    }
    lines = in_own_process(compare, folder)
    seconds = alternate(size.runs, contenders)
    megabytes = sum(path.stat().st_size for path in folder.rglob("*.jsonl")) / 1e6
    note = (
        f"{lines:,} lines, {megabytes:.0f} MB, {THREADS} threads, file to checkpointed file; "
        "landing in one transaction a file"
    )
    return [
        Measurement(
            name=name,
            ours=seconds["landing"],
            floor_or_rival=seconds[against],
            rival=rival,
            unit="s",
            target=TARGET,
            note=note,
            is_floor=True,
        )
        for name, against, rival in (
            ("landing", "typed", "read_ndjson, typed columns"),
            ("landing_payload", "typed and text", "read_ndjson, typed columns and text"),
        )
    ]


def extracts(folder: Path, events: int) -> Path:
    """Demo extracts of the event tables as JSON lines, made once for each size."""
    made = folder / f"extracts_{events}"
    if not made.is_dir():
        part = folder / f"extracts_{events}.part"
        shutil.rmtree(part, ignore_errors=True)
        command = [sys.executable, "-m", "simulator", "--out", str(part), "--days", str(DAYS)]
        command += ["--events", str(events), "--format", "jsonl", "--no-answer-key", "--quiet"]
        subprocess.run(command, check=True)
        names = {table.name for table in EVENT_TABLES}
        for path in sorted(part.iterdir()):
            if path.is_file():
                path.unlink()
            elif path.name not in names:
                shutil.rmtree(path)
        part.rename(made)
    return made


def _database(folder: Path, name: str) -> duckdb.DuckDBPyConnection:
    path = folder.parent / f"{name}.duckdb"
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
    return duckdb.connect(str(path), config={"threads": THREADS})


def ours(folder: Path) -> float:
    """Land everything; returns the seconds, with the last checkpoint."""
    connection = _database(folder, "ours")
    started = time.perf_counter()
    land(connection, folder, run_id="benchmark", clock=datetime.now(UTC) + timedelta(days=3650))
    connection.close()
    return time.perf_counter() - started


def floor(folder: Path, with_text: bool) -> float:
    """Load everything by DuckDB alone; returns the seconds, with the last checkpoint."""
    connection = _database(folder, "floor")
    started = time.perf_counter()
    for table in EVENT_TABLES:
        connection.execute(floor_sql(table, files(folder, table), with_text=with_text))
    connection.close()
    return time.perf_counter() - started


def compare(folder: Path) -> int:
    """Raise NotEqualError unless both read the same lines and landing kept none of its own making.

    Returns the lines. Landing leaves out copies and what it rejects, and redacts secrets in free
    text; what it keeps must be in the floor, compared by all that is not free text.
    """
    ours(folder)
    floor(folder, False)
    connection = duckdb.connect(str(folder.parent / "floor.duckdb"), read_only=True)
    connection.execute(f"attach {quote(str(folder.parent / 'ours.duckdb'))} as ours (read_only)")
    total = 0
    for table in EVENT_TABLES:
        (lines,) = connection.execute(
            "select coalesce(sum(lines), 0) from ours.raw.landed_files where table_name = ?",
            [table.name],
        ).fetchall()[0]
        (read,) = connection.execute(f"select count(*) from floor_{table.name}").fetchall()[0]
        columns = "id, type, occurred_at, environment, workspace_id, project_id, user_id"
        (extra,) = connection.execute(
            f"""
            select count(*) from (
                select {columns} from ours.raw.{table.name}
                except
                select {columns} from floor_{table.name}
            )
            """
        ).fetchall()[0]
        if extra or read != lines:
            raise NotEqualError(f"{table.name}: {extra} rows of landing alone, {lines}, {read}")
        total += lines
    connection.close()
    return total


def files(folder: Path, table: Table) -> list[str]:
    """The files of a table that landing would take."""
    return sorted(str(path) for path in (folder / table.name).rglob("*.jsonl"))


def _kind(item: Field) -> str:
    """The type to read a field as; one that can be two types is read as JSON."""
    if item.kind == "time":
        return "TIMESTAMPTZ"
    return "JSON" if item.kind in ("metric", "text_or_integer") else SQL_TYPES[item.kind]


def floor_sql(table: Table, paths: list[str], *, with_text: bool) -> str:
    """SQL that loads the files of one table into `floor_<table>`."""
    data = ", ".join(f"{item.name} {_kind(item)}" for item in table.data_fields)
    kinds = {item.name: _kind(item) for item in table.fields} | {"data": f"STRUCT({data})"}
    listed = f"[{', '.join(map(quote, paths))}]"
    stored = [
        f"timezone('UTC', {item.name}) as {item.name}" if item.kind == "time" else item.name
        for item in table.fields
    ]
    if not with_text:
        members = ", ".join(f"{name}: {quote(kind)}" for name, kind in kinds.items())
        return f"""
            create table floor_{table.name} as
            select {", ".join(stored)}, unnest(data)
            from read_ndjson({listed}, columns = {{{members}}}, ignore_errors = true)
        """
    members = ", ".join(f'"{name}":"{kind}"' for name, kind in kinds.items() if name != "data")
    fields = ", ".join(f'"{item.name}":"{_kind(item)}"' for item in table.data_fields)
    structure = f'{{{members}, "data":{{{fields}}}}}'
    return f"""
        create table floor_{table.name} as
        select {", ".join(stored)}, unnest(data), payload
        from (
            select json::varchar as payload, unnest(from_json(json, {quote(structure)}))
            from read_ndjson_objects({listed}, ignore_errors = true)
        )
    """
