"""Memberships and loyalty: the marts against the definitions in plain Python, and cases by hand.

Everything lands as files and is built as in a run, by replay (histories.py). What readers find is
compared: of marts that are published by day, what publishing kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import oracle
import pytest

from tests.histories import Build, Land, Record, Recording, Replay, differences, of_marts

PRODUCTION = Build(("production",))
PLACE = {"workspace_id": "ws_1", "project_id": "prj_a"}


LOOKED_AT = (
    "fct_loyalty_balances",
    "fct_loyalty_daily",
    "fct_loyalty_events",
    "fct_memberships_daily",
    "fct_membership_changes",
)


@pytest.fixture(scope="module")
def recordings(recordings: dict[str, Recording]) -> dict[str, Recording]:
    """Production alone, and of it the marts that are looked at."""
    return of_marts({"production": recordings["production"]}, *LOOKED_AT)


class Warehouse:
    """A warehouse of production that lands records and is built, and what readers find there."""

    def __init__(self, recordings: dict[str, Recording], folder: Path) -> None:
        self.replay = Replay(recordings, folder)
        self.recording = recordings["production"]
        self.files = 0

    def take(self, **records: list[Record]) -> None:
        """Land records, a file a table, and build."""
        for table, its_records in records.items():
            self.files += 1
            self.replay.take(Land(f"{table}/{self.files}.jsonl", tuple(its_records)))
        self.replay.take(PRODUCTION)

    def read(self, mart: str, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        """Rows of a mart in the order of these columns, as published."""
        node = next(node for node in self.recording.marts if node.name == mart)
        address = self.replay.address("production", node)
        query = f"select {columns} from {address} where {where} order by all"
        return self.replay.connection.execute(query).fetchall()

    def members(self, project: str = "prj_a") -> list[tuple[int, int]]:
        """(day of the month, members at its end) of a project."""
        columns = "day(activity_date), member_count_at_end"
        return self.read("fct_memberships_daily", columns, f"project_id = '{project}'")

    def looked_up(self) -> dict[str, str | None]:
        """Loyalty event → its membership."""
        return dict(self.read("fct_loyalty_events", "event_id, membership_id"))


@pytest.fixture
def warehouse(recordings: dict[str, Recording], tmp_path: Path) -> Iterator[Warehouse]:
    found = Warehouse(recordings, tmp_path)
    yield found
    # whatever happened, it is what one build makes of the same files
    assert differences(found.replay) == {}
    found.replay.close()


def at(day: int, hour: float = 12) -> str:
    """A time of January 2025."""
    found = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day - 1, hours=hour)
    return found.isoformat(timespec="microseconds")


def make(prefix: str, table_type: str) -> Callable[..., Record]:
    """Events of one table, numbered."""
    made = iter(range(10**6))

    def event(kind: str, time: str, user: str | None = "ann", **fields: Any) -> Record:
        data = {
            key: fields.pop(key)
            for key in ("membership_id", "role", "points", "program_id", "tier")
            if key in fields
        }
        found = {
            "id": f"{prefix}_{next(made)}",
            "type": table_type.format(kind),
            "occurred_at": time,
            "environment": "production",
            "user_id": user,
            "data": data,
            **PLACE,
            **fields,
        }
        return {key: value for key, value in found.items() if value is not None}

    return event


change = make("chg", "membership.{}")
moved = make("mov", "points.{}")
tier = make("tir", "{}.changed")


def user(name: str, into: str | None = None, kind: str = "human", version: int = 1) -> Record:
    """A version of a user."""
    found = {"id": name, "workspace_id": "ws_1", "kind": kind, "merged_into": into}
    found |= {"created_at": at(1), "updated_at": at(version)}
    return {key: value for key, value in found.items() if value is not None}


LAST_DAY = moved("earned", at(8), user="somebody", points=1, project_id="prj_other")


# ---- against the definitions


DAYS = 5
TIMES = (0, 12, 12, 12.5, 23.999)
USERS = ("ann", "ann_2", "ann_3", "bob", "robot", "cy", None)
MERGED = {"ann": "ann_2", "ann_2": "ann_3"}
KINDS = {"robot": "service"}


def some_events(chance: random.Random, count: int) -> dict[str, list[Record]]:
    """Membership and loyalty events that often meet, also to the instant."""
    found: dict[str, list[Record]] = {"membership_events": [], "loyalty_events": []}
    ids = list(range(count))
    chance.shuffle(ids)
    for number in ids:
        is_change = chance.random() < 0.5
        if is_change:
            kind = "membership." + chance.choice(("invited", "added", "removed", "role_changed"))
            data = {"membership_id": chance.choice((None, *(f"mem_{n}" for n in range(9))))}
        else:
            kinds = [f"points.{kind}" for kind in oracle.POINTS] + ["tier.changed"] * 2
            kind = chance.choice([*kinds, "reward.claimed"])
            data = {
                "program_id": chance.choice((None, "gold_club", "gold_club", "miles")),
                "membership_id": chance.choice((None, None, None, "mem_own")),
                "tier": chance.choice((None, "gold", "silver")),
                "points": chance.choice((0, 1, 7, 100)) * (-1 if kind == "points.adjusted" else 1),
            }
        workspace, project = chance.choice(
            (("ws_1", "prj_a"), ("ws_1", "prj_b"), ("ws_2", "prj_c"))
        )
        event = {
            "id": f"evt_{number:05}",
            "type": kind,
            "occurred_at": at(chance.randrange(DAYS) + 1, chance.choice(TIMES)),
            "environment": "production",
            "workspace_id": workspace,
            "project_id": project,
            "user_id": chance.choice(USERS),
            "is_test": True if chance.random() < 0.15 else None,
            "impersonator_id": "support" if chance.random() < 0.15 else None,
            "data": {key: value for key, value in data.items() if value is not None},
        }
        table = "membership_events" if is_change else "loyalty_events"
        found[table].append({key: value for key, value in event.items() if value is not None})
    return found


@pytest.mark.parametrize("seed", range(6))
def test_marts_follow_the_definitions(warehouse: Warehouse, seed: int) -> None:
    found = some_events(random.Random(seed), (40, 150, 500)[seed % 3])
    users = [user(name, into) for name, into in MERGED.items()]
    users += [user(name, kind=kind) for name, kind in KINDS.items()]
    warehouse.take(users=users, **found)

    parsed = {
        table: [
            event | {"occurred_at": datetime.fromisoformat(event["occurred_at"])}
            for event in events
        ]
        for table, events in found.items()
    }
    changes, movements = parsed["membership_events"], parsed["loyalty_events"]
    last_day = max(
        oracle.time_of(event).date() for event in [*changes, *movements] if not event.get("is_test")
    )

    assert warehouse.read(
        "fct_membership_changes", "workspace_id, event_id, user_id, membership_id"
    ) == sorted(
        (
            event["workspace_id"],
            event["id"],
            oracle.surviving_user(event, MERGED),
            oracle.membership_of(event, changes, MERGED),
        )
        for event in changes
    )
    assert warehouse.read(
        "fct_loyalty_events", "workspace_id, event_id, user_id, membership_id"
    ) == sorted(
        (
            event["workspace_id"],
            event["id"],
            oracle.surviving_user(event, MERGED),
            oracle.membership_of(event, changes, MERGED),
        )
        for event in movements
    )
    counts = ", ".join(f"{kind}_count" for kind in oracle.MEMBERSHIP_CHANGES)
    rows = warehouse.read(
        "fct_memberships_daily",
        f"workspace_id, project_id, activity_date, {counts}, member_count_at_end",
    )
    assert {row[:3]: row[3:] for row in rows} == oracle.memberships_by_day(
        changes, MERGED, last_day
    )
    points = ", ".join(f"{kind}_points" for kind in oracle.POINTS)
    rows = warehouse.read(
        "fct_loyalty_daily",
        f"workspace_id, project_id, program_id, activity_date, {points}, reward_count,"
        " tier_change_count, active_member_count",
    )
    assert {row[:4]: row[4:] for row in rows} == oracle.loyalty_by_day(movements, KINDS, MERGED)
    rows = warehouse.read(
        "fct_loyalty_balances",
        "workspace_id, project_id, program_id, user_id, balance, tier, last_event_at",
    )
    assert {row[:4]: (*row[4:6], row[6].replace(tzinfo=UTC)) for row in rows} == (
        oracle.loyalty_balances(movements, MERGED)
    )


# ---- by hand


def test_two_projects_share_a_user(warehouse: Warehouse) -> None:
    warehouse.take(
        membership_events=[
            change("added", at(2), membership_id="mem_a"),
            change("added", at(3), membership_id="mem_b", project_id="prj_b"),
            change("removed", at(4), membership_id="mem_a"),
        ],
        loyalty_events=[
            moved("earned", at(5), points=3, id="in_a"),
            moved("earned", at(5), points=4, id="in_b", project_id="prj_b"),
            moved("earned", at(2.5), points=5, id="too_early", project_id="prj_b"),
        ],
    )
    assert warehouse.members("prj_a") == [(2, 1), (3, 1), (4, 0), (5, 0)]
    assert warehouse.members("prj_b") == [(3, 1), (4, 1), (5, 1)]
    assert warehouse.looked_up() == {"in_a": "mem_a", "in_b": "mem_b", "too_early": None}
    balances = warehouse.read("fct_loyalty_balances", "project_id, user_id, balance")
    assert balances == [("prj_a", "ann", 3), ("prj_b", "ann", 9)]


def test_a_user_merged_twice_in_a_chain_is_one(warehouse: Warehouse) -> None:
    warehouse.take(
        membership_events=[
            change("added", at(2), "ann", membership_id="mem_1"),
            change("added", at(3), "ann_2", membership_id="mem_2"),
            change("removed", at(4), "ann_3"),
        ],
        loyalty_events=[
            moved("earned", at(2, 13), "ann_3", points=10, id="first"),
            moved("redeemed", at(3, 13), "ann", points=3, id="second"),
            moved("adjusted", at(4, 13), "ann_2", points=-1, id="third"),
            tier("tier", at(3), "ann", tier="gold"),
            tier("tier", at(2), "ann_2", tier="silver"),
        ],
    )
    assert warehouse.members() == [(2, 1), (3, 2), (4, 2)]
    assert warehouse.looked_up()["first"] is None

    warehouse.take(users=[user("ann", "ann_2")])
    assert warehouse.members() == [(2, 1), (3, 1), (4, 1)]
    warehouse.take(users=[user("ann_2", "ann_3")])
    assert warehouse.members() == [(2, 1), (3, 1), (4, 0)]
    found = warehouse.looked_up()
    assert [found[key] for key in ("first", "second", "third")] == ["mem_1", "mem_2", "mem_2"]
    balances = warehouse.read("fct_loyalty_balances", "user_id, balance, tier")
    assert balances == [("ann_3", 6, "gold")]

    warehouse.take(users=[user("ann", version=2)])  # parted again
    assert warehouse.members() == [(2, 1), (3, 2), (4, 1)]
    found = warehouse.looked_up()
    assert [found[key] for key in ("first", "second", "third")] == [None, "mem_1", "mem_2"]
    balances = warehouse.read("fct_loyalty_balances", "user_id, balance, tier")
    assert balances == [("ann", -3, "gold"), ("ann_3", 9, "silver")]


def test_impersonated_acts_and_services_count_but_are_no_active_members(
    warehouse: Warehouse,
) -> None:
    warehouse.take(
        users=[user("robot", kind="service"), user("crawler", kind="bot")],
        membership_events=[
            change("added", at(2), "robot"),
            change("added", at(2), "ann", impersonator_id="support"),
        ],
        loyalty_events=[
            moved("earned", at(2), "robot", points=1),
            moved("earned", at(2), "crawler", points=2),
            moved("earned", at(2), "ann", points=4, impersonator_id="support"),
            moved("earned", at(2), None, points=8),
            moved("earned", at(2), "bob", points=16),
            moved("earned", at(2, 13), "bob", points=32),
        ],
    )
    assert warehouse.members() == [(2, 2)]
    daily = warehouse.read("fct_loyalty_daily", "earned_points, active_member_count")
    assert daily == [(63, 1)]
    assert warehouse.read("fct_loyalty_balances", "balance, user_id") == [
        *((1, "robot"), (2, "crawler"), (4, "ann"), (8, None), (48, "bob")),
    ]
    # a person turns out to be a service
    warehouse.take(users=[user("bob", kind="service")])
    daily = warehouse.read("fct_loyalty_daily", "earned_points, active_member_count")
    assert daily == [(63, 0)]


def test_removed_and_added_again_in_one_day(warehouse: Warehouse) -> None:
    warehouse.take(
        loyalty_events=[LAST_DAY],
        membership_events=[
            change("added", at(2)),
            change("removed", at(4, 10)),
            change("added", at(4, 11)),
            change("removed", at(6, 10)),
        ],
    )
    assert warehouse.members() == [(2, 1), (3, 1), (4, 1), (5, 1), (6, 0), (7, 0), (8, 0)]
    columns = "day(activity_date), added_count, removed_count"
    days = warehouse.read("fct_memberships_daily", columns, "added_count + removed_count > 0")
    assert days == [(2, 1, 0), (4, 1, 1), (6, 0, 1)]
    # the removal of the 4th turns out to have come after the addition
    warehouse.take(membership_events=[change("removed", at(4, 12))])
    assert warehouse.members() == [(2, 1), (3, 1), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)]


def test_a_late_membership_is_known_to_what_came_after_it(warehouse: Warehouse) -> None:
    warehouse.take(
        membership_events=[change("added", at(2), membership_id="mem_1")],
        loyalty_events=[
            moved("earned", at(3), points=1, id="before"),
            moved("earned", at(5), points=1, id="after"),
            moved("earned", at(6), points=1, id="own", membership_id="mem_own"),
            moved("earned", at(7), "bob", points=1, id="other"),
        ],
    )
    known = {"before": "mem_1", "after": "mem_1", "own": "mem_own", "other": None}
    assert warehouse.looked_up() == known
    warehouse.take(membership_events=[change("added", at(4), membership_id="mem_2", id="late")])
    assert warehouse.looked_up() == known | {"after": "mem_2"}
    # a copy that was received earlier says that it was bob's, and of another day
    copy = change("added", at(1), "bob", membership_id="mem_3", id="late")
    warehouse.take(membership_events=[copy | {"received_at": at(1)}])
    assert warehouse.looked_up() == known | {"other": "mem_3"}
    assert warehouse.members() == [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (6, 2), (7, 2)]


def test_at_one_instant_the_greatest_id_tells(warehouse: Warehouse) -> None:
    warehouse.take(
        membership_events=[
            change("removed", at(2), id="b", membership_id="mem_b"),
            change("added", at(2), id="c", membership_id="mem_c"),
            change("removed", at(2), id="a", membership_id="mem_a"),
        ],
        loyalty_events=[
            moved("earned", at(2), points=1, id="same"),
            tier("tier", at(2), tier="gold", id="y"),
            tier("tier", at(2), tier="silver", id="x"),
        ],
    )
    assert warehouse.members() == [(2, 1)]
    assert warehouse.looked_up()["same"] == "mem_c"
    assert warehouse.read("fct_loyalty_balances", "tier", "program_id is null") == [("gold",)]


def test_tests_are_kept_and_counted_nowhere(warehouse: Warehouse) -> None:
    warehouse.take(
        membership_events=[
            change("added", at(2), membership_id="mem_1"),
            change("removed", at(3), membership_id="mem_test", is_test=True),
            change("added", at(3), "eve", project_id="prj_b", is_test=True),
        ],
        loyalty_events=[
            moved("earned", at(4), points=1, id="real"),
            moved("earned", at(4), points=100, id="test", is_test=True),
            moved("earned", at(5), "eve", points=100, id="alone", is_test=True),
        ],
    )
    assert warehouse.looked_up() == {"real": "mem_1", "test": "mem_test", "alone": None}
    assert len(warehouse.read("fct_membership_changes", "event_id")) == 3
    # the 5th is no day of the environment, a project of tests has no rows
    assert warehouse.members() == [(2, 1), (3, 1), (4, 1)]
    assert warehouse.members("prj_b") == []
    assert warehouse.read("fct_loyalty_daily", "earned_points") == [(1,)]
    assert warehouse.read("fct_loyalty_balances", "user_id, balance") == [("ann", 1)]


def test_rows_end_with_the_environment_and_begin_with_the_project(warehouse: Warehouse) -> None:
    first = change("added", at(3), id="first", received_at=at(4))
    warehouse.take(membership_events=[first, change("added", at(4), "bob")])
    assert warehouse.members() == [(3, 1), (4, 2)]
    last = moved("earned", at(6), points=1, project_id="prj_b", received_at=at(7))
    warehouse.take(loyalty_events=[last])
    assert warehouse.members() == [(3, 1), (4, 2), (5, 2), (6, 2)]
    # what made the last day turns out to be a test: this copy was received earlier
    warehouse.take(loyalty_events=[last | {"is_test": True, "received_at": at(6)}])
    assert warehouse.members() == [(3, 1), (4, 2)]
    # and the project's first event one of another project
    other = first | {"project_id": "prj_b", "received_at": at(3)}
    warehouse.take(membership_events=[other])
    assert warehouse.members() == [(4, 1)]
    assert warehouse.members("prj_b") == [(3, 1), (4, 1)]
    warehouse.take(membership_events=[change("added", at(1, 0), "cy")])
    assert warehouse.members() == [(1, 1), (2, 1), (3, 1), (4, 2)]


def test_loyalty_without_user_or_program_is_not_lost(warehouse: Warehouse) -> None:
    warehouse.take(
        loyalty_events=[
            moved("earned", at(2), None, points=5, program_id="club"),
            moved("earned", at(2), "ann", points=7),
            moved("redeemed", at(3), None, points=1),
        ],
    )
    assert len(warehouse.read("fct_loyalty_events", "event_id")) == 3
    columns = "program_id, user_id, balance, last_event_at"
    assert warehouse.read("fct_loyalty_balances", columns) == [
        ("club", None, 5, datetime(2025, 1, 2, 12)),
        (None, "ann", 7, datetime(2025, 1, 2, 12)),
        (None, None, -1, datetime(2025, 1, 3, 12)),
    ]
    warehouse.take(loyalty_events=[moved("expired", at(3), None, points=5, program_id="club")])
    assert warehouse.read("fct_loyalty_balances", "user_id, balance", "program_id = 'club'") == [
        (None, 0)
    ]


def test_a_tier_change_without_a_tier_takes_it_away(warehouse: Warehouse) -> None:
    warehouse.take(loyalty_events=[tier("tier", at(2), tier="gold"), tier("tier", at(3))])
    assert warehouse.read("fct_loyalty_balances", "tier") == [(None,)]
    warehouse.take(loyalty_events=[tier("tier", at(4), tier="silver")])
    assert warehouse.read("fct_loyalty_balances", "tier") == [("silver",)]


def test_an_idle_build_writes_nothing(warehouse: Warehouse) -> None:
    warehouse.take(
        membership_events=[change("added", at(2), membership_id="mem_1")],
        loyalty_events=[moved("earned", at(3), points=1)],
    )
    warehouse.replay.take(PRODUCTION)
    for model in (
        *("int_membership_histories_reached", "int_membership_days_reached"),
        "int_loyalty_accounts_reached",
    ):
        query = f"""
            select count(*) from production_intermediate.{model}
            where _batch > (select built_batch from production_state.build)
        """
        assert warehouse.replay.connection.execute(query).fetchall() == [(0,)]


def test_a_new_day_costs_a_day(warehouse: Warehouse) -> None:
    places = [{"project_id": f"prj_{number}"} for number in range(3)]
    warehouse.take(membership_events=[change("added", at(2), **place) for place in places])
    warehouse.take(loyalty_events=[moved("earned", at(5), points=1, **places[0])])
    warehouse.take(membership_events=[change("removed", at(6), **places[1])])
    query = "select project_id, from_date from production_intermediate.int_membership_days_reached"
    found = warehouse.replay.connection.execute(query + " order by all").fetchall()
    assert found == [(place["project_id"], date(2025, 1, 6)) for place in places]
