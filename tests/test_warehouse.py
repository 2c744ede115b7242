"""One writer, named; settings are refused before anything is touched; readers reach nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from conftest import ROOT, job_environment

from dagster_project.warehouse import (
    ConfigurationError,
    NothingPublishedError,
    Warehouse,
    WarehouseBusyError,
)

HOLDER = """
import sys
from dagster_project.warehouse import Warehouse
with Warehouse.from_environment().writing("a test that holds on"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Warehouse:
    at = Warehouse(tmp_path / "home", tmp_path / "landing", lock_seconds=0)
    at.prepare_folders()
    return at


def holder(at: Warehouse) -> subprocess.Popen[str]:
    """Another process that has taken the writer's lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=ROOT,
        env=job_environment(at.home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def published(at: Warehouse, name: str, value: int) -> None:
    """A version with one mart, and the pointer to it."""
    folder = at.published_folder("production")
    with duckdb.connect(str(folder / name)) as connection:
        connection.execute(f"create schema production; create table production.t as select {value}")
    pointer = folder / "pointer"
    pointer.symlink_to(name)
    pointer.replace(folder / "latest.duckdb")


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("ROLLCALL_ENGINE", "oracle", "one of: duckdb"),
        ("ROLLCALL_LANDING", "/there/is/no/such/folder", "Create it, or unset"),
        ("ROLLCALL_HOME", __file__, "Name a folder"),
        ("ROLLCALL_LOCK_SECONDS", "soon", "number of seconds"),
        ("ROLLCALL_LOCK_SECONDS", "-1", "number of seconds"),
        ("ROLLCALL_LOCK_SECONDS", "nan", "number of seconds"),
    ],
)
def test_a_bad_setting_is_refused_with_its_name_and_a_remedy(
    variable: str, value: str, remedy: str
) -> None:
    with pytest.raises(ConfigurationError, match=variable) as refusal:
        Warehouse.from_environment({variable: value})
    assert remedy in str(refusal.value)


def test_relative_folders_are_the_same_for_dbt_which_runs_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    at = Warehouse.from_environment({"ROLLCALL_HOME": "data"})
    assert at.home == tmp_path / "data"
    assert at.landing == tmp_path / "data" / "landing"
    assert at.variables()["ROLLCALL_HOME"] == str(tmp_path / "data")


def test_an_unset_or_empty_variable_means_the_default() -> None:
    assert Warehouse.from_environment({}) == Warehouse.from_environment({"ROLLCALL_HOME": " "})
    assert Warehouse.from_environment({}).home == ROOT / ".rollcall"


def test_the_second_writer_is_refused_and_told_who_is_first(home: Warehouse) -> None:
    process = holder(home)
    try:
        with pytest.raises(WarehouseBusyError) as refusal, home.writing("too late"):
            pytest.fail("two writers")
        assert f"process {process.pid}" in str(refusal.value)
        assert "a test that holds on" in str(refusal.value)
    finally:
        process.communicate("")
    with home.writing("in time") as found:
        assert found == []


def test_the_lock_of_a_killed_writer_is_void_and_said_to_be(home: Warehouse) -> None:
    process = holder(home)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (home.spill / "left_over").write_text("")
    (home.published_folder("sandbox") / ".v000001_b1_0123456789ab.duckdb.tmp").write_text("")
    with home.writing("the next run") as found:
        assert any(f"process {process.pid}" in sentence for sentence in found)
    assert list(home.spill.iterdir()) == []
    assert list(home.published_folder("sandbox").iterdir()) == []
    with home.writing("the one after") as found:
        assert found == []


def test_a_run_may_ask_again_for_the_lock_it_holds(home: Warehouse) -> None:
    with home.writing("outer"):
        with home.writing("inner"):
            assert "outer" in home.holder_file.read_text()
        assert home.holder_file.exists()
    assert not home.holder_file.exists()


def test_a_process_has_one_connection_at_a_time(home: Warehouse) -> None:
    with home.connect(), pytest.raises(RuntimeError, match="already"), home.connect():
        pytest.fail("a second connection")
    with home.connect() as connection:
        assert connection.execute("select current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_a_build_file_open_elsewhere_is_an_error_of_its_own(home: Warehouse) -> None:
    code = f"import duckdb, sys; c = duckdb.connect({str(home.build_file)!r}); print(flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", code + "; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        with pytest.raises(WarehouseBusyError, match="another program"), home.connect():
            pytest.fail("two processes in one file")
    finally:
        process.communicate("")


def test_readers_get_the_newest_version_also_within_one_process(home: Warehouse) -> None:
    with (
        pytest.raises(NothingPublishedError, match="make run"),
        home.connect_published("production"),
    ):
        pytest.fail("nothing is there")
    published(home, "one.duckdb", 1)
    with home.connect_published("production") as first:
        published(home, "two.duckdb", 2)
        with home.connect_published("production") as second:
            assert first.execute("from production.t").fetchall() == [(1,)]
            assert second.execute("from production.t").fetchall() == [(2,)]


@pytest.mark.parametrize(
    "probe",
    [
        "insert into production.t values (9)",
        "from read_text('/etc/hostname')",
        "copy production.t to 'out.csv'",
        "attach 'other.duckdb'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set memory_limit = '1GB'",
    ],
)
def test_a_reader_can_neither_write_nor_reach_beyond_the_file(home: Warehouse, probe: str) -> None:
    published(home, "one.duckdb", 1)
    with home.connect_published("production") as connection, pytest.raises(duckdb.Error):
        connection.execute(probe)


def test_a_look_at_the_build_file_changes_nothing(home: Warehouse) -> None:
    with home.connect() as connection:
        connection.execute("create table here as select 1")
    with home.connect_to_read() as connection:
        assert connection.execute("from here").fetchall() == [(1,)]
        with pytest.raises(duckdb.Error):
            connection.execute("drop table here")
