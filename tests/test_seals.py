"""A sealed month never changes; what comes later is a numbered correction that names its cause.

The figures are worked out by hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dagster_project.seals import Sealing, seal_and_correct
from tests.histories import Build, Land, Record, Recording, Replay, of_marts

NOW = datetime(2025, 5, 4, 4, 22)
JANUARY, FEBRUARY = date(2025, 1, 1), date(2025, 2, 1)
ONLY_PRODUCTION = Build(("production",))


def login(key: str, user: str, day: str, workspace: str = "ws", **fields: Any) -> Record:
    return {
        "id": key,
        "type": "login",
        "occurred_at": f"{day}T10:00:00Z",
        "received_at": f"{day}T10:00:00Z",
        "environment": "production",
        "workspace_id": workspace,
        "project_id": "prj",
        "user_id": user,
        "data": {"outcome": "success", "provider": None, "method": "password"},
        **fields,
    }


def user(key: str, at: str, **fields: Any) -> Record:
    made = {"created_at": "2025-01-01T00:00:00Z", "updated_at": at}
    return {"id": key, "workspace_id": "ws", "kind": "human", **made, **fields}


LOOKED_AT = (
    "fct_mau_corrections",
    "fct_mau_monthly",
    "fct_mau_month_users",
    # by dagster_project/seals.py
    "int_mau_months_closed",
)


@pytest.fixture(scope="module")
def recordings(recordings: dict[str, Recording]) -> dict[str, Recording]:
    """Production alone, and of it the marts that are looked at."""
    return of_marts({"production": recordings["production"]}, *LOOKED_AT)


class Warehouse:
    """Lands, builds and seals; figures of published tables."""

    def __init__(self, recordings: dict[str, Recording], folder: Path) -> None:
        self.replay = Replay(recordings, folder)
        self.files = 0

    def land(self, table: str, *records: Record) -> int:
        """Land one file and build; returns its batch."""
        self.files += 1
        self.replay.land(Land(f"{table}/{self.files:03d}.jsonl", records))
        self.replay.build(ONLY_PRODUCTION)
        return self.rows("select max(_batch) from raw.landed_files")[0][0]

    def seal(self, now: datetime = NOW) -> Sealing:
        found = seal_and_correct(self.replay.connection, now)
        self.replay.build(ONLY_PRODUCTION)
        return found

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.replay.connection.execute(query).fetchall()

    def monthly(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "select workspace_id, month_start_date, mau, is_sealed, sealed_at, input_digest"
            " from production_marts.production.fct_mau_monthly order by all"
        )

    def corrections(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "select workspace_id, month_start_date, correction_number, mau_before, mau_after,"
            " caused_by_batch, event_ids"
            " from production_marts.production.fct_mau_corrections order by all"
        )


@pytest.fixture
def warehouse(recordings: dict[str, Recording], tmp_path: Path) -> Iterator[Warehouse]:
    made = Warehouse(recordings, tmp_path)
    # January: ada, twice, and bob as robert, who was merged; a service, a failure and a test
    # don't count. The last event, of 3 February, ends the grace period.
    made.land(
        "users",
        user("robert", "2025-01-02T00:00:00Z", merged_into="bob"),
        user("cron", "2025-01-02T00:00:00Z", kind="service"),
    )
    made.land(
        "auth_events",
        login("a1", "ada", "2025-01-05"),
        login("a2", "ada", "2025-01-31"),
        login("b1", "robert", "2025-01-09"),
        login("b2", "bob", "2025-01-10"),
        login("c1", "cron", "2025-01-10"),
        login("d1", "dan", "2025-01-10", is_test=True),
        login("a3", "ada", "2025-02-02"),
    )
    yield made
    made.replay.close()


DIGEST = hashlib.md5(b"ada\nbob").hexdigest()
SEALED = ("ws", JANUARY, 2, True, NOW, DIGEST)
OPEN = ("ws", FEBRUARY, 1, False, None, None)


@pytest.fixture
def sealed(warehouse: Warehouse) -> Warehouse:
    warehouse.land("auth_events", login("e1", "ada", "2025-02-03"))
    assert warehouse.seal() == Sealing(seals=1, corrections=0)
    return warehouse


def test_a_month_is_sealed_when_its_grace_period_is_over(warehouse: Warehouse) -> None:
    open_january = ("ws", JANUARY, 2, False, None, None)
    assert warehouse.seal() == Sealing(0, 0)  # the last day is 2 February
    assert warehouse.monthly() == [open_january, OPEN]
    warehouse.land("auth_events", login("e1", "ada", "2025-02-03"))
    assert warehouse.monthly() == [open_january, OPEN]
    assert warehouse.seal() == Sealing(1, 0)
    assert warehouse.monthly() == [SEALED, OPEN]
    assert warehouse.seal() == Sealing(0, 0)


def test_a_late_user_is_a_correction_with_batch_and_events(sealed: Warehouse) -> None:
    sealed.land("auth_events", login("a9", "ada", "2025-01-20"))  # who is counted already
    first = sealed.land(
        "auth_events",
        login("f2", "fay", "2025-01-21"),
        login("f1", "fay", "2025-01-20"),
        login("g1", "gus", "2025-02-01"),
    )
    second = sealed.land(
        "auth_events", login("f3", "fay", "2025-01-22"), login("g2", "gus", "2025-01-31")
    )
    assert sealed.seal() == Sealing(0, 2)
    assert sealed.corrections() == [
        ("ws", JANUARY, 1, 2, 3, first, ["f1", "f2"]),
        ("ws", JANUARY, 2, 3, 4, second, ["g2"]),
    ]
    assert sealed.monthly() == [SEALED, ("ws", FEBRUARY, 2, False, None, None)]
    assert sealed.seal() == Sealing(0, 0)


def test_identities_stay_as_they_were_known(sealed: Warehouse) -> None:
    # merged, unmerged and turned into a service after the seal: nothing is corrected; and who was
    # merged then is not counted again when they are active as themselves
    sealed.land(
        "users",
        user("ada", "2025-02-01T00:00:00Z", merged_into="bob"),
        user("robert", "2025-02-01T00:00:00Z"),
        user("bob", "2025-02-01T00:00:00Z", kind="bot"),
    )
    sealed.land(
        "auth_events",
        login("b9", "robert", "2025-01-28"),
        login("c9", "cron", "2025-01-28"),
    )
    assert sealed.seal() == Sealing(0, 0)
    assert sealed.monthly()[0] == SEALED


def test_a_user_who_was_never_there_is_taken_out(sealed: Warehouse) -> None:
    # robert's and bob's only events of January turn out to be copies of what was received earlier:
    # in February, and by somebody else
    moved = login("b1", "robert", "2025-02-01", received_at="2025-01-01T00:00:00Z")
    moved["occurred_at"] = "2025-01-01T00:00:00Z"
    moved["user_id"] = "hal"
    batch = sealed.land("auth_events", moved)
    other = login("b2", "bob", "2025-01-10", received_at="2025-01-09T00:00:00Z", is_test=True)
    other["occurred_at"] = "2025-01-09T00:00:00Z"
    last = sealed.land("auth_events", other)
    assert sealed.seal() == Sealing(0, 2)
    assert sealed.corrections() == [
        ("ws", JANUARY, 1, 2, 3, batch, ["b1"]),
        ("ws", JANUARY, 2, 3, 2, last, ["b2"]),
    ]
    assert sealed.monthly()[0] == SEALED
    again = sealed.land("auth_events", login("b3", "robert", "2025-01-11"))
    assert sealed.seal() == Sealing(0, 1)
    assert sealed.corrections()[-1] == ("ws", JANUARY, 3, 2, 3, again, ["b3"])


def test_a_workspace_without_anybody_is_corrected_from_nobody(sealed: Warehouse) -> None:
    batch = sealed.land("auth_events", login("z1", "zoe", "2025-01-20", workspace="other"))
    assert sealed.seal() == Sealing(0, 1)
    assert sealed.corrections() == [("other", JANUARY, 1, 0, 1, batch, ["z1"])]
    nobody = hashlib.md5(b"").hexdigest()
    assert sealed.monthly() == [("other", JANUARY, 0, True, NOW, nobody), SEALED, OPEN]


def test_seals_survive_a_full_refresh(sealed: Warehouse) -> None:
    sealed.land("auth_events", login("f1", "fay", "2025-01-20"))
    sealed.seal()
    before = sealed.monthly(), sealed.corrections()
    sealed.replay.build(Build(("production",), kind="refresh"))
    assert (sealed.monthly(), sealed.corrections()) == before
    assert sealed.seal() == Sealing(0, 0)


def test_nothing_is_sealed_in_part(sealed: Warehouse) -> None:
    sealed.land("auth_events", login("f1", "fay", "2025-01-20"), login("f2", "fay", "2025-03-04"))
    with pytest.raises(duckdb.Error):
        seal_and_correct(sealed.replay.connection, "no time")  # type: ignore[arg-type]
    assert sealed.monthly()[0] == SEALED
    assert sealed.corrections() == []
    assert sealed.seal() == Sealing(1, 1)
