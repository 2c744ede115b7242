"""A build from nothing of both environments, against its floor: one typed copy of the same rows.

`dbt run --full-refresh` of production and of sandbox, whole processes, over raw tables that hold
the events. The floor copies the typed columns of the raw event tables, without the payload, into
tables of a new DuckDB file on two threads: no build can read its rows and write as many in less.
Once more within 4 GiB, and the most memory that either took.

Raw tables are filled by SQL, not landed: 50 million events take 2 minutes and not 20.
"""

import json
import shutil
import statistics
import time
from pathlib import Path

import duckdb

from benchmarks.events import EVENT_TABLES, Events, make_events
from benchmarks.frame import Measurement, Size
from benchmarks.processes import Ran, run_dbt
from dagster_project.warehouse import ENVIRONMENTS
from landing.contract import TABLES
from landing.schema import create_raw_schema

THREADS = 2
LIMIT_GIB = 4


def measure(size: Size) -> list[Measurement]:
    """Seconds of the builds and of the copy in turns; then builds with a limit; GiB of both."""
    home = size.folder / f"build-{size.events}"
    events = fill_raw(home, size)
    for environment in ENVIRONMENTS:
        run_dbt(home, environment, "seed")
    builds: list[float] = []
    limited: list[float] = []
    copies: list[float] = []
    peaks: list[float] = []
    limited_peaks: list[float] = []
    models: list[float] = []
    for turn in range(size.runs):
        if turn % 2:
            copies.append(copy_typed(home))
        ran = build(home)
        builds.append(sum(each.seconds for each in ran))
        peaks.append(max(each.peak_gib for each in ran))
        models.append(seconds_in_models(home))
        if not turn % 2:
            copies.append(copy_typed(home))
        ran = build(home, ROLLCALL_MEMORY=f"{LIMIT_GIB}GiB")
        limited.append(sum(each.seconds for each in ran))
        limited_peaks.append(max(each.peak_gib for each in ran))
    check_build(home, events)
    note = (
        f"{events.count:,} events; {statistics.median(models):.1f} s of it in the statements of"
        f" models; peak {max(peaks):.2f} GiB"
    )
    name = "full build"
    copy = "typed copy of the rows"
    return [
        Measurement(name, builds, copies, copy, "s", target=5, note=note, is_floor=True),
        Measurement(
            f"{name} within {LIMIT_GIB} GiB",
            limited,
            builds,
            "without a limit",
            "s",
            target=2,
            note=f"DuckDB's memory_limit; peak of the process {max(limited_peaks):.2f} GiB",
            is_floor=True,
        ),
        Measurement(
            f"memory of a {name}",
            peaks,
            limited_peaks,
            f"with a limit of {LIMIT_GIB} GiB",
            "GiB",
            target=4,
            note="resident, all processes",
            is_floor=True,
        ),
    ]


def fill_raw(home: Path, size: Size) -> Events:
    """A home whose raw tables hold the events, in the order in which they would have landed."""
    events = make_events(size.events, size.folder)
    stamp = home / "filled.json"
    wanted = json.loads((events.folder / "made.json").read_text())
    if stamp.exists() and json.loads(stamp.read_text()) == wanted:
        return events
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with duckdb.connect(str(home / "warehouse.duckdb"), config={"threads": THREADS}) as connection:
        create_raw_schema(connection)
        tables = [folder.name for folder in sorted(events.folder.iterdir()) if folder.is_dir()]
        for table in tables:
            # the schema comes with a pseudonym key, and so do the events
            connection.execute(f"delete from raw.{table}")
            for file in sorted((events.folder / table).glob("*.parquet")):
                connection.execute(f"insert into raw.{table} by name from read_parquet('{file}')")
    stamp.write_text(json.dumps(wanted))
    return events


def build(home: Path, **settings: str) -> list[Ran]:
    """Both environments from nothing, one after the other."""
    return [
        run_dbt(home, environment, "run", "--full-refresh", **settings)
        for environment in ENVIRONMENTS
    ]


def copy_typed(home: Path) -> float:
    """Seconds that a typed copy of the event tables into a new file takes, checkpoint included."""
    target = home / "copy.duckdb"
    target.unlink(missing_ok=True)
    with duckdb.connect(str(target), config={"threads": THREADS}) as connection:
        connection.execute(f"attach '{home / 'warehouse.duckdb'}' as build (read_only)")
        began = time.perf_counter()
        for table in EVENT_TABLES:
            columns = ", ".join(name for name, _ in TABLES[table].columns)
            connection.execute(f"create table {table} as select {columns} from build.raw.{table}")
        connection.execute("checkpoint")
        seconds = time.perf_counter() - began
        for table in EVENT_TABLES:
            here, there = connection.execute(
                f"select (select count(*) from {table}), (select count(*) from build.raw.{table})"
            ).fetchall()[0]
            if here != there:
                raise RuntimeError(f"{table}: {here} rows copied of {there}")
    target.unlink()
    return seconds


def seconds_in_models(home: Path) -> float:
    """Seconds of the newest build of each environment, from the run report."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        (seconds,) = connection.execute(
            """
            select sum(seconds) from orchestration.model_costs
            where part = 'model' and build_id in (
                select arg_max(build_id, ended_at) from orchestration.model_costs
                group by environment
            )
            """
        ).fetchall()[0]
    return float(seconds)


def check_build(home: Path, events: Events) -> None:
    """Every event is in the build of its environment. Raises RuntimeError."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        built = sum(
            connection.execute(
                f"select count(*) from {name}_intermediate.int_events_unioned"
            ).fetchall()[0][0]
            for name in ENVIRONMENTS
        )
    if built != events.count:
        raise RuntimeError(f"{built} events were built, of {events.count}")
