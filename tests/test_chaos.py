"""A process may die anywhere, a disk may be full: the next ordinary run makes it as if never.

Here in small, and always at the same places; `make soak` does it for long, with the whole job.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pytest
from shares import HASH_KEY, World, some_days

from dagster_project.progress import remedy
from landing import TABLES
from landing.reasons import FileFailure
from landing.tabular import parquet_slices
from tests.landing_cases import Warehouse as Raw
from tests.landing_cases import event
from tests.soak import fuzz, limits, readers, work

ROOT = Path(__file__).resolve().parent.parent
KILLS = 4


def at_work(folder: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.soak.work", str(folder), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_run_that_died_anywhere_is_made_good_by_the_next(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    work.prepare(prepared)
    shutil.copytree(prepared, tmp_path / "never", symlinks=True)
    never = work.Warehouse(tmp_path / "never" / "home", tmp_path / "never" / "landing")
    done = at_work(tmp_path / "never")
    assert done.returncode == 0, done.stderr
    steps, expected = int(done.stdout), work.state(never)
    assert work.faults(never) == []
    # one in each part of the run, another place in it each time the seed changes
    chance = random.Random(5)
    places = [
        chance.randint(n * steps // KILLS + 1, (n + 1) * steps // KILLS) for n in range(KILLS)
    ]
    for place in places:
        folder = tmp_path / f"died_{place}"
        shutil.copytree(prepared, folder, symlinks=True)
        assert at_work(folder, place).returncode == -9, place
        at = work.Warehouse(folder / "home", folder / "landing")
        with at.connect_published("production") as connection:
            assert connection.execute("select count(*) from production.fct_events").fetchall()
        work.carry_out(at)
        assert work.faults(at) == [], place
        assert work.state(at) == expected, place


def test_a_full_disk_is_said_leaves_what_was_published_and_heals(tmp_path: Path) -> None:
    if not limits.can_mount():
        pytest.skip("a file system of its own size can't be mounted here")
    found = limits.short_of_disk(tmp_path)
    assert [one for one in found if one["broken"]] == []
    assert [one["stage"] for one in found] == ["land", "take out", "publish"]


def test_too_little_memory_is_said_leaves_what_was_published_and_heals(tmp_path: Path) -> None:
    found = limits.short_of_memory(tmp_path, random.Random(3))
    assert [one for one in found if one["broken"]] == []
    assert [one["stage"] for one in found] == ["land", "take out", "publish"]


def test_a_parquet_file_is_not_called_broken_for_want_of_memory(tmp_path: Path) -> None:
    good = tmp_path / "a.parquet"
    good.write_bytes(fuzz.seed_files(tmp_path)["parquet"])
    table = TABLES["auth_events"]
    with pytest.raises(duckdb.OutOfMemoryException):
        list(parquet_slices(good, table, tmp_path, "200KB"))
    [part] = [part.first_line for part in parquet_slices(good, table, tmp_path, "1GB")]
    assert part == 1
    broken = tmp_path / "b.parquet"
    broken.write_bytes(b"PAR1 is no file PAR1")
    with pytest.raises(FileFailure):
        list(parquet_slices(broken, table, tmp_path, "1GB"))


def test_a_damaged_parquet_file_never_meets_the_warehouses_own_duckdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two swapped bytes in a page (a string's length, say) end in "database has been invalidated",
    # after which a connection refuses whatever it is asked. So the warehouse's is shut out here.
    work_folder = tmp_path / "work"
    work_folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(work_folder))
    raw = Raw(tmp_path)
    raw.connection.execute(f"set allowed_directories = ['{work_folder}/']")
    raw.connection.execute("set enable_external_access = false")
    raw.write("auth_events/a.parquet", fuzz.seed_files(tmp_path)["parquet"])
    raw.write("auth_events/b.jsonl", [event(id="neighbour")])
    assert [file.status for file in raw.land().files] == ["landed", "landed"]


def test_a_share_short_of_memory_leaves_nothing_and_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)
    world = World(tmp_path)
    world.add(*some_days()).publish()
    world.memory = "600KB"
    with pytest.raises(duckdb.OutOfMemoryException) as raised:
        world.carry_out()
    assert "ROLLCALL_MEMORY" in remedy(str(raised.value))
    assert world.files() == {}
    world.memory = "80%"
    assert world.carry_out().status == "committed"


def test_three_readers_see_whole_versions_in_order(tmp_path: Path) -> None:
    found = readers.soak(tmp_path, 6, 1)
    assert found["broken"] == []
    assert found["looks"] > readers.READERS


def test_mutated_files_of_every_format_add_up(tmp_path: Path) -> None:
    found = fuzz.soak(tmp_path, 12, int(os.environ.get("ROLLCALL_SEED", "7")))
    assert found["broken"] == []
    assert found["files"] == 12 * len(fuzz.FORMATS) + len(fuzz.FORMATS)
    assert min(found["accepted"], found["rejected"], found["failed"]) > 10


HOSTILE = (
    "o'brien\"; drop table raw.users; --",
    "../../../etc/passwd",
    "..\\..\\x",
    "p\u0430yp\u0430l",
    "paypal",
    "PAYPAL",
    "é",
    "e\u0301",
    "\u202egnp.exe",
    "=cmd|' /C calc'!A0",
    "@sum(1)",
    "\ttab",
    "%2e%2e%2f",
    "{{ref('x')}}",
    "null",
    " ",
    "x" * 10_000,
    "\U0001f600",
)


@pytest.mark.parametrize("table", [name for name, one in TABLES.items() if one.family == "event"])
def test_hostile_ids_round_trip_in_every_field(tmp_path: Path, table: str) -> None:
    closed = {"type", "environment", "outcome"}
    names = [
        one.name for one in TABLES[table].fields if one.kind == "text" and one.name not in closed
    ]
    records = [
        event(table, **{**dict.fromkeys(names, value), "id": f"{n}{value}"})
        for n, value in enumerate(HOSTILE)
    ]
    raw = Raw(tmp_path)
    before = set(tmp_path.parent.iterdir())
    assert raw.land_one(f"{table}/a.jsonl", records).accepted == len(HOSTILE)
    listed = [name for name in names if name != "id"]
    rows = raw.rows(f"select id, {', '.join(listed)} from raw.{table}")
    assert sorted(rows) == sorted(
        (f"{n}{value}", *([value] * len(listed))) for n, value in enumerate(HOSTILE)
    )
    assert set(tmp_path.parent.iterdir()) == before
