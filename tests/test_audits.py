"""Reconciliation of the raw tables with the ledger, over what landing really leaves behind."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from benchmarks.steady import fill_history, write_day
from dagster_project.audits import account_for_every_line, find_landed_twice, find_strangers
from dagster_project.parts import DailyMart
from dagster_project.warehouse import ENVIRONMENTS
from landing import land
from landing.contract import TABLES


def login(received: str, outcome: str = "success") -> str:
    return json.dumps(
        {
            "id": "evt_1",
            "type": "login",
            "occurred_at": "2025-01-01T06:00:00Z",
            "received_at": f"2025-01-01T{received}:00Z",
            "environment": "production",
            "workspace_id": "ws_1",
            "project_id": "prj_1",
            "data": {"outcome": outcome},
        }
    )


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def land_file(connection: duckdb.DuckDBPyConnection, folder: Path, *lines: str) -> None:
    table = folder / "auth_events"
    table.mkdir(exist_ok=True)
    (table / f"{len(list(table.iterdir()))}.jsonl").write_text("\n".join(lines))
    land(connection, folder, run_id="run", clock=datetime(2025, 1, 2, tzinfo=UTC))


def test_rows_that_take_each_others_place_add_up(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    histories = [
        [login("10:00")],
        [login("09:00")],  # the same, received earlier: takes the place of its row
        [login("08:30"), login("08:00", "failure")],  # other content received earlier wins
        [login("07:30")],  # and loses to the first content, received earlier still
        [login("07:00", "failure"), "broken"],
    ]
    for number, lines in enumerate(histories, start=1):
        land_file(connection, tmp_path, *lines)
        (finding,) = account_for_every_line(connection, ["auth_events"])
        assert finding.is_passed, (number, finding.numbers)
        assert finding.numbers["rows"] == 1
    assert finding.numbers["lines"] == 7
    assert finding.numbers["rejected"] == 1


@pytest.mark.parametrize(
    "fault",
    [
        "delete from raw.auth_events",
        "insert into raw.auth_events from raw.auth_events",
        "delete from raw.rejected_records",
        "update raw.landed_files set lines = lines + 1",
        "delete from raw.received_lines",
        "update raw.received_lines set rejected_count = rejected_count + 1",
    ],
)
def test_a_row_that_goes_astray_is_found(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, fault: str
) -> None:
    land_file(connection, tmp_path, login("10:00"), "broken")
    (finding,) = account_for_every_line(connection, ["auth_events"])
    assert finding.is_passed
    connection.execute(fault)
    (finding,) = account_for_every_line(connection, ["auth_events"])
    assert not finding.is_passed


def test_a_history_that_a_benchmark_fills_in_is_as_landing_leaves_one(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    fill_history(connection, days=2, events_a_day=200)
    assert write_day(2, 200, tmp_path) > 200
    report = land(connection, tmp_path, run_id="run", clock=datetime(2025, 2, 1, tzinfo=UTC))
    assert all(file.status == "landed" and not file.rejected for file in report.files)
    findings = account_for_every_line(connection, list(TABLES))
    assert {finding.table for finding in findings if not finding.is_passed} == set()


def all_is_well(connection: duckdb.DuckDBPyConnection, *batches: int) -> None:
    for name, batch in zip(ENVIRONMENTS, batches, strict=True):
        connection.execute(
            f"create schema if not exists {name}_state;"
            f"create or replace table {name}_state.build as select {batch} as checked_batch"
        )


ONE_OF_BATCH_1 = "select {} from {}.auth_events where _batch = 1"


# 0: of an environment that was refreshed in full; the other one is asked for all the same
@pytest.mark.parametrize("checked", [(1, 1), (0, 1), (1, 2)])
@pytest.mark.parametrize(
    ("faults", "wrong"),
    [
        (
            # as if landing had not found the one that was there
            [
                f"update raw.auth_events set id = ({ONE_OF_BATCH_1.format('id', 'raw')}),"
                f" _key_hash = ({ONE_OF_BATCH_1.format('_key_hash', 'raw')}) where _batch = 2",
                f"update keys.auth_events set key_bits ="
                f" ({ONE_OF_BATCH_1.format('key_bits', 'keys')}) where _batch = 2",
            ],
            {"ids_twice": 1, "rows_without_key": 0},
        ),
        (
            ["delete from keys.auth_events where _batch = 2"],
            {"ids_twice": 0, "rows_without_key": 1},
        ),
    ],
)
def test_an_id_that_landed_before_is_found(
    connection: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    checked: tuple[int, int],
    faults: list[str],
    wrong: dict[str, int],
) -> None:
    land_file(connection, tmp_path, login("10:00"))
    (unasked,) = find_landed_twice(connection, ["auth_events"])
    assert unasked.is_passed
    assert not unasked.numbers
    all_is_well(connection, *checked)
    land_file(connection, tmp_path, login("10:00").replace("evt_1", "evt_2"))
    (finding,) = find_landed_twice(connection, ["auth_events"])
    assert finding.is_passed
    assert finding.numbers == {"landed_rows": 1, "ids_twice": 0, "rows_without_key": 0}
    for fault in faults:
        connection.execute(fault)
    (finding,) = find_landed_twice(connection, ["auth_events"])
    assert not finding.is_passed
    assert finding.numbers == {"landed_rows": 1, **wrong}


# the day's rows of another event table changed, its own, or none
@pytest.mark.parametrize(
    ("table", "day", "is_looked_at"),
    [
        ("auth_events", "2025-01-02", True),
        ("auth_events", "2025-01-03", False),
        ("session_events", "2025-01-02", False),
    ],
)
def test_of_a_mart_by_day_changed_days_are_looked_through(
    connection: duckdb.DuckDBPyConnection, table: str, day: str, is_looked_at: bool
) -> None:
    all_is_well(connection, 5, 5)
    connection.execute(
        f"""
        create schema production_intermediate;
        create table production_intermediate.int_days_changed as
            select '{table}' as source_table, date '{day}' as activity_date, 6 as _batch
            union all select 'auth_events', date '2025-01-04', 5
            union all select 'auth_events', null, 6;
        attach ':memory:' as production_marts;
        create schema production_marts.production;
        create table production_marts.production.fct_logins as
            select 'production' as environment, date '2025-01-02' as activity_date
            union all select 'sandbox', date '2025-01-02'
            union all select 'sandbox', date '2025-01-04'
        """
    )
    mart = DailyMart("fct_logins", "activity_date", "int_days_changed", "auth_events")
    (finding,) = find_strangers(connection, "production", ["fct_logins"], {"fct_logins": mart})
    assert finding.numbers == (
        {"rows": 2, "strangers": 1} if is_looked_at else {"rows": 0, "strangers": 0}
    )
    assert finding.is_passed is not is_looked_at
    (finding,) = find_strangers(connection, "production", ["fct_logins"])
    assert finding.numbers == {"rows": 3, "strangers": 2}
