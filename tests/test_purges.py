"""What passed its retention is gone, to the day; what is shown stays what it was."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dagster_project import audits
from dagster_project.builds import create_bookkeeping
from dagster_project.purges import boundaries, is_due, kept_from, purge, shown_from
from dagster_project.warehouse import ConfigurationError, Policy, Warehouse
from landing import TABLES
from sharing.plans import Plan, oldest_day
from tests.histories import CLOCK, Build, Land, Recording, Replay
from tests.landing_cases import Warehouse as Raw
from tests.landing_cases import entity, event

TODAY = date(2025, 2, 1)
NOW = datetime(2025, 2, 1, 4, 0)
NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", Policy()),
        ("plan", Policy(by_plan=True)),
        ("730", Policy(days=730)),
        ("plan, 730", Policy(by_plan=True, days=730)),
    ],
)
def test_a_policy_is_plans_days_or_both(text: str, policy: Policy) -> None:
    assert Warehouse.from_environment({"ROLLCALL_RETENTION": text}).retention == policy
    assert bool(policy) is bool(text)


@pytest.mark.parametrize("text", ["0", "-1", "plans", "7,8", "plan,plan", "7.5"])
def test_a_policy_that_makes_no_sense_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ROLLCALL_RETENTION is .*has to be"):
        Warehouse.from_environment({"ROLLCALL_RETENTION": text})


def test_the_shorter_limit_shows_and_windows_of_what_is_shown_are_kept_whole() -> None:
    both = Policy(by_plan=True, days=30)
    assert shown_from(both, 90, TODAY) == oldest_day(TODAY, 90, 30) == date(2025, 1, 2)
    assert shown_from(both, 7, TODAY) == date(2025, 1, 25)
    assert shown_from(both, None, TODAY) == date(2025, 1, 2)
    assert shown_from(Policy(by_plan=True), None, TODAY) is None
    # 2 January looks back to 5 October, whose month stays whole
    assert kept_from(date(2025, 1, 2)) == date(2024, 10, 1)
    assert kept_from(None) == kept_from(date.min) == date.min


def test_what_is_not_known_of_a_workspace_deletes_nothing() -> None:
    plans = {("free", "production"): Plan(7, NONE), ("free", "sandbox"): Plan(30, NONE)}
    found = boundaries(
        Policy(by_plan=True), plans, {"ws_free": "free", "ws_odd": "nosuch", "ws_new": None}, TODAY
    )
    assert found["production", "ws_free"] == kept_from(date(2025, 1, 25))
    assert found["sandbox", "ws_free"] == kept_from(date(2025, 1, 2))
    for workspace in ("ws_odd", "ws_new", None):
        assert found["production", workspace] == date.min


# ---- rows of raw

KEPT_FROM = date(2024, 10, 1)
"""Of 30 days, seen from TODAY."""


def at(day: date, key: str, table: str = "auth_events", **fields: Any) -> dict[str, Any]:
    moment = f"{day}T10:00:00Z"
    return event(table, id=key, occurred_at=moment, received_at=moment, **fields)


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    made = Raw(tmp_path)
    last_gone, gone = KEPT_FROM - timedelta(days=1), KEPT_FROM - timedelta(days=40)
    for name, table in TABLES.items():
        if table.family == "event":
            days = {"gone": gone, "last_gone": last_gone, "kept": KEPT_FROM, "new": TODAY}
            made.write(f"{name}/a.jsonl", [at(day, key, name) for key, day in days.items()])
    # one that lost and one whose place was taken, both long ago
    made.land()
    made.land_one(
        "auth_events/b.jsonl",
        [
            at(gone, "gone", trace_id="later", environment="production"),
            at(gone - timedelta(days=1), "last_gone", trace_id="earlier"),
            "no json",
        ],
    )
    return made


def due_and_purged(raw: Raw, policy: Policy) -> int:
    assert is_due(raw.connection, policy, NOW)
    raw.connection.begin()
    rows = purge(raw.connection, policy, NOW)
    raw.connection.commit()
    return rows


def test_the_boundary_is_a_day_and_state_stays(raw: Raw) -> None:
    due_and_purged(raw, Policy(days=30))
    for name, table in TABLES.items():
        if table.family != "event":
            continue
        left = {key for (key,) in raw.rows(f"select id from raw.{name}")}
        everything = {"gone", "last_gone", "kept", "new"}
        stays = name in ("loyalty_events", "membership_events")
        assert left == (everything if stays else {"kept", "new"}), name
    assert raw.rows("select count(*) from raw.superseded_records") == [(0,)]
    assert raw.rows("select count(*) from raw.id_conflicts") == [(0,)]
    assert not is_due(raw.connection, Policy(days=30), NOW)


def test_lines_add_up_after_a_purge_and_not_after_any_other_loss(raw: Raw) -> None:
    due_and_purged(raw, Policy(days=30))
    tables = sorted(TABLES)
    found = audits.account_for_every_line(raw.connection, tables)
    assert [finding for finding in found if not finding.is_passed] == []
    raw.connection.execute("delete from raw.auth_events where id = 'kept'")
    found = audits.account_for_every_line(raw.connection, tables)
    assert [finding.table for finding in found if not finding.is_passed] == ["auth_events"]


def test_a_purge_is_of_a_workspace_and_environment(raw: Raw) -> None:
    old = KEPT_FROM - timedelta(days=1)
    raw.land_one(
        "workspaces/a.jsonl",
        [
            entity("workspaces", id="ws_1", plan_id="free"),
            entity("workspaces", id="ws_2", slug="two", plan_id="enterprise"),
        ],
    )
    raw.land_one(
        "session_events/c.jsonl",
        [
            at(old, "other", "session_events", workspace_id="ws_2"),
            at(old, "unknown", "session_events", workspace_id="ws_3"),
        ],
    )
    due_and_purged(raw, Policy(by_plan=True))
    left = {key for (key,) in raw.rows("select id from raw.session_events")}
    assert left == {"kept", "new", "other", "unknown"}


def test_each_environment_has_the_limit_of_its_own_plan(raw: Raw, tmp_path: Path) -> None:
    old = KEPT_FROM - timedelta(days=1)
    raw.land_one("workspaces/a.jsonl", [entity("workspaces", id="ws_1", plan_id="mixed")])
    raw.land_one(
        "session_events/c.jsonl", [at(old, "sandbox", "session_events", environment="sandbox")]
    )
    for days in ((30, 400), (400, 30)):
        plans = tmp_path / "plans.csv"
        lines = ["plan_id,environment,retention_days,may_export,may_share,may_stream,may_push"]
        for environment, limit in zip(("production", "sandbox"), days, strict=True):
            lines.append(f"mixed,{environment},{limit},false,false,false,false")
        plans.write_text("\n".join(lines) + "\n")
        assert is_due(raw.connection, Policy(by_plan=True), NOW, plans)
        raw.connection.begin()
        purge(raw.connection, Policy(by_plan=True), NOW)
        gone = {key for (key,) in raw.rows("select id from raw.session_events")}
        assert gone == (
            {"kept", "new", "sandbox"} if days[0] == 30 else {"gone", "last_gone", "kept", "new"}
        )
        raw.connection.rollback()


def test_without_a_policy_nothing_is_ever_due(raw: Raw) -> None:
    assert not is_due(raw.connection, Policy(), NOW)


def test_old_history_lands_again_and_is_purged_again(raw: Raw) -> None:
    due_and_purged(raw, Policy(days=30))
    again = raw.land_one("auth_events/again.jsonl", [at(KEPT_FROM - timedelta(days=1), "back")])
    assert again.accepted == 1
    assert due_and_purged(raw, Policy(days=30)) == 1
    found = audits.account_for_every_line(raw.connection, ["auth_events"])
    assert [finding.is_passed for finding in found] == [True]


# ---- what is shown

SHOWN_MARTS = {
    "fct_active_users_daily": "activity_date",
    "fct_auth_daily": "activity_date",
    "fct_sessions_daily": "session_date",
    "fct_mau_daily": "activity_date",
    "fct_data_quality_daily": "activity_date",
}


def test_every_shown_day_is_what_it_was_before_the_purge(
    recordings: dict[str, Recording], tmp_path: Path
) -> None:
    production = {"production": recordings["production"]}
    today = CLOCK.date()
    policy = Policy(days=20)
    shown = shown_from(policy, None, today)
    assert shown is not None
    first = kept_from(shown) - timedelta(days=45)
    days = [first + timedelta(days=n) for n in range((today - first).days + 1)]
    # everybody every few days, somebody on the very edges of each window
    edges = {shown - timedelta(days=n) for n in (0, 1, 6, 27, 29, 88, 89, 90)}
    lived = Replay(production, tmp_path / "landing")
    for table in ("auth_events", "session_events"):
        records = [
            at(
                day,
                f"{table}_{day}_{user}",
                table,
                user_id=f"usr_{user}",
                session_id=f"s{day}{user}",
            )
            for n, day in enumerate(days)
            for user in range(6)
            if (n + user) % 5 == 0 or (user == 5 and day in edges)
        ]
        lived.land(Land(f"{table}/a.jsonl", tuple(records)))
    lived.build(Build(("production",)))
    before = figures(lived, shown)
    assert all(before.values())

    create_bookkeeping(lived.connection)
    assert is_due(lived.connection, policy, CLOCK.replace(tzinfo=None))
    assert purge(lived.connection, policy, CLOCK.replace(tzinfo=None)) > 50
    after = Replay(production, tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    for (table,) in lived.connection.execute(
        "select table_name from duckdb_tables() where schema_name = 'raw'"
    ).fetchall():
        after.connection.execute(f"delete from raw.{table}")
        rows = lived.connection.execute(f"from raw.{table}").fetchall()
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            after.connection.executemany(f"insert into raw.{table} values ({marks})", rows)
    after.build(Build(("production",)))
    assert figures(after, shown) == before
    lived.close()
    after.close()


def figures(replay: Replay, shown: date) -> dict[str, list[Any]]:
    """Rows of the shown days; of what lines there were, of all days."""
    return {
        mart: replay.connection.execute(
            f"from production_marts.production.{mart} where {day} >= ? order by all",
            [date.min if mart == "fct_data_quality_daily" else shown],
        ).fetchall()
        for mart, day in SHOWN_MARTS.items()
    }
