"""An installation in small, in one process: land, take out, build, publish. Seconds, without dbt.

Belongs here: the steps, and what has to be true afterwards. Does not belong here: who kills, fills
the disk or looks on.

`python -m tests.soak.work FOLDER [N]` carries the steps out; with N the process kills itself, with
SIGKILL, at the N-th file it opens, renames, removes or makes. So every run dies at the same place.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb

from dagster_project import builds, erasures, rewriting, snapshots
from dagster_project.audits import account_for_every_line
from dagster_project.warehouse import Warehouse
from landing import TABLES, create_raw_schema, land
from landing.keys import count_unnamed
from tests.landing_cases import entity, event, write
from tests.published import build, inputs_at, open_home, publish, read_events

CLOCK = datetime(2025, 2, 1, 12, 0, tzinfo=UTC)
ERASED, TOMBSTONE_KEY = "usr_7701", "ab" * 32
DAYS = [date(2025, 1, 29), date(2025, 1, 30), date(2025, 1, 31)]
WATCHED = frozenset(
    ("open", "os.rename", "os.remove", "os.mkdir", "os.symlink", "os.rmdir", "shutil.rmtree")
)


def prepare(folder: Path) -> Warehouse:
    """A home with something published, and extracts that wait, one of them with a request."""
    at = open_home(folder)
    with at.connect() as connection:
        create_raw_schema(connection)
        connection.execute("insert into raw.tombstone_keys values ('t1', ?, 1)", [TOMBSTONE_KEY])
    for number, day in enumerate(DAYS):
        records: list[Any] = [
            event(
                id=f"{day}_{n}",
                user_id=ERASED if n % 7 == 0 else f"usr_{n}",
                session_id=f"ses_{n % 50}_x",
                occurred_at=f"{day}T10:00:00Z",
                received_at=None,
            )
            for n in range(60)
        ]
        write(at.landing, f"auth_events/{day}.jsonl", [*records, "no json", *records[:number]])
        if number == 0:
            # what is published names the user too
            with at.connect() as connection:
                land(connection, at.landing, run_id="run", clock=CLOCK)
            publish_what_stands(at)
    write(at.landing, "erasures/a.jsonl", [entity("erasures", user_id=ERASED)])
    return at


def carry_out(at: Warehouse) -> None:
    """An ordinary run."""
    with at.writing("a run"):
        with at.connect() as connection:
            land(connection, at.landing, run_id="run", clock=CLOCK)
        erasures.carry_out(at, "run", CLOCK, lambda run_id: None)
        publish_what_stands(at)


def publish_what_stands(at: Warehouse) -> None:
    """Build the marts of tests/published.py from raw, and publish them where they are not."""
    with at.connect() as connection:
        inputs = builds.read_inputs(connection)
        events = dict(
            connection.execute(
                "select id || user_id, _activity_date from raw.auth_events"
            ).fetchall()
        )
        connection.execute("drop schema if exists production_intermediate cascade")
    made = inputs_at(inputs.batch)
    made = builds.Inputs(made.warehouse, made.batch, made.code, made.logic, 0, inputs.generation)
    number = inputs.batch * 10 + inputs.generation
    build(at, number, events, sorted(set(events.values())))
    publish(at, made, now=CLOCK)
    rewriting.delete_versions_before(at, "production")
    erasures.note_published(at, CLOCK)


def state(at: Warehouse) -> dict[str, Any]:
    """All that has to be equal however often a run died: raw and what readers see."""
    found: dict[str, Any] = {}
    with at.connect() as connection:
        for (table,) in connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'raw'"
            " and table_name <> 'pseudonym_keys' order by 1"
        ).fetchall():
            columns = [name for name, *_ in connection.execute(f"describe raw.{table}").fetchall()]
            # how often extracts and logs were looked for is the run's own affair
            listed = [c for c in columns if c not in ("mtime_ns", "files_deleted")]
            found[table] = connection.execute(
                f"select {', '.join(listed)} from raw.{table} order by all"
            ).fetchall()
    with at.connect_published("production") as connection:
        found["published"] = sorted(read_events(connection).items())
    return found


def faults(at: Warehouse) -> list[str]:
    """What must never be, after an ordinary run."""
    with at.connect() as connection:
        findings = account_for_every_line(connection, sorted(TABLES))
        unnamed = {name: count_unnamed(connection, name, 0)[1] for name in TABLES}
    broken = [f"{one.table}: {dict(one.numbers)}" for one in findings if not one.is_passed]
    broken += [f"keys.{name} lacks {count} rows" for name, count in unnamed.items() if count]
    for path in sorted(at.home.rglob("*")):
        if path.is_file() and not path.is_symlink() and ERASED.encode() in path.read_bytes():
            broken.append(f"{path.relative_to(at.home)} names the erased user")
    with at.connect() as connection:
        last = rewriting.last_versions(connection)["production"]
        [(waiting,)] = connection.execute(
            "select count(*) from raw.erasure_proofs where published_at is null"
        ).fetchall()
    if waiting:
        broken.append(f"{waiting} proofs are not complete")
    broken += [
        f"{version.file_name} is of before the erasure"
        for version in snapshots.versions(at.published_folder("production"))
        if version.number <= last
    ]
    broken += [
        f"{path.relative_to(at.home)} was left behind"
        for path in at.home.rglob("*.tmp*")
        if path.exists()
    ]
    return broken


class Counter:
    """Counts what is done to files, and dies at a number."""

    def __init__(self, last: int | None) -> None:
        self.count = 0
        self.last = last
        self.is_on = False

    def __call__(self, name: str, _arguments: Any) -> None:
        if not self.is_on or name not in WATCHED:
            return
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, last: int | None) -> None:
    at = Warehouse(folder / "home", folder / "landing", lock_seconds=5)
    counter = Counter(last)
    sys.addaudithook(counter)
    counter.is_on = True
    try:
        carry_out(at)
    except (duckdb.Error, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    counter.is_on = False
    print(counter.count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
