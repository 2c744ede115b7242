"""How one result is taken from the project and from its rivals: equal rows first, then times.

Belongs here: the comparison of rows, the alternation of contenders, what a session with each
engine needs. Does not belong here: any contender's query.

A contender is a module's function of (events, steps, out). It starts from the Parquet files, reads
the columns it needs on 2 threads, holds its result in memory as a table of its engine, and returns
the seconds that took. With `out` it then writes the result there as Parquet, untimed. `steps` are
the project's models, for ours alone.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.events import Events, make_events
from benchmarks.frame import (
    Measurement,
    NotEqualError,
    Seconds,
    Size,
    alternate,
    in_own_process,
    timed,
)
from benchmarks.product import THREADS, Step, build, compiled, prepare

Contender = Callable[[Events, Sequence[Step], Path | None], Seconds]


@dataclass(frozen=True)
class Rival:
    """One rival: its name in the table, what it runs, and by how much we mean to be ahead.

    `tolerance`: by how much of ours (plus 3) an approximate rival may miss a figure; 0 is exact.
    """

    label: str
    run: Contender
    target: float
    note: str
    tolerance: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """One result, by whom it is made, and the `keys` that tell one of its rows from the others."""

    name: str
    mart: str
    keys: Sequence[str]
    ours: Contender
    rivals: Sequence[Rival]


def measure_rivals(comparison: Comparison, size: Size) -> list[Measurement]:
    """Make the events, compare everybody's rows with ours, then take times in turns.

    Gives each rival a line by the clock and one by CPU, which a busy machine disturbs less. Raises
    NotEqualError.
    """
    name, keys, rivals = comparison.name, comparison.keys, comparison.rivals
    events = make_events(size.events, size.folder)
    steps = compiled([comparison.mart], size.folder)
    results = size.folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    contenders = {"ours": comparison.ours, **{rival.label: rival.run for rival in rivals}}
    for number, (label, run) in enumerate(contenders.items()):
        first = in_own_process(run, events, steps, results / f"{number}.parquet")
        _say(f"{name}: {label} {first.wall:.2f} s ({first.cpu:.2f} s of CPU), rows written")
        if number:
            compare_rows(
                results / "0.parquet",
                results / f"{number}.parquet",
                keys,
                rivals[number - 1].tolerance,
            )
    cpu: dict[str, list[float]] = {label: [] for label in contenders}

    def once(label: str) -> float:
        seconds = in_own_process(contenders[label], events, steps, None)
        cpu[label].append(seconds.cpu)
        return seconds.wall

    wall = alternate(size.runs, {label: partial(once, label) for label in contenders})
    return [
        measurement
        for rival in rivals
        for measurement in (
            Measurement(
                name, wall["ours"], wall[rival.label], rival.label, "s", rival.target, rival.note
            ),
            Measurement(
                f"{name}, CPU",
                cpu["ours"],
                cpu[rival.label],
                rival.label,
                "CPU s",
                rival.target,
                "",
            ),
        )
    ]


def compare_rows(ours: Path, theirs: Path, keys: Sequence[str], tolerance: float) -> None:
    """See that two Parquet files hold the same rows, columns matched by name.

    With a tolerance the keys must be the same, and each other column near: off by no more than
    `tolerance` of ours plus 3. Raises NotEqualError with the first rows that are not.
    """
    with duckdb.connect(config={"threads": THREADS}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"create table theirs as from read_parquet('{theirs}')")
        columns = [row[0] for row in connection.execute("describe theirs").fetchall()]
        kinds = {
            row[0]: row[1]
            for row in connection.execute(f"describe from read_parquet('{ours}')").fetchall()
        }
        chosen = ", ".join(columns)
        connection.execute(f"create table ours as select {chosen} from read_parquet('{ours}')")
        if tolerance:
            same = " and ".join(f"ours.{key} is not distinct from theirs.{key}" for key in keys)
            far = " or ".join(
                f"abs(ours.{column} - theirs.{column}) > ours.{column} * {tolerance} + 3"
                for column in columns
                if column not in keys
            )
            query = f"""
                select * from ours full join theirs on {same}
                where ours.{keys[0]} is null or theirs.{keys[0]} is null or {far}
            """
        else:
            cast = ", ".join(f"cast({column} as {kinds[column]}) as {column}" for column in columns)
            query = f"""
                (select 'only ours' as side, * from ours
                    except all select 'only ours', {cast} from theirs)
                union all
                (select 'only theirs' as side, {cast} from theirs
                    except all select 'only theirs', * from ours)
            """
        different = connection.sql(f"from ({query}) limit 6")
        if rows := different.fetchall():
            lines = "\n".join(str(row) for row in rows)
            raise NotEqualError(f"{theirs} differs from {ours} in {different.columns}:\n{lines}")
        if not connection.execute("select count(*) from ours").fetchall()[0][0]:
            raise NotEqualError(f"{ours} has no rows, so that nothing was compared")


def product_run(
    events: Events, steps: Sequence[Step], out: Path | None, mart: str, columns: str
) -> Seconds:
    """Ours: every model up to the mart; the columns that rivals are asked for are written."""
    with duckdb.connect() as connection:
        prepare(connection, steps, events)
        seconds = timed(lambda: build(connection, steps))
        if out:
            address = next(step.address for step in steps if step.name == mart)
            connection.execute(f"copy (select {columns} from {address}) to '{out}'")
        return seconds


class ClickHouse:
    """One chDB session on 2 threads; tables are of engine Memory."""

    def __init__(self) -> None:
        from chdb import session  # noqa: PLC0415 - a rival's package, in the rival's process alone

        self._session: Any = session.Session()
        self.execute(f"set max_threads = {THREADS}, session_timezone = 'UTC'")
        # comparisons of LowCardinality text come out as LowCardinality numbers
        self.execute("set allow_suspicious_low_cardinality_types = 1")

    def execute(self, query: str) -> str:
        """Run one statement; returns its rows as CSV."""
        return str(self._session.query(query, "CSV")).strip()

    def create(self, table: str, query: str) -> None:
        """Make a table of a SELECT."""
        self.execute(f"create table {table} engine = Memory as {query}")

    def write(self, query: str, out: Path) -> None:
        """Write a SELECT as Parquet."""
        out.unlink(missing_ok=True)
        self.execute(f"insert into function file('{out}', Parquet) {query}")


def listed(names: Sequence[str]) -> str:
    """An SQL list of text literals, parentheses included."""
    return f"({', '.join(repr(name) for name in names)})"


def _say(line: str) -> None:
    sys.stderr.write(f"bench: {line}\n")
    sys.stderr.flush()
