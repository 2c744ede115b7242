"""`make run` as a user meets it: exit codes, what it says, what it leaves alone."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from dagster_project import progress, reporting, run, snapshots
from dagster_project.reporting import Environment, GroupedFiles, Landing, Outcome, Rejection
from dagster_project.warehouse import Warehouse
from landing import FileResult
from tests.conftest import (
    ROOT,
    SharedRuns,
    add_extract,
    job_environment,
    published_names,
    run_job,
)

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def landing_copy(demo_landing: Path, tmp_path: Path) -> Path:
    # copy2 keeps the times by which the ledger knows a file
    return Path(shutil.copytree(demo_landing, tmp_path / "landing"))


# the real job


def test_a_run_from_nothing_publishes_both_environments_and_says_so(
    demo_run: tuple[Path, Done],
) -> None:
    home, done = demo_run
    assert done.stderr == ""
    assert {snapshots.parse_version(name).number for name in published_names(home).values()} == {1}  # type: ignore[union-attr]
    lines = done.stdout.splitlines()
    for phase in ("Landing extracts", "Building production", "Publishing sandbox"):
        assert phase in lines
    assert any(re.fullmatch(r"  auth_events: \d+ files, .* rows.*", line) for line in lines)
    assert any(re.fullmatch(r"  fct_auth_daily  \d+\.\d\d s", line) for line in lines)
    summary = lines[next(i for i, line in enumerate(lines) if line.startswith("All well")) :]
    assert len(summary) <= 40
    text = "\n".join(summary)
    for said in ("duplicate", "rejected", "first at", "MAU", "of sign-ins succeeded", "passed"):
        assert said in text
    assert "make ui" in text


def test_a_run_with_nothing_to_do_publishes_nothing(demo_copy: Path, demo_landing: Path) -> None:
    before = published_names(demo_copy)
    marts = {path: path.stat().st_mtime_ns for path in (demo_copy / "marts").iterdir()}
    done = run_job(demo_copy, demo_landing)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing new" in done.stdout
    assert "Building" not in done.stdout
    assert published_names(demo_copy) == before
    assert {path: path.stat().st_mtime_ns for path in marts} == marts


def test_a_failed_check_leaves_what_was_published_and_gives_1(
    demo_copy: Path, landing_copy: Path
) -> None:
    before = published_names(demo_copy)
    with Warehouse(demo_copy, landing_copy).connect() as connection:
        connection.execute(
            "delete from raw.auth_events where rowid = (select min(rowid) from raw.auth_events)"
        )
    add_extract(landing_copy, "2026-09-29-late")
    done = run_job(demo_copy, landing_copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED raw.auth_events: every_line_is_accounted_for" in done.stdout
    assert "what was published before still stands" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert published_names(demo_copy) == before


def test_the_run_after_a_kill_says_what_it_found_and_heals(shared_runs: SharedRuns) -> None:
    # a bad file is told of and stops nothing
    assert any(line.startswith("  ! users/cut.jsonl.gz") for line in shared_runs.killed_said)
    before, after_kill, healed = shared_runs.published
    assert after_kill == before
    done = shared_runs.done[0]
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"an earlier run did not end by itself (process {shared_runs.killed}" in done.stdout
    assert healed["production"] > before["production"]
    at = Warehouse(shared_runs.place / "home", shared_runs.place / "landing")
    with at.connect_published("production") as connection:
        logins = "select count(*) from production.fct_logins where user_id = 'usr_late'"
        assert connection.execute(logins).fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ROLLCALL_ENGINE": "oracle"}, "ROLLCALL_ENGINE is 'oracle'"),
        ({"ROLLCALL_LANDING": "/there/is/no/such/folder"}, "there is no such folder"),
        ({"ROLLCALL_HOME": str(Path(__file__))}, "which is a file"),
        ({"ROLLCALL_HOME": "/proc/nowhere"}, "can't be written to"),
        ({"ROLLCALL_MEMORY": "plenty"}, "ROLLCALL_MEMORY is 'plenty'"),
    ],
)
def test_a_configuration_error_is_one_line_and_gives_2(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    done = run_job(tmp_path / "home", **settings)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_an_unknown_argument_gives_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagster_project.run", "--fast"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=job_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--fast" in done.stderr


def test_a_second_run_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    at = Warehouse(tmp_path / "home", tmp_path)
    with at.writing("a test"):
        done = run_job(at.home, tmp_path, ROLLCALL_LOCK_SECONDS="0.1")
    assert done.returncode == 2
    assert "a test, since" in done.stderr
    assert "ROLLCALL_LOCK_SECONDS" in done.stderr


def test_demo_extracts_are_made_in_the_default_folder_only_and_only_when_it_is_empty(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    own = tmp_path / "own"
    own.mkdir()
    run.make_demo_extracts(Warehouse(tmp_path / "home", own), said.append)
    assert list(own.iterdir()) == []
    at = Warehouse(tmp_path / "home", tmp_path / "home" / "landing")
    at.landing.mkdir(parents=True)
    run.make_demo_extracts(at, said.append)
    assert len(said) == 1
    names = sorted(path.name for path in at.landing.iterdir())
    assert "auth_events" in names
    shutil.rmtree(at.landing / "auth_events")
    run.make_demo_extracts(at, said.append)
    assert len(said) == 1


def test_the_instance_gets_the_committed_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Warehouse(tmp_path, tmp_path)
    for name in at.variables():
        monkeypatch.setenv(name, "")
    at.prepare_folders()
    (at.dagster_home / "dagster.yaml").write_text("of an older version")
    run.prepare_instance(at)
    assert (at.dagster_home / "dagster.yaml").read_bytes() == (ROOT / "dagster.yaml").read_bytes()


# what it says


def file(path: str, table: str | None = "auth_events", **more: object) -> FileResult:
    numbers = {"lines": 10, "accepted": 8, "duplicates": 1, "conflicts": 0, "rejected": 1}
    settled = {"status": "landed", "reason": None, "batch": 1, "seconds": 0.1}
    return FileResult(path=path, table_name=table, **{**numbers, **settled, **more})  # type: ignore[arg-type]


def test_files_are_told_in_groups_and_bad_ones_at_once() -> None:
    said: list[str] = []
    complained: list[str] = []
    groups = GroupedFiles(said.append, complained.append)
    for number in range(reporting.FILES_A_LINE + 1):
        groups.add(file(f"auth_events/{number}.jsonl"))
    bad = {"status": "failed", "reason": "file_unknown_table", "accepted": 0, "lines": 0}
    groups.add(file("nowhere/a.jsonl", None, **bad))
    groups.add(file("users/a.jsonl", "users"))
    groups.finish()
    groups.finish()
    assert said == [
        "auth_events: 50 files, 400 rows, 50 duplicates, 50 rejected",
        "auth_events: 1 file, 8 rows, 1 duplicate, 1 rejected",
        "users: 1 file, 8 rows, 1 duplicate, 1 rejected",
    ]
    assert len(complained) == 1
    assert complained[0].startswith("nowhere/a.jsonl")


NUMBERS = {
    "files": 3,
    "lines": 100,
    "accepted": 90,
    "duplicates": 5,
    "conflicts": 2,
    "rejected": 3,
    "failed_files": 1,
}
OUTCOME = Outcome(
    is_success=True,
    seconds=12.34,
    landing=Landing(
        NUMBERS,
        total_rows=1090,
        total_files=13,
        rejections=[Rejection("invalid_json", 2, "auth_events/a.jsonl", 7)],
        bad_files=["auth_events/b.jsonl.gz: the file is cut short. Send it again."],
    ),
    environments=[
        Environment(
            "production",
            rows={"fct_a": 1200, "fct_b": 34},
            seconds={"fct_a": 0.5, "fct_b": 1.5},
            published="latest.duckdb -> v000002_b7_0123456789ab",
            is_new=True,
            mau=(date(2026, 9, 30), 1234),
            sign_in_rate=(date(2026, 9, 29), 0.9515),
        ),
        Environment("sandbox"),
    ],
    checks_passed=41,
    checks_warned=["production.fct_a: unique_b"],
    checks_failed=[],
    failed_steps={},
    home=".rollcall",
    landing_folder=".rollcall/landing",
    log=".rollcall/run.log",
)


def test_the_summary_says_what_an_operator_asks_first() -> None:
    text = reporting.summarize(OUTCOME)
    for said in (
        "All well  (12.3 s)",
        "3 files, 90 rows, 5 duplicates, 2 id conflicts, 3 rejected, 1 not landed",
        "so far 1,090 rows, 13 files",
        "2 invalid_json, first at auth_events/a.jsonl:7",
        "raw.rejected_records",
        "auth_events/b.jsonl.gz: the file is cut short",
        "2 marts, 1,234 rows, built in 2.0 s (longest: fct_b 1.5 s)",
        "MAU 1,234 on 2026-09-30, 95.2% of sign-ins succeeded on 2026-09-29",
        "new: latest.duckdb -> v000002_b7_0123456789ab",
        "nothing published yet",
        "41 passed, 1 with a warning",
        "production.fct_a: unique_b",
        "make ui",
    ):
        assert said in text
    assert len(text.splitlines()) <= 40


def test_the_summary_of_a_failed_run_names_what_failed_and_where_to_look() -> None:
    failed = replace(
        OUTCOME,
        is_success=False,
        checks_failed=[f"production.fct_a: check_{number}" for number in range(20)],
        failed_steps={"build_production": "Database Error in model fct_a"},
    )
    text = reporting.summarize(failed)
    assert text.startswith("Failed: what was published before still stands")
    assert "20 failed" in text
    assert "production.fct_a: check_0" in text
    assert "build_production: Database Error in model fct_a" in text
    assert "more in .rollcall/run.log" in text
    assert len(text.splitlines()) <= 45


def test_the_summary_of_an_idle_run_and_of_one_that_never_landed() -> None:
    landing = Landing(dict.fromkeys(NUMBERS, 0), total_rows=5, total_files=1)
    assert "nothing new in .rollcall/landing" in reporting.summarize(
        replace(OUTCOME, landing=landing)
    )
    assert "not reached" in reporting.summarize(replace(OUTCOME, landing=None))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("land_extracts", "Landing extracts"),
        ("build_production", "Building production"),
        ("publish_sandbox", "Publishing sandbox"),
        ("send_invoices", "Send invoices"),
    ],
)
def test_steps_are_announced_in_words(step: str, said: str) -> None:
    assert progress.heading(step) == said


def test_only_our_own_sentences_reach_the_console() -> None:
    lines: list[str] = []
    log = logging.Logger("test", logging.DEBUG)
    log.addHandler(progress.ProgressHandler(lines.append))
    log.info("what Dagster tells its event log")
    log.error("a list of steps left out")
    progress.sayer(log)("auth_events: 1 file")
    progress.sayer(log, logging.WARNING)("a file is cut short")
    assert lines == ["  auth_events: 1 file", "  ! a file is cut short"]


def test_want_of_memory_is_told_in_our_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLCALL_MEMORY", "24MB")
    lacking = (
        "Out of Memory Error: could not allocate block of size 256.0 KiB (18.8 MiB/19.0 MiB used)\n"
        "\nPossible solutions:\n* Increasing the memory limit (SET memory_limit='...GB')\n"
    )
    told = progress.in_one_line(lacking)
    assert told.startswith("Out of Memory Error: could not allocate block") and "SET" not in told
    assert "ROLLCALL_MEMORY is 24MB: set more (4GB, 80%) or unset it, and run again." in told
    # of dbt what its log says, not how it was called
    of_dbt = "The dbt CLI process with command `dbt build` failed with exit code `1`."
    many = "\n".join(f"{n} of 9 ERROR creating sql model fct_{n}" for n in range(9))
    told = progress.in_one_line(f"{of_dbt}\n\nErrors parsed from dbt logs:\n\n{many}\n{lacking}")
    assert told.startswith("0 of 9 ERROR creating") and "24MB" in told
    assert progress.in_one_line("Database Error in model fct_a") == "Database Error in model fct_a"


def test_the_cause_of_a_failure_is_the_innermost_message() -> None:
    inner = SimpleNamespace(message="Error: no\n  such table\n", cause=None)
    outer = SimpleNamespace(message="step failed", cause=inner)
    assert progress.cause(outer) == "Error: no such table"
