"""The published marts against the definitions in plain Python (oracle.py), on cases made by chance.

One landing of several thousand events: a few hundred visitors whose gaps sit on both sides of every
edge (30 minutes to the microsecond, midnight, five minutes of skew), who are merged, tested,
impersonated, closed twice: many cases in one build rather than one in many builds.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import oracle
import pytest

from landing import land
from tests.histories import Recording, Replay

START = datetime(2025, 1, 30, 22, 0, tzinfo=UTC)
WINDOWS = (1, 7, 28, 30, 90)
DEVICES = {
    "curl/8.5.0": "Robot",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1": "Phone",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/124.0.0.0 Safari/537.36": "Desktop",
}
GAPS = [
    timedelta(0),
    timedelta(microseconds=1),
    timedelta(seconds=10),
    timedelta(seconds=10, microseconds=1),
    timedelta(minutes=7),
    timedelta(minutes=30),
    timedelta(minutes=30, microseconds=1),
    timedelta(hours=5),
    timedelta(days=1),
    timedelta(days=6),
    timedelta(days=7),
    timedelta(days=29),
    timedelta(days=30),
]
SESSION_TYPES = [
    *("session.started", "session.activity", "session.activity", "session.ended"),
    *("session.revoked", "action.run", "custom.clicked", "journey.begun", "journey.completed"),
]
AUTH_TYPES = [
    *("login", "login", "login", "signup", "token_refresh", "token_exchange"),
    *("mfa_challenge", "mfa_verification", "password_reset", "logout"),
]
SERVICES = ["7d44a7a4-3a5b-4a6e-9d4e-0a3c5b1f2e11", "0b9d5c1e-6f0e-4a52-8a86-5f2f6f6a1c22"]

USERS = [f"usr_{number:03}" for number in range(120)]
KINDS = {user: "service" if n % 17 == 0 else "bot" if n % 23 == 0 else "human"
         for n, user in enumerate(USERS)}  # fmt: skip
# chains of two, a cycle of two, a user merged into themselves, one merged into somebody unknown
MERGED = {
    **{USERS[n]: USERS[n + 1] for n in range(10, 30, 2)},
    **{USERS[n + 1]: USERS[n + 40] for n in range(10, 18, 2)},
    USERS[100]: USERS[101],
    USERS[101]: USERS[100],
    USERS[102]: USERS[100],
    USERS[103]: USERS[103],
    USERS[104]: "usr_of_nobody",
}


def visits(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Events of one visitor after the other; nothing here is malformed, nothing doubled."""
    for visitor in range(400):
        user = chance.choice(USERS) if chance.random() < 0.85 else None
        project = chance.choice(["prj_a", "prj_b", "prj_c"])
        at = START + timedelta(hours=chance.randrange(72))
        for number in range(chance.randrange(1, 14)):
            at += chance.choice(GAPS)
            is_auth = chance.random() < 0.3
            kind = chance.choice(AUTH_TYPES if is_auth else SESSION_TYPES)
            event = {
                "id": f"evt_{visitor:04}_{chance.randrange(10**6):06}_{number:02}",
                "type": kind,
                "occurred_at": at,
                "environment": chance.choice(["production"] * 4 + ["sandbox"]),
                "workspace_id": "ws_2" if project == "prj_c" else "ws_1",
                "project_id": project,
                "user_id": user if chance.random() < 0.95 else None,
                "anonymous_id": f"anon_{visitor % 90}" if chance.random() < 0.6 else None,
                "session_id": f"ses_{visitor % 150}" if chance.random() < 0.3 else None,
                "service_id": chance.choice([None, None, *SERVICES]),
                "trace_id": chance.choice([None, f"trace_{visitor}_{number}"]),
                "user_agent": chance.choice([None, *DEVICES]),
                "is_test": chance.random() < 0.05,
                "impersonator_id": "usr_support" if chance.random() < 0.05 else None,
                "data": {},
            }
            if chance.random() < 0.2:
                skew = chance.choice([-3 * 86400, 0, 300, 300.000001, 90000])
                event["received_at"] = at - timedelta(seconds=skew)
            if kind.startswith("journey."):
                event["data"] = {"journey_id": f"jny_{visitor}", "journey_name": "onboarding"}
            if kind == "session.revoked":
                event["data"] = {"reason": f"reason {number}", "revoked_by_kind": "admin"}
            if is_auth:
                event["data"] = {
                    "provider": chance.choice([None, "github", "google"]),
                    "method": chance.choice(["password", "oauth"]),
                }
                if kind not in {"mfa_challenge", "logout"}:
                    event["data"]["outcome"] = chance.choice(["success", "success", "failure"])
            yield event | {"table": "auth_events" if is_auth else "session_events"}


def write(folder: Path, events: list[dict[str, Any]]) -> None:
    """The events and their entities as extracts, in no order."""

    def line(event: dict[str, Any]) -> str:
        fields = {
            key: value for key, value in event.items() if key != "table" and value is not None
        }
        return json.dumps(
            {k: v.isoformat() if isinstance(v, datetime) else v for k, v in fields.items()}
        )

    for table in ("auth_events", "session_events"):
        (folder / table).mkdir(parents=True)
        path = folder / table / "2025-01.jsonl"
        path.write_text("\n".join(line(event) for event in events if event["table"] == table))
    made = {"created_at": "2025-01-01T00:00:00Z", "updated_at": "2025-01-01T00:00:00Z"}
    users = [
        {"id": user, "workspace_id": "ws_1", "kind": kind, "merged_into": MERGED.get(user), **made}
        for user, kind in KINDS.items()
    ]
    (folder / "users").mkdir()
    (folder / "users" / "all.jsonl").write_text("\n".join(map(json.dumps, users)))


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    made = list(visits(random.Random(20250130)))
    random.Random(1).shuffle(made)
    return made


@pytest.fixture(scope="module")
def warehouse(
    recordings: dict[str, Recording],
    tmp_path_factory: pytest.TempPathFactory,
    events: list[dict[str, Any]],
) -> Iterator[Replay]:
    folder = tmp_path_factory.mktemp("definitions")
    write(folder, events)
    replay = Replay(recordings, folder)
    land(replay.connection, folder, run_id="run_1", clock=datetime(2026, 10, 2, tzinfo=UTC))
    replay.finish()
    yield replay
    replay.close()


@pytest.fixture(params=["production", "sandbox"])
def environment(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def marts(warehouse: Replay, environment: str) -> duckdb.DuckDBPyConnection:
    warehouse.connection.execute(f"use {environment}_marts.{environment}")
    return warehouse.connection


@pytest.fixture
def own(events: list[dict[str, Any]], environment: str) -> list[dict[str, Any]]:
    return [event for event in events if event["environment"] == environment]


def rows(marts: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    cursor = marts.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def naive(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def in_order(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        ({key: naive(value) for key, value in sorted(row.items())} for row in found), key=repr
    )


def last_day(own: list[dict[str, Any]]) -> date:
    return max(oracle.time_of(event) for event in own if not event["is_test"]).date()


def test_sessions(marts: duckdb.DuckDBPyConnection, own: list[dict[str, Any]]) -> None:
    session_events = [event for event in own if event["table"] == "session_events"]
    expected = oracle.sessions(session_events, MERGED, DEVICES)
    # active_dates are held against fct_sessions_daily in test_explained.py
    found = rows(
        marts,
        "select * exclude (session_key, ended_date, active_dates, environment) from fct_sessions",
    )
    assert in_order(found) == in_order(expected)
    # the cases are there
    assert {row["session_id"] is None for row in found} == {True, False}
    for flag in ("is_engaged", "is_ended", "is_revoked", "is_overlong", "is_test"):
        assert {row[flag] for row in found} == {True, False}, flag


def test_sessions_daily(marts: duckdb.DuckDBPyConnection, own: list[dict[str, Any]]) -> None:
    session_events = [event for event in own if event["table"] == "session_events"]
    expected: dict[tuple[str, str, date], dict[str, int]] = {}

    def count(session: dict[str, Any], day: date, measure: str) -> None:
        key = (session["workspace_id"], session["project_id"], day)
        row = expected.setdefault(key, dict.fromkeys(("started", "engaged", "ended", "revoked"), 0))
        row[measure] += 1

    for session in oracle.sessions(session_events, MERGED, DEVICES):
        if session["is_test"]:
            continue
        count(session, session["session_date"], "started")
        count(session, session["ended_at"].date(), "ended")
        if session["is_engaged"]:
            count(session, session["session_date"], "engaged")
        if session["is_revoked"]:
            count(session, session["revoked_at"].date(), "revoked")
    found = {
        (row.pop("workspace_id"), row.pop("project_id"), row.pop("session_date")): row
        for row in rows(
            marts,
            """
            select
                workspace_id, project_id, session_date, started_count as started,
                engaged_count as engaged, ended_count as ended, revoked_count as revoked
            from fct_sessions_daily
            """,
        )
    }
    assert {key: row for key, row in found.items() if any(row.values())} == expected
    # every day from a project's first to the last of the environment is a row
    for workspace, project in {key[:2] for key in expected}:
        days = sorted(key[2] for key in found if key[:2] == (workspace, project))
        first = min(key[2] for key in expected if key[:2] == (workspace, project))
        assert days == [first + timedelta(days=n) for n in range((last_day(own) - first).days + 1)]


def test_active_users(marts: duckdb.DuckDBPyConnection, own: list[dict[str, Any]]) -> None:
    days = oracle.active_days(own, KINDS, MERGED)
    expected = oracle.users_by_scope(days, last_day(own), WINDOWS)
    found = {
        (
            *(row["scope"], row["workspace_id"], row["project_id"], row["service_id"]),
            row["activity_date"],
        ): {length: row[f"users_{length}d"] for length in WINDOWS}
        for row in rows(marts, "select * from fct_active_users_daily")
    }
    assert found == expected


def test_auth_daily(marts: duckdb.DuckDBPyConnection, own: list[dict[str, Any]]) -> None:
    auth_events = [event for event in own if event["table"] == "auth_events"]
    keys = ["workspace_id", "project_id", "service_id", "provider", "method", "activity_date"]
    found = {
        tuple(row.pop(key) for key in keys): row
        for row in rows(marts, "select * exclude (environment) from fct_auth_daily")
    }
    assert found == oracle.auth_by_day(auth_events, KINDS, MERGED)


def test_users(marts: duckdb.DuckDBPyConnection, own: list[dict[str, Any]]) -> None:
    days = oracle.active_days(own, KINDS, MERGED)
    first = {user: min(day for *_, other, day in days if other == user) for *_, user, _ in days}
    seen = {event["user_id"] for event in own if event["user_id"] and not event["is_test"]}
    expected = {
        oracle.survivor(user, MERGED): None for user in {*USERS, *MERGED.values(), *seen}
    } | first
    found = rows(marts, "select user_id, first_active_date, merged_user_count from dim_users")
    assert {row["user_id"]: row["first_active_date"] for row in found} == expected
    merged = {user: oracle.survivor(user, MERGED) for user in USERS}
    for row in found:
        ids = [user for user, into in merged.items() if into == row["user_id"] != user]
        assert row["merged_user_count"] == len(ids), row
