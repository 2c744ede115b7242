"""Landing finds every earlier copy by the first bits of its key, whoever else has the same bits."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landing import TABLES, land
from landing.keys import batches_with, count_unnamed, create_keys, is_in
from tests.landing_cases import CLOCK, Warehouse, entity, event
from tests.test_landing_properties import PYTHON, SQL, everything, quick

HERE = "2025-01-31T10:00:00Z"
EARLIER = "2025-01-31T09:00:00Z"

files = st.lists(
    st.lists(
        st.builds(
            lambda key, received, trace: event(
                id=f"evt_{key}", received_at=received, trace_id=trace
            ),
            st.integers(0, 12),
            st.sampled_from([HERE, EARLIER]),
            st.sampled_from(["one", "other"]),
        ),
        min_size=1,
        max_size=8,
    ),
    min_size=1,
    max_size=5,
)


def landed(contents: list[list[dict[str, Any]]], bits: int, fast_from: int) -> Warehouse:
    """A warehouse that told keys apart by so many bits while the files landed."""
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setattr("landing.keys.KEY_BITS", f"_key_hash >> {64 - bits}")
        patch.setattr("landing.lander.FAST_FROM_BYTES", fast_from)
        patch.setattr("landing.prescan.SLICE_BYTES", 1_000)
        warehouse = Warehouse(Path(home))
        for number, records in enumerate(contents):
            warehouse.write(f"auth_events/{number}.jsonl", records)
            warehouse.land()
        assert count_unnamed(warehouse.connection, "auth_events", 0)[1] == 0
        return warehouse


@quick
@given(files, st.sampled_from([SQL, PYTHON]))
def test_alike_bits_of_other_keys_change_nothing(
    contents: list[list[dict[str, Any]]], fast_from: int
) -> None:
    # of 13 keys some are alike in two bits, none in forty
    assert everything(landed(contents, 2, fast_from)) == everything(landed(contents, 40, fast_from))


def test_what_came_into_raw_some_other_way_is_found_too(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.land_one("auth_events/a.jsonl", [event(id="1"), event(id="2")])
    warehouse.land_one("users/a.jsonl", [entity("users")])
    warehouse.connection.execute("drop schema keys cascade")
    result = warehouse.land_one("auth_events/b.jsonl", [event(id="2"), event(id="3")])
    assert (result.accepted, result.duplicates) == (1, 1)
    for name in TABLES:
        assert count_unnamed(warehouse.connection, name, 0)[1] == 0
    # one a row: those that were there, and the one that was accepted
    assert warehouse.rows("select count(*) from keys.auth_events") == [(3,)]


def test_a_key_is_looked_for_in_the_batches_that_may_hold_it(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    for number in range(5):
        warehouse.land_one(f"auth_events/{number}.jsonl", [event(id=str(number))])
    keys = "select _key_hash from raw.auth_events where id in ('1', '3')"
    assert batches_with(warehouse.connection, "auth_events", keys) == [2, 4]
    assert batches_with(warehouse.connection, "auth_events", keys, up_to=3) == [2]
    assert is_in([]) == "false"
    assert is_in([4, 2]) == "_batch in (2, 4)"
    assert is_in(range(7, 300)) == "_batch between 7 and 299"


def test_landing_again_leaves_the_keys_alone(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.land_one("auth_events/a.jsonl", [event(id="1")])
    before = warehouse.rows("from keys.auth_events")
    warehouse.land_one("auth_events/b.jsonl", [event(id="1"), "oops"])
    create_keys(warehouse.connection)
    land(warehouse.connection, warehouse.folder, run_id="again", clock=CLOCK)
    assert warehouse.rows("from keys.auth_events") == before
