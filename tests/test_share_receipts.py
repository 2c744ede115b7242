"""Receipts are a chain that shows where it was broken, and audit events that cause no others."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from shares import CONTRACT, DAY, HASH_KEY, ROOT, World, columns, event, some_days

from dagster_project import receipts as command
from sharing import receipts
from sharing.compiler import OWN_ACTIONS, compile_share
from sharing.contract import Table
from sharing.definitions import Consumer, Share
from sharing.plans import Workspace, read_plans


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Five receipts of several kinds, their audit events landed."""
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)
    made = World(tmp_path)
    made.step(*some_days())
    made.step(event("b", workspace="ws_b"))
    made.step(event("late"))
    made.consumer["status"] = "paused"
    made.carry_out()
    made.consumer["status"] = "revoked"
    made.carry_out()
    made.land()
    return made


def faults(world: World) -> list[str]:
    with world.books() as connection:
        return receipts.verify(connection)


def test_a_whole_chain_is_whole(world: World) -> None:
    assert faults(world) == []
    assert len(world.receipts()) == 5


TAMPERING: dict[str, str] = {
    "an edited column": "update raw.share_receipts set row_count = 1 where receipt_number = 3",
    "an edited status": "update raw.share_receipts set status = 'committed'"
    " where status = 'refused'",
    "an edited body": "update raw.share_receipts set body = replace(body, 'acme', 'amce')"
    " where receipt_number = 2",
    "an edited hash": "update raw.share_receipts set receipt_sha256 = sha256('x')"
    " where receipt_number = 2",
    "a missing link": "delete from raw.share_receipts where receipt_number = 2",
    # one that no audit event tells of
    "a missing link whose place was closed": "delete from raw.share_receipts"
    " where receipt_number = 2; update raw.share_receipts"
    " set receipt_number = receipt_number - 1 where receipt_number > 2",
    "a missing first link": "delete from raw.share_receipts where receipt_number = 1",
    "a missing last link": "delete from raw.share_receipts where receipt_number = 5",
    "a doubled link": "insert into raw.share_receipts from raw.share_receipts"
    " where receipt_number = 4",
    "no chain at all": "delete from raw.share_receipts",
}


@pytest.mark.parametrize("name", TAMPERING)
def test_tampering_is_found(world: World, name: str) -> None:
    world.rows(TAMPERING[name])
    assert faults(world)


def test_a_chain_made_anew_from_a_changed_link_on_is_told_by_the_audit_events(
    world: World,
) -> None:
    bodies = world.receipts()
    bodies[0]["row_count"] = 1
    with world.books() as connection:
        connection.execute("delete from raw.share_receipts")
        for body in bodies:
            receipts.append(connection, body)
        found = receipts.verify(connection)
    assert found and all("an audit event tells of it" in fault for fault in found)


def test_the_command_tells_by_its_exit_code(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROLLCALL_HOME", str(world.folder / "home"))
    assert command.main([]) == 0
    assert "5 receipts, 0 faults" in capsys.readouterr().out
    world.rows(TAMPERING["a missing link"])
    assert command.main([]) == 1
    assert "receipt 3" in capsys.readouterr().out
    monkeypatch.setenv("ROLLCALL_HOME", str(world.folder / "nowhere"))
    assert command.main([]) == 2


def test_receipts_say_who_what_and_by_which_plan(world: World) -> None:
    first = world.receipts()[0]
    assert first["actor"]["id"] == "usr_ops_1"
    assert first["plans"] == {"ws_a": "enterprise"}
    assert first["oldest_days"] == {"ws_a": "2024-03-10"}
    assert first["destination"] == f"file://{world.out}"
    [things] = [table for table in first["tables"] if table["model"] == "fct_things"]
    assert things["treatments"] == {"user_id": "keyed_hash"}
    assert sum(file["row_count"] for file in things["files"]) == 12
    told = world.rows(
        "select share, consumer, actor_id, status, reason_code, row_count, environment,"
        " requested_at is not null, committed_at is not null from raw.share_receipts"
        " order by receipt_number"
    )
    who = ("acme_things", "acme", "usr_ops_1")
    assert told == [
        (*who, "committed", None, 17, "production", True, True),
        (*who, "committed", None, 0, "production", True, True),
        (*who, "committed", None, 5, "production", True, True),
        (*who, "refused", "paused", 0, "production", True, False),
        (*who, "refused", "revoked", 0, "production", True, False),
    ]


def test_audit_events_land_as_any_other(world: World) -> None:
    landed = world.rows(
        "select id, action, actor_id, workspace_id, project_id, environment, occurred_at"
        " from raw.audit_events order by occurred_at, id"
    )
    receipted = {one["receipt_id"] for one in world.receipts() if one["batch"] != "1-2"}
    assert {row[0] for row in landed} == receipted
    assert sorted(row[1] for row in landed) == [
        "analytics.export", "analytics.export", "analytics.export_refused", "share.revoked",
    ]  # fmt: skip
    assert {row[2:6] for row in landed} == {("usr_ops_1", "ws_a", "prj_ws_a", "production")}
    assert not world.rows("from raw.rejected_records")


def test_an_event_has_the_shape_of_document_v(world: World) -> None:
    [exported, *_] = [e for e in world.audit_files() if e["action"] == "analytics.export"]
    assert {"action", "occurredAt", "version", "actor", "targets", "context", "metadata"} <= set(
        exported
    )
    assert exported["version"] == 1 and exported["occurredAt"].endswith(".000Z")
    assert set(exported["actor"]["metadata"]) == {
        "first_name", "last_name", "email", "impersonator_email", "impersonator_reason",
    }  # fmt: skip
    project, share = exported["targets"]
    assert (project["type"], project["metadata"]["organization_id"]) == ("project", "ws_a")
    assert (share["type"], share["id"]) == ("share", "acme_things")


def test_an_event_is_written_once_and_lands_once(world: World) -> None:
    [path, *_] = (world.folder / "landing").rglob("*.jsonl")
    before = path.stat().st_mtime_ns
    (world.places.state / "acme_things" / "pointer.json").unlink()
    world.carry_out()
    assert path.stat().st_mtime_ns == before
    assert world.land() == 0


def test_an_export_is_the_reason_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what every run does: land, publish if something landed, share
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)
    world = World(tmp_path)
    world.add(*some_days()).publish()
    runs: list[tuple[int, str]] = []
    for _ in range(5):
        landed = world.land()
        if landed:
            # audit events of the consumer's own workspace are there to be read
            world.publish()
        runs.append((landed, world.carry_out().status))
    assert runs == [(0, "committed"), (1, "committed"), *[(0, "unchanged")] * 3]


def test_a_share_of_events_leaves_out_the_audit_events_of_shares() -> None:
    events = Table(
        "fct_things",
        columns(source_table="string", type="string") + CONTRACT["fct_things"].columns,
        ("workspace_id", "source_table", "event_id"),
        "activity_date",
    )
    share = Share.model_validate(
        {
            "name": "s",
            "consumer": "acme",
            "environment": "production",
            "tables": [{"model": "fct_things", "columns": ["type"]}],
            "format": "parquet",
            "destination": {"kind": "folder", "url": "file:///srv/x"},
            "capability": "export",
            "requested_by": "u",
        }
    )
    compiled = compile_share(
        share,
        Consumer(workspace_ids=["ws_a"], contact="c"),
        contract={"fct_things": events},
        plans=read_plans(ROOT / "seeds" / "plans.csv"),
        workspaces={"ws_a": Workspace("ws_a", "enterprise")},
        today=DAY,
    )
    assert not isinstance(compiled, list)
    connection = duckdb.connect()
    connection.execute("attach ':memory:' as snapshot; create schema snapshot.production")
    connection.execute(
        "create table scope as select 'ws_a' as workspace_id, date '2020-01-01' as oldest_date"
    )
    connection.execute(
        "create table snapshot.production.fct_things as"
        " select 'ws_a' as workspace_id, unnest(?) as type, unnest(?) as source_table,"
        " date '2026-03-01' as activity_date, 'production' as environment",
        [
            [*OWN_ACTIONS, "analytics.view", "analytics.export"],
            [*["audit_events"] * (len(OWN_ACTIONS) + 1), "auth_events"],
        ],
    )
    query = f"select type from ({compiled.slices[0].query}) order by 1"
    kept = connection.execute(query).fetchall()
    assert kept == [("analytics.export",), ("analytics.view",)]


def test_no_key_is_in_what_is_told(world: World) -> None:
    assert HASH_KEY not in json.dumps([world.receipts(), world.audit_files()])
