"""What a consumer gets: exactly their rows, once, whoever else is there and whenever we die.

Each test carries out a share on a small published version and reads back as a consumer does.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable, QueryBuilder
from shares import DAY, HASH_KEY, NOW, ROOT, World, event, lie, of_anyone, of_sandbox, some_days

from sharing import audit, delta, gates, pointer, receipts, staging, versions
from sharing.staging import Reader
from sharing.stores import DestinationError, Store

FORMATS = ("parquet", "delta")


@pytest.fixture(autouse=True)
def hash_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)


@pytest.fixture(params=FORMATS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """Four days of two workspaces, published and not yet shared with acme, who has ws_a."""
    made = World(tmp_path)
    made.share["format"] = request.param
    made.add(*some_days(), *some_days(workspace="ws_b")).publish()
    return made


@pytest.fixture
def parquet(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.add(*some_days(), *some_days(workspace="ws_b")).publish()
    return made


def expected(world: World, workspaces: tuple[str, ...] = ("ws_a",)) -> list[tuple[Any, ...]]:
    """What a consumer of some workspaces has to read of fct_things, from the definition."""
    import hmac  # noqa: PLC0415

    def hashed(user: str) -> str:
        key = HASH_KEY.encode()
        return f"k1:{hmac.new(key, user.encode(), hashlib.sha256).hexdigest()}"

    return sorted(
        (
            (
                workspace,
                name,
                hashed(user),
                datetime(day.year, day.month, day.day, 9, 30, tzinfo=UTC),
                ["x", name],
                note,
                day,
                "production",
            )
            for workspace, name, day, user, note in world.events.values()
            if workspace in workspaces
        ),
        key=lambda row: row[1],
    )


# what is read back


def test_a_consumer_reads_exactly_their_rows(world: World) -> None:
    outcome = world.carry_out()
    assert (outcome.status, outcome.row_count, outcome.version) == ("committed", 12 + 4 + 1, 1)
    assert world.consumed() == expected(world)
    hours = world.consumed("fct_hours", "activity_hour_at")
    assert [row[1:] for row in hours] == [
        (
            datetime(2026, 3, 1 + day, 9, tzinfo=UTC),
            3,
            date(2026, 3, 1 + day),
            "production",
        )
        for day in range(4)
    ]
    assert world.consumed("dim_projects", "1") == [
        ("prj_ws_a", "ws_a", "Project ws_a", "production")
    ]


def test_the_manifest_tells_every_file_and_column(parquet: World) -> None:
    parquet.carry_out()
    manifest = parquet.manifest()
    listed = [file for table in manifest["tables"].values() for file in table["files"]]
    data = parquet.data_files()
    assert {file["path"] for file in listed} == set(data)
    for file in listed:
        content = data[file["path"]]
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["byte_count"] == len(content)
    assert sum(file["row_count"] for file in listed) == manifest["receipt"]["row_count"]
    dictionary = manifest["tables"]["fct_things"]["columns"]
    assert {"name": "note", "type": "string", "description": "The note."} in dictionary


def test_delta_travels_in_time_and_tells_what_changed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.share["format"] = "delta"
    world.step(*some_days())
    before = world.consumed()
    world.step(event("late", DAY))
    table = DeltaTable(str(world.out / "fct_things"))
    old = DeltaTable(str(world.out / "fct_things"), version=table.version() - 1)
    found = QueryBuilder().register("t", old).execute("select * from t order by event_id")
    rows = found.read_all()  # noqa: F841 - read by name
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    assert connection.execute("select * from rows").fetchall() == before
    changes = table.load_cdf(starting_version=table.version()).read_all()  # noqa: F841
    told = connection.execute(
        "select _change_type, activity_date, count(*) from changes group by all order by all"
    ).fetchall()
    assert told == [("delete", DAY, 3), ("insert", DAY, 4)]
    receipt = world.receipts()[-1]
    newest = table.history(1)[0]
    assert newest["receipt_id"] == receipt["receipt_id"]
    assert newest["batch"] == "1-2"
    assert table.transaction_version("rollcall/fct_things") == 2
    # a reader of protocol 1 can open it, and the log knows numbers of rows alone
    assert table.protocol().min_reader_version == 1
    log = "".join(path.read_text() for path in world.out.glob("fct_things/_delta_log/*.json"))
    assert "minValues" not in log


# same inputs, same bytes


def test_the_same_inputs_again_change_nothing(world: World) -> None:
    world.carry_out()
    before = world.files()
    assert world.carry_out().status == "unchanged"
    assert world.files() == before
    assert len(world.receipts()) == 1


def test_without_a_pointer_the_same_bytes_are_found_to_be_there(world: World) -> None:
    world.carry_out()
    before = world.files()
    (world.places.state / "acme_things" / "pointer.json").unlink()
    assert world.carry_out().status == "unchanged"
    assert world.files() == before


def test_a_batch_without_rows_leaves_a_receipt_and_no_version(world: World) -> None:
    world.carry_out()
    before = world.files()
    outcome = world.step(event("b", workspace="ws_b"))
    assert (outcome.status, outcome.row_count, outcome.version) == ("committed", 0, 1)
    assert world.files() == before
    first, second = world.receipts()
    assert (second["batch"], second["row_count"]) == ("1-2", 0)
    assert second["content_sha256"] == first["content_sha256"]
    assert world.carry_out().status == "unchanged"
    assert world.actions() == ["analytics.export"]


@pytest.mark.parametrize("change", ["added", "removed", "shuffled"])
def test_nobody_elses_rows_make_a_difference(change: str, tmp_path: Path, world: World) -> None:
    world.carry_out()
    other = World(tmp_path / "other", events=dict(world.events))
    other.share["format"] = world.share["format"]
    if change == "added":
        other.add(*some_days(9, "ws_b", 7), *some_days(workspace="ws_c"))
    elif change == "removed":
        other.events = {key: one for key, one in other.events.items() if one[0] == "ws_a"}
    other.publish(reverse=change == "shuffled")
    other.carry_out()
    assert other.data_files() == world.data_files()
    assert len(other.data_files()) == 9
    shas = [one.receipts()[0]["content_sha256"] for one in (world, other)]
    assert shas[0] == shas[1]


def many(workspace: str, count: int, day: date = DAY, nulls: bool = True) -> str:
    """SQL of events, a third of them without a user."""
    user = f"if({nulls} and n % 3 = 0, null, 'usr_' || hash(n, '{workspace}') % 1000)"
    return (
        f"select '{workspace}', 'many_' || lpad(n::varchar, 7, '0'), date '{day}', {user},"
        f" 'of {workspace} ' || hash(n) from range({count}) as t (n)"
    )


# a row group holds 122,880 rows, a vector 2,048; workspaces before and after ours in their parts
@pytest.mark.parametrize(
    ("count", "most"),
    [
        *((count, staging.MOST) for count in (1, 2_048, 61_441, 100_000, 122_880, 130_000)),
        (130_000, 0),
    ],
)
def test_nobody_elses_rows_make_a_difference_at_any_size(
    count: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "MOST", most)
    files = []
    for name, others in (("alone", ()), ("few", (1_000, 1)), ("many", (77_777, 130_001))):
        world = World(tmp_path / name)
        world.consumer["workspace_ids"] = ["ws_b"]
        columns = ["event_id", "user_id", "note", "tags", "is_test"]
        world.share["tables"] = [{"model": "fct_things", "columns": columns}]
        world.share["pii"] = {"user_id": "keep"}
        own = many("ws_b", count, nulls=count > 1)
        rivals = zip(("ws_a", "ws_c"), others, strict=False)
        world.more = " union all ".join([own, *(many(*rival) for rival in rivals)])
        world.publish()
        assert world.carry_out().row_count == count
        files.append(world.data_files())
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize(
    ("count", "treatment"), [(9_000, "keep"), (9_000, "keyed_hash"), (60_000, "keep")]
)
def test_a_day_that_lies_in_order_is_written_as_if_it_were_sorted(
    count: int, treatment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    honest, told = Reader._in_order, []
    monkeypatch.setattr(Reader, "_in_order", lambda *of: told.append(honest(*of)) or told[-1])
    for name in ("as_it_lies", "sorted"):
        if name == "sorted":
            assert any(told) == (treatment == "keep")
            monkeypatch.setattr(Reader, "_in_order", lambda *_: set())
        own = f"{many('ws_a', count)} union all {many('ws_b', count)}"
        world = World(tmp_path / name, more=f"{own} union all {many('ws_c', 70_000)}")
        world.consumer["workspace_ids"] = ["ws_b", "ws_a"]
        # in the key, so that hashes are in another order than what they are of
        world.share["pii"] = {"event_id": treatment, "user_id": "drop"}
        world.publish()
        world.carry_out()
        files.append(world.data_files())
    assert files[0] == files[1]
    [path] = world.out.glob(f"fct_things/{DAY}/*.parquet")
    rows = duckdb.sql(f"select workspace_id, event_id from '{path}'").fetchall()
    assert len(rows) == 2 * count
    assert rows == sorted(rows)


def test_no_other_day_makes_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # as of marts that are no parts, whose days are put aside together
    monkeypatch.setattr(World, "cut", lambda *_: None)
    files = []
    for name, others in (("alone", ()), ("more", (DAY - timedelta(1), DAY + timedelta(1)))):
        world = World(tmp_path / name, more=many("ws_a", 3_000, nulls=False))
        world.share["pii"] = {"user_id": "keep"}
        # of other days some users are null
        world.more += "".join(f" union all {many('ws_a', 2_000, day)}" for day in others)
        world.publish()
        world.carry_out()
        files.append({path: data for path, data in world.data_files().items() if str(DAY) in path})
    assert files[0] == files[1]
    assert {path.split("/")[0] for path in files[0]} == {"fct_things", "fct_hours"}


def test_a_late_event_replaces_the_file_of_its_day_alone(world: World) -> None:
    world.carry_out()
    before = world.data_files()
    outcome = world.step(event("late", DAY + timedelta(days=1)))
    assert outcome.row_count == 4 + 1
    new = set(world.data_files()) - set(before)
    assert {path.split("/")[0] for path in new} == {"fct_things", "fct_hours"}
    assert all("2026-03-02" in path for path in new) and len(new) == 2
    assert world.consumed() == expected(world)
    receipt = world.receipts()[-1]
    assert receipt["batch"] == "1-2"
    assert [table["first_day"] for table in receipt["tables"]] == ["2026-03-02"] * 2 + [None]


def test_a_day_that_became_empty_is_taken_away(world: World) -> None:
    world.carry_out()
    world.events = {key: one for key, one in world.events.items() if one[2] != DAY}
    world.publish()
    assert world.carry_out().status == "committed"
    assert world.consumed() == expected(world)
    assert {row[6] for row in world.consumed()} == {DAY + timedelta(days=n) for n in (1, 2, 3)}


def test_a_consumer_without_rows_gets_tables_without_rows(tmp_path: Path) -> None:
    for number, form in enumerate(FORMATS):
        world = World(tmp_path / str(number))
        world.share["format"] = form
        assert world.step().version == 1
        assert world.consumed() == []


# what leaves nothing

REFUSED: dict[str, Callable[[World], Any]] = {
    "paused": lambda w: w.consumer.update(status="paused"),
    "workspaces_missing": lambda w: w.consumer.update(workspace_ids=[]),
    "workspace_unknown": lambda w: w.consumer.update(workspace_ids=["ws_a", "ws_nowhere"]),
    "plan_unknown": lambda w: w.plans.update(ws_a="legacy_2019"),
    "capability_missing": lambda w: w.consumer.update(workspace_ids=["ws_a", "ws_c"]),
    "capability_mismatch": lambda w: w.share.update(format="delta", capability="export"),
    "table_unknown": lambda w: w.share["tables"][0].update(model="fct_nothing"),
    "console_only": lambda w: w.share["tables"].append({"model": "fct_screens", "profile": "full"}),
    "column_unknown": lambda w: w.share["tables"][0]["columns"].append("notte"),
    "column_secret": lambda w: w.share["tables"].append(
        {"model": "fct_tokens", "columns": ["token_value"]}
    ),
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_refusal_leaves_a_receipt_an_audit_event_and_no_byte(parquet: World, code: str) -> None:
    REFUSED[code](parquet)
    parquet.publish()
    outcome = parquet.carry_out()
    assert (outcome.status, outcome.reason_code, outcome.row_count) == ("refused", code, 0)
    assert outcome.message
    assert not outcome.is_failure
    assert parquet.files() == {} and not parquet.out.exists()
    [receipt] = parquet.receipts()
    assert (receipt["status"], receipt["reason_code"]) == ("refused", code)
    assert receipt["actor"]["id"] == "usr_ops_1"
    [audited] = parquet.audit_files()
    assert audited["action"] == "analytics.export_refused"
    assert (audited["id"], audited["metadata"]["reason_code"]) == (receipt["receipt_id"], code)
    # asked again, also of a newer version, it is the same refusal
    parquet.publish()
    assert parquet.carry_out().reason_code == code
    assert len(parquet.receipts()) == len(parquet.audit_files()) == 1


def test_what_is_refused_now_does_not_touch_what_was_shared_before(world: World) -> None:
    world.carry_out()
    before = world.files()
    world.consumer["status"] = "paused"
    assert world.step(event("new")).reason_code == "paused"
    assert world.files() == before
    world.consumer["status"] = "active"
    assert world.carry_out().status == "committed"
    assert world.consumed() == expected(world)
    assert world.actions() == ["analytics.export"] * 2 + ["analytics.export_refused"]


def test_every_second_refusal_of_its_kind_is_news_after_an_export(parquet: World) -> None:
    for status in ("paused", "active", "paused"):
        parquet.consumer["status"] = status
        parquet.step(event(f"{status}_{parquet.number}"))
    assert [one[0] for one in parquet.statuses()] == ["refused", "committed", "refused"]


# what is taken back


def test_revoking_deletes_everything_and_says_what(world: World) -> None:
    world.carry_out()
    there = sorted(world.files())
    world.consumer["status"] = "revoked"
    assert world.carry_out().reason_code == "revoked"
    assert world.files() == {}
    receipt = world.receipts()[-1]
    assert (receipt["status"], receipt["reason_code"]) == ("refused", "revoked")
    assert receipt["removed"] == there
    assert world.actions() == ["analytics.export", "share.revoked"]
    assert world.carry_out().reason_code == "revoked"
    assert len(world.receipts()) == 2
    # and begun anew
    world.consumer["status"] = "active"
    world.now += timedelta(days=1)
    assert world.carry_out().version == 1
    assert world.consumed() == expected(world)


def test_a_revocation_that_died_tells_all_that_was_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.carry_out()
    there = sorted(world.files())
    world.consumer["status"] = "revoked"
    with monkeypatch.context() as patched:
        patched.setattr(Store, "delete", dying(Store.delete, "after"))
        with pytest.raises(Killed):
            world.carry_out()
    assert world.files() == {}
    world.carry_out()
    assert world.receipts()[-1]["removed"] == there


def test_what_passed_the_boundary_is_gone_for_time_travel_too(world: World) -> None:
    world.share["retention"] = 7
    world.carry_out()  # on 10 March: from 3 March on
    assert {row[6] for row in world.consumed()} == {date(2026, 3, 3), date(2026, 3, 4)}
    world.now += timedelta(days=1)
    assert world.carry_out().status == "committed"
    assert {row[6] for row in world.consumed()} == {date(2026, 3, 4)}
    assert not [path for path in world.data_files() if "2026-03-03" in path]
    assert world.statuses()[-1] == ("committed", None, 0)
    # nothing left: no audit event
    assert world.actions() == ["analytics.export"]


def test_each_workspace_has_the_boundary_of_its_own_plan(parquet: World) -> None:
    parquet.plans["ws_b"] = "growth"
    parquet.share["capability"] = "export"
    parquet.consumer["workspace_ids"] = ["ws_b", "ws_a"]
    old = NOW.date() - timedelta(days=91)
    last = NOW.date() - timedelta(days=90)
    parquet.add(
        *(event(f"{w}_{day}", day, w) for w in ("ws_a", "ws_b") for day in (old, last))
    ).publish()
    parquet.carry_out()
    days = {(row[0], row[6]) for row in parquet.consumed() if row[6] < DAY}
    assert days == {("ws_a", old), ("ws_a", last), ("ws_b", last)}


def test_replaced_files_live_for_a_week(world: World) -> None:
    world.carry_out()
    first = set(world.data_files())
    world.step(event("late"))
    assert first <= set(world.data_files())
    world.now += timedelta(days=8)
    world.step(event("later"))
    gone = first - set(world.data_files())
    assert len(gone) == 2 and all("2026-03-01" in path for path in gone)
    assert world.consumed() == expected(world)


def first_version_of_things(world: World) -> list[str]:
    return [path for path in world.data_files() if re.match("fct_things/.*v000001", path)]


def test_a_stricter_share_leaves_nothing_of_the_laxer_one(world: World) -> None:
    world.carry_out()
    world.share["pii"]["note"] = "drop"
    assert world.carry_out().status == "committed"
    assert all(len(row) == 7 for row in world.consumed())
    assert not [
        path for path in world.data_files() if path.startswith("fct_things") and "v000001" in path
    ]
    assert [row[:5] for row in world.consumed()] == [row[:5] for row in expected(world)]


def test_another_key_means_other_hashes_and_no_old_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.carry_out()
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY[::-1])
    world.share["hash_key"]["id"] = "k2"
    world.carry_out()
    assert all(row[2].startswith("k2:") for row in world.consumed())
    assert not [
        path for path in world.data_files() if path.startswith("fct_things") and "v000001" in path
    ]


def test_of_a_rewritten_warehouse_no_older_file_stays(world: World) -> None:
    world.carry_out()
    first = set(world.data_files())
    world.step(event("theirs", user="usr_1"))
    replaced = first - {path for path in world.data_files() if "2026-03-01" not in path}
    assert replaced and replaced <= set(world.data_files()), "what was replaced stays for a week"
    # erased: the rows are there, under another name
    world.generation = 1
    world.step(event("theirs", user="erased_t1_0"))
    of_the_day = [path for path in world.data_files() if "2026-03-01" in path]
    assert sorted(path.split("/")[0] for path in of_the_day) == ["fct_hours", "fct_things"]
    assert world.consumed() == expected(world)
    # a warehouse rewritten for somebody this consumer never saw: nothing replaced is left either
    world.step(event("other"))
    world.generation = 2
    world.publish()
    world.carry_out()
    assert len([path for path in world.data_files() if "2026-03-01" in path]) == 2
    before = world.files()
    assert world.carry_out().status == "unchanged"
    assert world.files() == before


def test_the_key_is_written_down_nowhere(world: World) -> None:
    world.step(event("late"))
    for path in world.folder.rglob("*"):
        if path.is_file():
            assert HASH_KEY.encode() not in path.read_bytes(), path


# the gates


def test_a_secret_that_landing_let_through_is_held_back(world: World) -> None:
    secret = "Bearer " + "A1b2C3d4" * 4
    world.carry_out()
    before = world.files()
    outcome = world.step(event("leak", note=f"sent {secret} along"))
    assert (outcome.status, outcome.reason_code) == ("quarantined", "secret_found")
    assert outcome.is_failure
    assert "fct_things.note" in outcome.message and secret not in outcome.message
    assert world.files() == before
    receipt = world.receipts()[-1]
    assert receipt["secrets"] == {"bearer_scheme": 1}
    assert secret not in json.dumps(receipt)
    assert world.actions() == ["analytics.export", "analytics.export_refused"]
    # held back as long as it is there, told once; shared when it is gone
    assert world.step(event("more")).status == "quarantined"
    assert len(world.receipts()) == 2
    del world.events["ws_a/leak"]
    assert world.step().status == "committed"
    assert world.consumed() == expected(world)


def test_what_redaction_leaves_behind_is_no_secret(parquet: World) -> None:
    note = "Authorization: [redacted:authorization_header]"
    assert parquet.step(event("fine", note=note)).status == "committed"


@pytest.mark.parametrize("kind", ["repeated", "each another"])
def test_a_secret_is_counted_by_rows(
    parquet: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values of which a file keeps a dictionary are looked at once each, all others row by row."""
    repeated = []
    honest = gates._repeated

    def noted(*arguments: Any) -> set[str]:
        repeated.append(honest(*arguments))
        return repeated[-1]

    monkeypatch.setattr(gates, "_repeated", noted)
    secret = "Bearer " + "A1b2C3d4" * 4
    notes = ["fine" if kind == "repeated" else f"note {number} of many" for number in range(500)]
    notes[7] = notes[70] = notes[499] = f"sent {secret} along"
    parquet.add(*(event(f"e_{number}", note=note) for number, note in enumerate(notes)))
    parquet.publish()
    outcome = parquet.carry_out()
    assert "fct_things.note: 3 rows" in outcome.message
    assert parquet.receipts()[-1]["secrets"] == {"bearer_scheme": 3}
    assert ("note" in repeated[0]) == (kind == "repeated")
    assert "event_id" not in repeated[0]


def test_a_secret_in_a_list_is_found(parquet: World) -> None:
    assert parquet.step(event("ghp_" + "a1" * 15)).reason_code == "secret_found"


GATES: dict[str, Callable[[str], str]] = {
    "rows_differ": lambda query: query + " and mart.event_id <> 'ws_a_3_0'",
    "foreign_workspace": of_anyone,
    "foreign_environment": of_sandbox,
    "beyond_retention": lambda query: query.split("where")[0],
}


@pytest.mark.parametrize("code", GATES)
def test_a_query_that_says_too_much_is_held_back(
    world: World, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.share["retention"] = 7
    lie(monkeypatch, GATES[code], "fct_things")
    outcome = world.carry_out()
    assert outcome.status == "quarantined"
    assert code in [reason["code"] for reason in world.receipts()[0]["reasons"]]
    assert world.files() == {}


# who dies, and when


class Killed(BaseException):
    """What nobody catches, as a process that is gone."""


def dying(function: Callable[..., Any], when: str, call: int = 1) -> Callable[..., Any]:
    """A function at whose n-th call the process dies, before or after it has done its work."""
    left = [call]

    def worker(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        is_last = left[0] == 0
        if is_last and when == "before":
            raise Killed
        result = function(*arguments, **named)
        if is_last:
            raise Killed
        return result

    return worker


STEPS: dict[str, tuple[Any, str, str, int]] = {
    "before the claim": (versions, "claim", "before", 1),
    "after the claim": (versions, "claim", "after", 1),
    "while days are compared": (Reader, "prints", "before", 2),
    "before the gates": (gates, "examine", "before", 1),
    "after the gates": (gates, "examine", "after", 3),
    "before the first upload": (Store, "upload", "before", 1),
    "amid uploads": (Store, "upload", "after", 2),
    "after the first table": (delta, "commit", "after", 1),
    "before the commit": (versions, "commit", "before", 1),
    "after the commit": (versions, "commit", "after", 1),
    # at the first one the receipt of the version before is looked for
    "before the receipt": (receipts, "append", "before", 2),
    "after the receipt": (receipts, "append", "after", 2),
    "before the audit event": (audit, "write", "before", 1),
    "after the audit event": (audit, "write", "after", 1),
    "before the pointer": (pointer, "write", "before", 1),
    "after the pointer": (pointer, "write", "after", 1),
    "before the claim is given back": (versions, "release", "before", 1),
    "before the cleaning": (versions, "superfluous", "before", 1),
}


@pytest.mark.parametrize("step", STEPS)
def test_who_dies_leaves_no_gap_and_no_double(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, when, call = STEPS[step]
    if place is delta and world.share["format"] != "delta":
        pytest.skip("no table is committed")
    # each step with both formats and both ends, by turns: all four take twice as long
    is_odd = [*STEPS].index(step) % 2 == 1
    more_has_landed = is_odd == (world.share["format"] == "delta")
    world.carry_out()
    world.add(event("late", DAY), event("new", DAY + timedelta(days=4))).publish()
    with monkeypatch.context() as patched:
        patched.setattr(place, name, dying(getattr(place, name), when, call))
        with pytest.raises(Killed):
            world.carry_out()
    if more_has_landed:
        # the day that was on its way turns out otherwise
        del world.events["ws_a/late"]
        world.add(event("latest", DAY)).publish()
    assert not world.carry_out().is_failure
    assert world.consumed() == expected(world)
    assert world.carry_out().status == "unchanged"
    told = world.receipts()
    assert len({one["receipt_id"] for one in told}) == len(told)
    assert [one["status"] for one in told] == ["committed"] * len(told)
    # batches follow on each other: none is missing, none is there twice
    numbers = [tuple(map(int, one["batch"].split("-"))) for one in told]
    assert numbers[0][0] == 0 and numbers[-1][1] == world.batch
    assert all(one[1] == two[0] for one, two in itertools.pairwise(numbers))
    audited = [one["receipt_id"] for one in told if one["row_count"]]
    assert sorted(one["id"] for one in world.audit_files()) == sorted(audited)
    with world.books() as connection:
        assert receipts.verify(connection) == []
    # nothing lies about
    world.now += timedelta(days=8)
    world.step(event("last", DAY + timedelta(days=5)))
    tables = world.manifest()["tables"].values()
    listed = {file["path"] for table in tables for file in table["files"]}
    retired = {one["path"] for one in world.manifest()["retired"]}
    assert set(world.data_files()) - listed <= retired
    assert not list((world.out / "_claims").glob("*"))


def test_what_a_dead_attempt_left_goes_when_its_reason_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.share["format"] = "delta"
    world.step(*some_days())
    world.add(event("late", DAY)).publish()
    with monkeypatch.context() as patched:
        patched.setattr(delta, "commit", dying(delta.commit, "after"))
        with pytest.raises(Killed):
            world.carry_out()
    # the day is as it was at the version before, and its file is not
    assert len(world.consumed()) == 13
    del world.events["ws_a/late"]
    world.publish()
    assert world.carry_out().status == "committed"
    assert world.consumed() == expected(world)


KILLER = """
import os, sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from shares import *
from sharing import versions, receipts, delta
from sharing.stores import Store
world = World(Path({folder!r}), number={number}, batch={batch})
world.share["format"] = {form!r}
place, name = {place}
original = getattr(place, name)
def killed(*arguments, **named):
    original(*arguments, **named)
    os.kill(os.getpid(), 9)
setattr(place, name, killed)
world.carry_out()
"""


@pytest.mark.parametrize(
    "place", ["Store, 'upload'", "delta, 'commit'", "versions, 'commit'", "receipts, 'append'"]
)
def test_a_killed_process_leaves_no_gap_and_no_double(place: str, tmp_path: Path) -> None:
    world = World(tmp_path)
    world.share["format"] = "delta"
    world.add(*some_days()).publish()
    script = KILLER.format(
        root=str(ROOT),
        tests=str(ROOT / "tests"),
        folder=str(tmp_path),
        number=world.number,
        batch=world.batch,
        form="delta",
        place=place,
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "ACME_HASH_KEY": HASH_KEY},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr.decode()
    assert world.carry_out().status in ("committed", "unchanged")
    assert world.consumed() == expected(world)
    assert [one["status"] for one in world.receipts()] == ["committed"]
    assert world.actions() == ["analytics.export"]


# who else is there


def test_a_claim_of_another_warehouse_is_respected(world: World) -> None:
    world.carry_out()
    claim = world.out / "_claims" / "000002.json"
    claim.parent.mkdir(exist_ok=True)
    claim.write_text(json.dumps({"warehouse": "another"}))
    before = world.files()
    outcome = world.step(event("new"))
    assert (outcome.status, outcome.reason_code) == ("failed", "claim_taken")
    assert "_claims/000002.json" in outcome.message
    assert world.files() == before
    claim.unlink()
    assert world.carry_out().status == "committed"
    assert world.consumed() == expected(world)
    assert [one[0] for one in world.statuses()] == ["committed", "failed", "committed"]


def test_a_version_that_somebody_else_committed_is_not_overwritten(
    parquet: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Store.create

    def slower(store: Store, path: str, content: bytes) -> None:
        if path.startswith("_manifests"):
            original(store, path, b'{"somebody": "else"}')
        original(store, path, content)

    monkeypatch.setattr(Store, "create", slower)
    outcome = parquet.carry_out()
    assert (outcome.status, outcome.reason_code) == ("failed", "commit_taken")
    assert parquet.manifest() == {"somebody": "else"}


def test_a_commit_whose_answer_was_lost_counts_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Store.create

    def silent(store: Store, path: str, content: bytes) -> None:
        original(store, path, content)
        if path.startswith("_manifests"):
            raise DestinationError("destination_unreachable", "no answer")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "create", silent)
        assert world.carry_out().status == "committed"
    assert world.carry_out().status == "unchanged"
    assert len(world.receipts()) == 1


def test_a_commit_that_nobody_knows_of_is_told_and_settled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, reading = Store.create, Store.read
    is_down = False

    def silent(store: Store, path: str, content: bytes) -> None:
        nonlocal is_down
        original(store, path, content)
        if path.startswith("_manifests"):
            is_down = True
            raise DestinationError("destination_unreachable", "no answer")

    def down(store: Store, path: str) -> bytes | None:
        if is_down:
            raise DestinationError("destination_unreachable", "no answer")
        return reading(store, path)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "create", silent)
        patched.setattr(Store, "read", down)
        outcome = world.carry_out()
    assert (outcome.status, outcome.reason_code) == ("unknown", "commit_unknown")
    assert outcome.is_failure
    assert world.carry_out().status == "unchanged"
    assert [one[0] for one in world.statuses()] == ["unknown", "committed"]
    assert world.actions() == ["analytics.export"]


def test_a_place_that_belongs_to_another_share_is_left_alone(parquet: World) -> None:
    parquet.carry_out()
    parquet.share["name"] = "acme_others"
    before = parquet.files()
    assert parquet.carry_out().reason_code == "destination_of_another"
    parquet.consumer["status"] = "revoked"
    assert parquet.carry_out().reason_code == "destination_of_another"
    assert parquet.files() == before


def test_a_place_with_files_of_somebody_else_is_left_alone(parquet: World) -> None:
    parquet.out.mkdir()
    (parquet.out / "holiday.jpg").write_bytes(b"sea")
    assert parquet.carry_out().reason_code == "destination_of_another"
    assert list(parquet.files()) == ["holiday.jpg"]


def test_a_place_that_lost_what_was_there_is_not_filled_in_silence(world: World) -> None:
    import shutil  # noqa: PLC0415

    world.carry_out()
    shutil.rmtree(world.out)
    assert world.step(event("new")).reason_code == "destination_lost"
    (world.places.state / "acme_things" / "pointer.json").unlink()
    assert world.carry_out().status == "committed"
    assert world.consumed() == expected(world)


def test_nothing_leaves_when_it_can_not_be_audited(parquet: World) -> None:
    folder = parquet.folder / "landing" / "audit_events"
    folder.write_text("in the way")
    assert parquet.carry_out().reason_code == "audit_unwritable"
    assert parquet.files() == {}
    folder.unlink()
    assert parquet.carry_out().status == "committed"


def test_without_its_key_a_share_fails(parquet: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_HASH_KEY")
    outcome = parquet.carry_out()
    assert (outcome.status, outcome.reason_code) == ("failed", "secret_missing")
    assert "ACME_HASH_KEY" in outcome.message
    assert parquet.files() == {}


def test_the_snapshot_is_read_with_nothing_else_in_reach(parquet: World) -> None:
    from sharing.staging import open_reader  # noqa: PLC0415

    (parquet.folder / "elsewhere").mkdir()
    with open_reader(parquet.published, parquet.folder / "elsewhere", None, "80%") as reader:
        for forbidden in (
            f"copy (select 1) to '{parquet.folder}/x.csv'",
            "select * from read_text('/etc/hostname')",
            "create table snapshot.production.x as select 1 as a",
            "set enable_external_access = true",
        ):
            with pytest.raises(duckdb.Error):
                reader.connection.execute(forbidden)
