"""Figures of real extracts that are known independently of this project.

The extracts are not part of the project: they lie in `shared/data` beside the checkout, or the
tests are skipped.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import pytest
from conftest import ROOT, run_job

DATA = ROOT.parent / "shared" / "data"


def build(name: str, home: Path) -> Path:
    """Land and build one of the extracts; returns the home."""
    if not (DATA / name).is_dir():
        pytest.skip(f"no real extracts in {DATA / name}")
    done = run_job(home, DATA / name)
    assert done.returncode == 0, done.stdout + done.stderr
    return home


def test_commits_of_a_repository(tmp_path: Path) -> None:
    home = build("rails", tmp_path)
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute(
            "select sum(lines), sum(rejected) from raw.landed_files"
            " where table_name = 'session_events'"
        ).fetchall() == [(160_769, 1)]
        # an offset of 518 hours
        assert connection.execute(
            "select _file, reason, contains(payload, '+518:00') from raw.rejected_records"
        ).fetchall() == [("session_events/2011-08.jsonl.gz", "invalid_time", True)]
    known = {date(2015, 6, 30): 103, date(2020, 2, 29): 59, date(2024, 12, 31): 78}
    latest = home / "published" / "production" / "latest.duckdb"
    with duckdb.connect(str(latest), read_only=True) as connection:
        mau = dict(
            connection.execute("select activity_date, mau from production.fct_mau_daily").fetchall()
        )
    assert {day: mau[day] for day in known} == known


def test_sign_ins_of_a_host(tmp_path: Path) -> None:
    home = build("sshd", tmp_path)
    latest = home / "published" / "production" / "latest.duckdb"
    with duckdb.connect(str(latest), read_only=True) as connection:
        assert connection.execute(
            "select sum(success_count), sum(failure_count) from production.fct_auth_daily"
        ).fetchall() == [(226, 632)]
