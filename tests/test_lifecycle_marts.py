"""Lifecycle, retention and the definitions side by side, worked out by hand and by brute force.

Each case lands files and builds production by replay (histories.py) and reads the marts. The oracle
is plain Python over drawn user-days: sets, one interval after the other.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.histories import Build, Land, Record, Recording, Replay, of_marts

Place = tuple[str, str]
UserDay = tuple[Place, str, date]
Scope = tuple[str, str, str | None]

DAY = timedelta(days=1)
GRAINS = {"day": "daily", "week": "weekly", "month": "monthly"}
A, B, OTHER = ("ws_1", "prj_a"), ("ws_1", "prj_b"), ("ws_2", "prj_c")
WORKSPACE: Scope = ("workspace", "ws_1", None)
LIFECYCLE = ("active_count", "new_count", "returning_count", "resurrected_count", "dormant_count")


# ---- the oracle


def start_of(grain: str, day: date) -> date:
    """The first day of the interval that holds the day."""
    if grain == "week":
        return day - day.weekday() * DAY
    return day.replace(day=1) if grain == "month" else day


def starts_between(grain: str, first: date, last: date) -> list[date]:
    """First days of all intervals from the one of `first` to the one of `last`."""
    days = ((first + n * DAY) for n in range((last - first).days + 1))
    return sorted({start_of(grain, day) for day in days})


def lives(days: set[UserDay], grain: str) -> dict[Scope, dict[str, set[date]]]:
    """Scope → user → intervals in which they were active."""
    found: dict[Scope, dict[str, set[date]]] = defaultdict(lambda: defaultdict(set))
    for (workspace, project), user, day in days:
        found["workspace", workspace, None][user].add(start_of(grain, day))
        found["project", workspace, project][user].add(start_of(grain, day))
    return found


def lifecycle(days: set[UserDay], last: date, grain: str) -> dict[tuple[Any, ...], list[int]]:
    """(scope, …, interval) → active, new, returning, resurrected, dormant."""
    rows = {}
    for scope, users in lives(days, grain).items():
        before: set[str] = set()
        seen: set[str] = set()
        for start in starts_between(grain, min(map(min, users.values())), last):
            active = {user for user, at in users.items() if start in at}
            new, returning = active - seen, active & before
            gone = before - active
            rows[*scope, start] = [
                *(len(active), len(new), len(returning)),
                *(len(active - new - returning), len(gone)),
            ]
            before, seen = active, seen | active
    return rows


def retention(days: set[UserDay], last: date, grain: str) -> dict[tuple[Any, ...], list[int]]:
    """(scope, …, cohort, period) → cohort size, retained, retained or later."""
    rows = {}
    for scope, users in lives(days, grain).items():
        for cohort in {min(at) for at in users.values()}:
            members = [at for at in users.values() if min(at) == cohort]
            for period, start in enumerate(starts_between(grain, cohort, last)):
                rows[*scope, cohort, period] = [
                    len(members),
                    sum(start in at for at in members),
                    sum(max(at) >= start for at in members),
                ]
    return rows


def definitions(
    days: set[UserDay], logins: set[UserDay], last: date
) -> dict[tuple[str, date], list[float]]:
    """(workspace, day) → rolling, calendar month, sign-in only, returning only, mean DAU."""
    rows = {}
    for workspace in {place[0] for place, _, _ in days}:
        active = {(user, day) for place, user, day in days if place[0] == workspace}
        signed_in = {(user, day) for place, user, day in logins if place[0] == workspace}
        firsts = {user: min(at for who, at in active if who == user) for user, _ in active}
        day = min(firsts.values())
        while day <= last:
            window = {(who, at) for who, at in active if timedelta(0) <= day - at < 30 * DAY}
            rows[workspace, day] = [
                len({who for who, _ in window}),
                len({who for who, at in active if day.replace(day=1) <= at <= day}),
                len({who for who, _ in window & signed_in}),
                len({who for who, at in window if at > firsts[who]}),
                len(window) / 30,
            ]
            day += DAY
    return rows


# ---- a warehouse


LOOKED_AT = (
    "fct_active_user_days",
    "fct_active_user_definitions_daily",
    "fct_retention_monthly",
    "fct_retention_weekly",
    "fct_user_lifecycle_daily",
    "fct_user_lifecycle_monthly",
    "fct_user_lifecycle_weekly",
)


@pytest.fixture(scope="module")
def recordings(recordings: dict[str, Recording]) -> dict[str, Recording]:
    """Production alone, and of it the marts that are looked at."""
    return of_marts({"production": recordings["production"]}, *LOOKED_AT)


class Marts:
    """A warehouse that lands and builds, and its marts as dicts."""

    def __init__(self, recordings: dict[str, Recording], folder: Path) -> None:
        self.replay = Replay(recordings, folder)
        self.files = 0

    def land(self, table: str, records: Sequence[Record], name: str = "") -> None:
        self.files += 1
        self.replay.land(Land(f"{table}/{self.files:03}-{name}.jsonl", tuple(records)))

    def build(self) -> None:
        self.replay.build(Build(("production",)))

    def read(self, query: str) -> list[tuple[Any, ...]]:
        marts = "production_marts.production."
        return self.replay.connection.execute(query.replace("fct_", marts + "fct_")).fetchall()

    def lifecycle(self, grain: str) -> dict[tuple[Any, ...], list[int]]:
        rows = self.read(
            "select scope, workspace_id, project_id, interval_start_date,"
            f" {', '.join(LIFECYCLE)} from fct_user_lifecycle_{GRAINS[grain]}"
        )
        return {row[:4]: list(row[4:]) for row in rows}

    def retention(self, grain: str) -> dict[tuple[Any, ...], list[int]]:
        rows = self.read(
            "select scope, workspace_id, project_id, cohort_start_date, period_index, cohort_size,"
            f" retained_count, retained_or_later_count from fct_retention_{GRAINS[grain]}"
        )
        return {row[:5]: list(row[5:]) for row in rows}

    def definitions(self) -> dict[tuple[str, date], list[float]]:
        rows = self.read(
            "select workspace_id, activity_date, mau_rolling_30d, active_users_calendar_month,"
            " mau_sign_in_only, mau_returning_only, mean_dau_30d"
            " from fct_active_user_definitions_daily"
        )
        return {row[:2]: list(row[2:]) for row in rows}

    def days(self, grain: str, scope: Scope, *, complete: bool) -> list[date]:
        """Intervals of a scope that are, or are not, complete."""
        rows = self.read(
            f"select scope, workspace_id, project_id, interval_start_date"
            f" from fct_user_lifecycle_{GRAINS[grain]} where is_complete = {complete} order by all"
        )
        return [row[3] for row in rows if row[:3] == scope]


@contextmanager
def warehouse(recordings: dict[str, Recording]) -> Iterator[Marts]:
    with tempfile.TemporaryDirectory(prefix="rollcall-lifecycle-") as folder:
        marts = Marts(recordings, Path(folder))
        try:
            yield marts
        finally:
            marts.replay.close()


@pytest.fixture
def marts(recordings: dict[str, Recording]) -> Iterator[Marts]:
    with warehouse(recordings) as found:
        yield found


def on(day: str | date, user: str = "ada", place: Place = A, **fields: Any) -> Record:
    """A login at noon."""
    found = {
        "id": f"{user}-{day}-{place[1]}",
        "type": "login",
        "occurred_at": f"{day}T12:00:00Z",
        "environment": "production",
        "workspace_id": place[0],
        "project_id": place[1],
        "user_id": user,
        "data": {"outcome": "success"},
    }
    return found | fields


def user(key: str, day: int, **fields: Any) -> Record:
    """A version of a user; a later day wins."""
    at = f"2025-01-{day:02}T00:00:00Z"
    made = {"created_at": "2025-01-01T00:00:00Z", "updated_at": at}
    return {"id": key, "workspace_id": "ws_1", "kind": "human"} | made | fields


# ---- by hand


def test_a_user_of_two_projects_is_new_in_each_and_once_in_the_workspace(marts: Marts) -> None:
    marts.land("auth_events", [on("2025-01-06"), on("2025-01-07", place=B), on("2025-01-09")])
    marts.build()
    found = marts.lifecycle("day")
    #                                              active, new, returning, resurrected, dormant
    assert found[*WORKSPACE, date(2025, 1, 6)] == [1, 1, 0, 0, 0]
    assert found[*WORKSPACE, date(2025, 1, 7)] == [1, 0, 1, 0, 0]
    assert found[*WORKSPACE, date(2025, 1, 8)] == [0, 0, 0, 0, 1]
    assert found[*WORKSPACE, date(2025, 1, 9)] == [1, 0, 0, 1, 0]
    assert found["project", *A, date(2025, 1, 7)] == [0, 0, 0, 0, 1]
    assert found["project", *A, date(2025, 1, 9)] == [1, 0, 0, 1, 0]
    assert found["project", *B, date(2025, 1, 7)] == [1, 1, 0, 0, 0]
    assert found["project", *B, date(2025, 1, 9)] == [0, 0, 0, 0, 0]
    assert ("project", *B, date(2025, 1, 6)) not in found
    assert marts.lifecycle("week")[*WORKSPACE, date(2025, 1, 6)] == [1, 1, 0, 0, 0]


def test_a_chain_of_merges_and_its_undoing(marts: Marts) -> None:
    marts.land("auth_events", [on("2025-01-06", "ada"), on("2025-01-07", "bob")])
    marts.land("auth_events", [on("2025-01-08", "cyd"), on("2025-01-09", "cyd")])
    marts.build()
    apart = marts.lifecycle("day")
    assert [apart[*WORKSPACE, date(2025, 1, day)][1] for day in (6, 7, 8, 9)] == [1, 1, 1, 0]
    marts.land("users", [user("ada", 2, merged_into="bob"), user("bob", 2, merged_into="cyd")])
    marts.build()
    # one person, new on the 6th and there every day
    merged = marts.lifecycle("day")
    assert [merged[*WORKSPACE, date(2025, 1, day)][:3] for day in (6, 7, 8, 9)] == [
        *([1, 1, 0], [1, 0, 1], [1, 0, 1], [1, 0, 1])
    ]
    assert marts.retention("week")[*WORKSPACE, date(2025, 1, 6), 0] == [1, 1, 1]
    # the middle of the chain comes out: ada is bob, cyd is another; nothing happened on the 8th
    marts.land("users", [user("bob", 3)])
    marts.build()
    found = marts.lifecycle("day")
    assert [found[*WORKSPACE, date(2025, 1, day)] for day in (6, 7, 8, 9)] == [
        *([1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 1, 0, 0, 1], [1, 0, 1, 0, 0])
    ]
    assert marts.retention("week")[*WORKSPACE, date(2025, 1, 6), 0] == [2, 2, 2]


def test_a_late_event_moves_a_first_day(marts: Marts) -> None:
    marts.land("auth_events", [on("2025-02-12"), on("2025-02-20"), on("2025-03-05", "bob")])
    marts.build()
    assert marts.retention("month")[*WORKSPACE, date(2025, 2, 1), 1] == [1, 0, 0]
    assert (*WORKSPACE, date(2025, 1, 1)) not in marts.lifecycle("month")
    marts.land("auth_events", [on("2025-01-20")])
    marts.build()
    day, month = marts.lifecycle("day"), marts.lifecycle("month")
    assert day[*WORKSPACE, date(2025, 1, 20)] == [1, 1, 0, 0, 0]
    assert day[*WORKSPACE, date(2025, 1, 21)] == [0, 0, 0, 0, 1]
    assert day[*WORKSPACE, date(2025, 2, 12)] == [1, 0, 0, 1, 0]
    assert month[*WORKSPACE, date(2025, 1, 1)] == [1, 1, 0, 0, 0]
    assert month[*WORKSPACE, date(2025, 2, 1)] == [1, 0, 1, 0, 0]
    assert month[*WORKSPACE, date(2025, 3, 1)] == [1, 1, 0, 0, 1]
    found = marts.retention("month")
    assert [found[*WORKSPACE, date(2025, 1, 1), k] for k in (0, 1, 2)] == [
        *([1, 1, 1], [1, 1, 1], [1, 0, 0])
    ]
    assert (*WORKSPACE, date(2025, 2, 1), 0) not in found


def test_a_workspace_without_activity_has_no_rows(marts: Marts) -> None:
    marts.land("workspaces", [{"id": "ws_2", "slug": "quiet", "plan_id": "free"}])
    failed = {"data": {"outcome": "failure"}}
    quiet = [on("2025-01-06", place=OTHER, **failed), on("2025-01-07", None, place=OTHER)]
    marts.land("auth_events", [on("2025-01-06"), on("2025-01-06", "eve", OTHER, is_test=True)])
    marts.land("auth_events", quiet)
    marts.build()
    names = [f"fct_user_lifecycle_{name}" for name in GRAINS.values()]
    names += ["fct_retention_weekly", "fct_retention_monthly"]
    names += ["fct_active_user_days", "fct_active_user_definitions_daily"]
    for name in names:
        assert marts.read(f"select distinct workspace_id from {name}") == [("ws_1",)], name
    # quiet as it is, its last event is the environment's last day
    assert marts.lifecycle("day")[*WORKSPACE, date(2025, 1, 7)] == [0, 0, 0, 0, 1]


def test_a_week_reaches_over_the_new_year(marts: Marts) -> None:
    marts.land("auth_events", [on("2024-12-31"), on("2025-01-05"), on("2025-01-06")])
    marts.build()
    assert marts.lifecycle("week") == {
        (*scope, start): counts
        for scope in (WORKSPACE, ("project", *A))
        for start, counts in {
            date(2024, 12, 30): [1, 1, 0, 0, 0],
            date(2025, 1, 6): [1, 0, 1, 0, 0],
        }.items()
    }
    assert marts.lifecycle("month")[*WORKSPACE, date(2025, 1, 1)] == [1, 0, 1, 0, 0]
    assert marts.retention("week")[*WORKSPACE, date(2024, 12, 30), 1] == [1, 1, 1]


def test_the_open_interval_and_uncovered_days_are_incomplete(marts: Marts) -> None:
    days = [*range(6, 10), *range(11, 23)]
    for day in days:  # nothing covers the 10th; the 22nd is a Wednesday
        marts.land("auth_events", [on(f"2025-01-{day:02}")], f"2025-01-{day:02}")
    marts.build()
    assert marts.days("day", WORKSPACE, complete=False) == [date(2025, 1, 10)]
    weeks = [date(2025, 1, day) for day in (6, 13, 20)]
    assert marts.days("week", WORKSPACE, complete=True) == [weeks[1]]
    assert marts.days("week", WORKSPACE, complete=False) == [weeks[0], weeks[2]]
    assert marts.days("month", WORKSPACE, complete=False) == [date(2025, 1, 1)]
    cells = marts.read(
        "select period_index, is_complete from fct_retention_weekly where scope = 'workspace'"
        " order by all"
    )
    assert cells == [(0, False), (1, True), (2, False)]
    # the gap is filled, and the week comes to its end
    marts.land("auth_events", [], "2025-01-10")
    for day in (23, 24, 25, 26):
        marts.land("auth_events", [on(f"2025-01-{day:02}")], f"2025-01-{day:02}")
    marts.build()
    assert marts.days("week", WORKSPACE, complete=True) == weeks
    assert marts.days("month", WORKSPACE, complete=False) == [date(2025, 1, 1)]


def test_a_service_turns_out_to_be_human_and_back(marts: Marts) -> None:
    marts.land("users", [user("ada", 2, kind="service")])
    marts.land("auth_events", [on("2025-01-06"), on("2025-01-14"), on("2025-01-14", "bob")])
    marts.build()
    assert marts.retention("week") == {
        (*scope, date(2025, 1, 13), 0): [1, 1, 1] for scope in (WORKSPACE, ("project", *A))
    }
    marts.land("users", [user("ada", 3)])
    marts.build()
    assert marts.lifecycle("week")[*WORKSPACE, date(2025, 1, 6)] == [1, 1, 0, 0, 0]
    assert marts.lifecycle("week")[*WORKSPACE, date(2025, 1, 13)] == [2, 1, 1, 0, 0]
    marts.land("users", [user("ada", 4, kind="service")])
    marts.build()
    assert (*WORKSPACE, date(2025, 1, 6)) not in marts.lifecycle("week")
    assert marts.lifecycle("week")[*WORKSPACE, date(2025, 1, 13)] == [1, 1, 0, 0, 0]


def test_definitions_differ_as_they_say(marts: Marts) -> None:
    refresh = {"type": "token_refresh"}
    marts.land(
        "auth_events",
        [
            *(on("2025-01-31", "ada"), on("2025-02-01", "ada", **refresh)),
            *(on("2025-02-01", "bob", **refresh), on("2025-03-02", "cyd")),
        ],
    )
    marts.build()
    found = marts.definitions()
    #                     30 days, calendar month, sign-in only, returning only, mean of 30 days
    assert found["ws_1", date(2025, 1, 31)] == [1, 1, 1, 0, 1 / 30]
    assert found["ws_1", date(2025, 2, 1)] == [2, 2, 1, 1, 3 / 30]
    assert found["ws_1", date(2025, 3, 1)] == [2, 0, 1, 1, 3 / 30]
    # ada's only login was 30 days ago, her only day after the first one is the 30th
    assert found["ws_1", date(2025, 3, 2)] == [3, 1, 1, 1, 3 / 30]


# rule → who it counts on a day, from the listing
LISTINGS = {
    "mau_rolling_30d": "activity_date > day - 30 and activity_date <= day",
    "active_users_calendar_month": (
        "activity_date >= date_trunc('month', day) and activity_date <= day"
    ),
    "mau_sign_in_only": "activity_date > day - 30 and activity_date <= day and login_count > 0",
    "mau_returning_only": (
        "activity_date > day - 30 and activity_date <= day and not is_first_day_in_workspace"
    ),
}


@pytest.mark.parametrize("rule", LISTINGS)
def test_who_a_rule_counts_can_be_listed(demo_marts: Any, rule: str) -> None:
    figures = f"""
        select workspace_id, activity_date as day, {rule} as figure
        from fct_active_user_definitions_daily
    """
    listed = f"""
        select figures.workspace_id, figures.day, count(distinct user_id)
        from ({figures}) as figures left join fct_active_user_days as active
            on figures.workspace_id = active.workspace_id and {LISTINGS[rule]}
        group by all
    """
    assert sorted(demo_marts(listed)) == sorted(demo_marts(figures))
    assert any(figure for *_, figure in demo_marts(figures))


@pytest.fixture(scope="module", params=["production", "sandbox"])
def demo_marts(demo_home: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A function that asks the published marts of the demo."""
    path = demo_home / "published" / request.param / "latest.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute(f"use {request.param}")
        yield lambda query: connection.execute(query).fetchall()


@pytest.mark.parametrize("grain", GRAINS)
def test_who_is_new_or_active_can_be_listed(demo_marts: Any, grain: str) -> None:
    figures = f"""
        select scope, workspace_id, project_id, interval_start_date, active_count, new_count
        from fct_user_lifecycle_{GRAINS[grain]} where active_count > 0
    """
    listed = " union all ".join(
        f"""
        select '{scope}', workspace_id, {project},
            cast(date_trunc('{grain}', activity_date) as date),
            count(distinct user_id), count(distinct user_id) filter (is_first_day_in_{scope})
        from fct_active_user_days group by all
        """
        for scope, project in (("workspace", "null"), ("project", "project_id"))
    )
    assert sorted(demo_marts(figures), key=repr) == sorted(demo_marts(listed), key=repr)


# ---- by brute force

USERS = ("ada", "bob", "cyd", "dan")
# both sides of the ends of weeks, of months, of 30 days
START = date(2024, 12, 29)
OFFSETS = (0, 1, 2, 3, 7, 8, 14, 29, 30, 31, 32, 33, 34, 60, 61, 62, 63)
user_days = st.tuples(
    st.sampled_from([A, A, B, OTHER]),
    st.sampled_from(USERS),
    st.sampled_from([START + offset * DAY for offset in OFFSETS]),
    st.booleans(),
)
parts = st.lists(user_days, min_size=1, max_size=8)
merges = st.dictionaries(st.sampled_from(USERS[:3]), st.sampled_from(USERS), max_size=2)


def survivor(who: str, merged: Mapping[str, str]) -> str:
    """At the end of the merges; merges here are drawn without cycles."""
    return survivor(merged[who], merged) if who in merged else who


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=st.lists(st.tuples(parts, merges), min_size=1, max_size=3))
def test_marts_are_what_counting_by_hand_gives(
    recordings: dict[str, Recording], drawn: list[tuple[list[Any], dict[str, str]]]
) -> None:
    """User-days and merges come in some builds; after the last all marts are as the oracle says."""
    known: list[Any] = []
    merged: dict[str, str] = {}
    with warehouse(recordings) as marts:
        for number, (days, wanted) in enumerate(drawn):
            known += days
            # into a user later in the alphabet: no cycles
            merged = {who: into for who, into in wanted.items() if into > who}
            records = [
                on(
                    *(day, who, place),
                    id=f"{number}-{n}",
                    type="login" if is_login else "token_refresh",
                )
                for n, (place, who, day, is_login) in enumerate(days)
            ]
            marts.land("auth_events", records)
            marts.land("users", [user(w, number + 2, merged_into=merged.get(w)) for w in USERS])
            marts.build()
        last = max(day for *_, day, _ in known)
        active = {(place, survivor(who, merged), day) for place, who, day, _ in known}
        logins = {(place, survivor(who, merged), day) for place, who, day, login in known if login}
        for grain in GRAINS:
            assert marts.lifecycle(grain) == lifecycle(active, last, grain)
        for grain in ("week", "month"):
            assert marts.retention(grain) == retention(active, last, grain)
        assert marts.definitions() == definitions(active, logins, last)
