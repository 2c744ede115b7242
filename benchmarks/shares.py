"""A share's first export beside a plain COPY of the same rows: one Parquet file, nothing looked at.

The share does more: it finds the days, writes a sorted file each, reads all of it back through the
gates (rows, workspaces, environment, retention, every text against the secret rules), hashes,
uploads, commits, receipts. The rows are those of one of four workspaces, in the columns of
fct_events that a profile takes, of events made by one SELECT and published in parts as every
version is: a Parquet file a day, ordered by the mart's key.

Belongs here: both contenders and the proof that they hold the same. Does not belong here: what a
share promises (tests/test_shares.py holds that).
"""

import functools
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import duckdb

from benchmarks.frame import Measurement, NotEqualError, Size, alternate, in_own_process
from dagster_project.parts import DailyMart, Writer
from dagster_project.warehouse import SEEDS, quoted
from landing import create_raw_schema
from sharing import Places, carry_out
from sharing.compiler import STREAM
from sharing.contract import Column, Table
from sharing.definitions import Consumer, Share

EVENTS = 4_000_000  # at most, of the size that was asked for: the cost is per row
WORKSPACES = 4
DAYS = 30
FIRST_DAY = date(2026, 1, 1)
NOW = datetime(2026, 2, 1, 12, 0)
THREADS = 2
TARGET = 1.5
FORMATS = ("parquet", "delta")
TYPES = {
    **dict.fromkeys((*STREAM, "workspace_id", "environment"), "string"),
    "occurred_at": "timestamp",
    "received_at": "timestamp",
    "is_test": "boolean",
    "activity_date": "date",
}
CONTRACT = {
    "fct_events": Table(
        "fct_events",
        tuple(Column(name, kind) for name, kind in TYPES.items()),
        ("workspace_id", "source_table", "event_id"),
        "activity_date",
        is_cut_by_day=True,
    )
}


def measure(size: Size) -> list[Measurement]:
    """Seconds of both formats and of the copy, in turns, each in a process of its own."""
    events = min(size.events, EVENTS)
    home = size.folder / f"shares_{events}"
    published = made(home, events)
    contenders: dict[str, Callable[[], float]] = {
        form: functools.partial(in_own_process, ours, home, published, form) for form in FORMATS
    }
    contenders["copy"] = functools.partial(in_own_process, floor, home, published)
    for contender in contenders.values():
        contender()
    rows = {name: counted(home, name) for name in contenders}
    if len(set(rows.values())) > 1:
        raise NotEqualError(f"rows of the shares and of the copy: {rows}")
    seconds = alternate(size.runs, contenders)
    note = f"{rows['copy']:,} of {events:,} rows, {DAYS} days, to a folder, {THREADS} threads"
    return [
        Measurement(
            f"share_{form}",
            seconds[form],
            seconds["copy"],
            "COPY of the same rows",
            "s",
            target=TARGET,
            note=note,
            is_floor=True,
        )
        for form in FORMATS
    ]


def made(home: Path, events: int) -> Path:
    """A published version that holds the events, made once for each size."""
    path = home / "published" / "v000001_b1_0123456789ab.duckdb"
    if path.exists():
        return path
    shutil.rmtree(home, ignore_errors=True)
    path.parent.mkdir(parents=True)
    texts = ", ".join(
        f"'{name}_' || (hash(n, '{name}') % {events // 10 + 1}) as {name}"
        for name in ("project_id", "user_id", "session_id", "service_id", "trace_id")
    )
    unfinished = path.with_suffix(".part")
    with duckdb.connect(str(unfinished), config={"threads": THREADS}) as connection:
        connection.execute(
            f"""
            create schema published; create schema production;
            create table published.version as select 1 as version, 1 as batch, 'w' as warehouse_id;
            create table published.parts (
                mart varchar, first_date date, last_date date, path varchar
            );
            create table production.dim_workspaces as
                select 'ws_' || n as workspace_id, 'enterprise' as plan_id,
                    null::timestamp as deleted_at
                from range({WORKSPACES}) as t (n);
            create table production.dim_projects (
                project_id varchar, name varchar, workspace_id varchar
            );
            attach ':memory:' as build;
            create table build.fct_events as
                select 'platform_events' as source_table, 'evt_' || n as event_id, {texts},
                    'platform' as category, 'api.request' as type, 'automatic' as origin,
                    date '{FIRST_DAY}' + to_microseconds(
                        (n * {DAYS * 86_400_000_000 // events})::bigint
                    ) as occurred_at,
                    occurred_at + interval 3 second as received_at,
                    if(hash(n) % 20 = 0, 'failure', 'success') as outcome, false as is_test,
                    'ws_' || (hash(n, 'w') % {WORKSPACES}) as workspace_id,
                    'production' as environment, occurred_at::date as activity_date
                from range({events}) as t (n);
            """
        )
        mart = DailyMart("fct_events", "activity_date", "", key=CONTRACT["fct_events"].key)
        parts = Writer(connection, "build.main", path.parent, 1).renew(mart, [], None)
        files = [part.path for part in parts]
        connection.executemany(
            "insert into published.parts values (?, ?, ?, ?)",
            [(part.mart, part.span.first, part.span.last, str(part.path)) for part in parts],
        )
        listed = ", ".join(f"'{quoted(one)}'" for one in files)
        connection.execute(
            f"create view production.fct_events as select * from read_parquet([{listed}])"
        )
    unfinished.rename(path)
    return path


def ours(home: Path, published: Path, form: str) -> float:
    """Seconds of a first export into an empty folder."""
    work = home / form
    shutil.rmtree(work, ignore_errors=True)
    (work / "landing").mkdir(parents=True)

    @contextmanager
    def books() -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect(str(work / "warehouse.duckdb")) as connection:
            yield connection

    with books() as connection:
        create_raw_schema(connection)
    share = Share.model_validate(
        {
            "name": "bench",
            "consumer": "bench",
            "environment": "production",
            "tables": [{"model": "fct_events", "profile": "full"}],
            "pii": {"user_id": "keep"},
            "format": form,
            "destination": {"kind": "folder", "url": f"file://{work / 'out'}"},
            "capability": "warehouse_share",
            "requested_by": "bench",
        }
    )
    began = time.perf_counter()
    outcome = carry_out(
        share,
        Consumer(workspace_ids=["ws_1"], contact="bench"),
        places=Places(
            state=work / "state",
            landing=work / "landing",
            file=work / "shares.yml",
            plans=SEEDS / "plans.csv",
            rules=SEEDS / "secret_rules.csv",
        ),
        published=published,
        contract=CONTRACT,
        books=books,
        clock=lambda: NOW,
    )
    seconds = time.perf_counter() - began
    if outcome.status != "committed":
        raise NotEqualError(f"the share was {outcome.status}: {outcome.message}")
    return seconds


def floor(home: Path, published: Path) -> float:
    """Seconds of one COPY of the consumer's rows, opening the published file included."""
    path = home / "copy.parquet"
    path.unlink(missing_ok=True)
    began = time.perf_counter()
    with duckdb.connect() as connection:
        connection.execute(f"attach '{published}' as snapshot (read_only)")
        connection.execute(
            f"copy (select {', '.join(TYPES)} from snapshot.production.fct_events"
            f" where workspace_id = 'ws_1') to '{path}' (format parquet, compression zstd)"
        )
    return time.perf_counter() - began


def counted(home: Path, name: str) -> int:
    """Rows that a contender wrote."""
    files = home / "copy.parquet" if name == "copy" else home / name / "out/fct_events/*/*.parquet"
    [(rows,)] = duckdb.execute(f"select count(*) from read_parquet('{files}')").fetchall()
    return int(rows)
