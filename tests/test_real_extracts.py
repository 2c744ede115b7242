"""Figures of real extracts that are known independently of this project.

The extracts are not part of the project: they lie in `shared/data` beside the checkout, or the
tests are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from landing import land
from tests.conftest import ROOT
from tests.histories import Recording, Replay

DATA = ROOT.parent / "shared" / "data"
NOW = datetime(2026, 10, 2, tzinfo=UTC)

Ask = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def ask(request: pytest.FixtureRequest, recordings: dict[str, Recording]) -> Iterator[Ask]:
    """Questions to a warehouse with the extracts that the test names, landed and built."""
    folder = DATA / request.param
    if not folder.is_dir():
        pytest.skip(f"no real extracts in {folder}")
    warehouse = Replay(recordings, folder)
    land(warehouse.connection, folder, run_id="run_1", clock=NOW)
    warehouse.finish()
    yield lambda query: warehouse.connection.execute(query).fetchall()
    warehouse.close()


@pytest.mark.parametrize("ask", ["rails"], indirect=True)
def test_commits_of_a_repository(ask: Ask) -> None:
    assert ask(
        "select sum(lines), sum(rejected) from raw.landed_files where table_name = 'session_events'"
    ) == [(160_769, 1)]
    # an offset of 518 hours
    assert ask("select _file, reason, contains(payload, '+518:00') from raw.rejected_records") == [
        ("session_events/2011-08.jsonl.gz", "invalid_time", True)
    ]
    known = {date(2015, 6, 30): 103, date(2020, 2, 29): 59, date(2024, 12, 31): 78}
    mau = dict(ask("select activity_date, mau from production_marts.production.fct_mau_daily"))
    assert {day: mau[day] for day in known} == known


@pytest.mark.parametrize("ask", ["sshd"], indirect=True)
def test_sign_ins_of_a_host(ask: Ask) -> None:
    assert ask(
        "select sum(success_count), sum(failure_count) from"
        " production_marts.production.fct_auth_daily"
    ) == [(226, 632)]
