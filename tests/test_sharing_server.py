"""The Delta Sharing server: the official client reads what it should, and nobody anything else."""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import yaml
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st
from served import THINGS, Served, copied, delta_sharing, listening
from shares import DAY, HASH_KEY, ROOT, World, event, some_days
from test_shares import expected

from dagster_project import server as command
from dagster_project.defs.shares import bring_in_step
from dagster_project.warehouse import ConfigurationError, Warehouse
from sharing import Places, load, versions
from sharing.contract import read_contract
from sharing.server import hints, journal, links
from sharing.server.app import FILES, PREFIX
from sharing.stores import DestinationError


@pytest.fixture(autouse=True)
def hash_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Four days of two workspaces, shared with acme, who has ws_a. Look, don't touch."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ACME_HASH_KEY", HASH_KEY)
        made = World(tmp_path_factory.mktemp("shared") / "world")
        made.share["format"] = "delta"
        made.add(*some_days(), *some_days(workspace="ws_b")).publish()
        made.carry_out()
        yield made


@pytest.fixture
def world(shared: World, tmp_path: Path) -> World:
    """The same, of the test's own."""
    return copied(shared, tmp_path / "world")


@pytest.fixture
def served(world: World) -> Served:
    return Served(world)


@pytest.fixture(scope="module")
def standing(shared: World, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A server over the same, for requests that change nothing."""
    return Served(copied(shared, tmp_path_factory.mktemp("standing") / "world"))


# what the official client reads


@pytest.fixture(scope="module")
def changed(shared: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """An hour after the first version there was a second: an event came late."""
    made = copied(shared, tmp_path_factory.mktemp("changed") / "world")
    made.now += timedelta(hours=1)
    made.step(event("late", DAY))
    return made


@pytest.fixture(scope="module")
def loading(changed: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that listens, over two versions."""
    with listening(copied(changed, tmp_path_factory.mktemp("loading") / "world")) as made:
        yield made


@pytest.fixture
def travelled(changed: World, tmp_path: Path) -> Served:
    """A server of the test's own, over two versions."""
    return Served(copied(changed, tmp_path / "world"))


def test_the_official_client_lists_what_there_is(loading: Served) -> None:
    client = delta_sharing.SharingClient(str(loading.profile()))
    [share] = client.list_shares()
    [schema] = client.list_schemas(share)
    assert (share.name, schema.name) == ("acme_things", "production")
    tables = ["dim_projects", "fct_hours", "fct_things"]
    assert [one.name for one in client.list_tables(schema)] == tables
    assert [one.name for one in client.list_all_tables()] == tables
    assert delta_sharing.get_table_version(loading.table()) == 2
    assert delta_sharing.get_table_version(loading.table("dim_projects")) == 1
    since = "2026-03-10T12:30:00Z"
    assert delta_sharing.get_table_version(loading.table(), starting_timestamp=since) == 2
    assert "occurred_at" in delta_sharing.get_table_metadata(loading.table()).schema_string


def test_the_official_client_loads_exactly_their_rows(loading: Served) -> None:
    assert loading.load() == sorted(expected(loading.world), key=str)
    assert loading.load("dim_projects") == [("prj_ws_a", "ws_a", "Project ws_a", "production")]
    hours = loading.load("fct_hours")
    assert [row[2] for row in hours] == [4, 3, 3, 3]
    assert hours[0][1] == datetime(2026, 3, 1, 9, tzinfo=UTC)


def test_the_official_client_travels_in_time(loading: Served) -> None:
    before = [row for row in expected(loading.world) if row[1] != "late"]
    assert loading.load(version=1) == sorted(before, key=str)
    assert loading.load(timestamp="2026-03-10T12:59:59Z") == sorted(before, key=str)
    assert len(loading.load(timestamp="2026-03-10T13:59:59+01:00")) == 12
    assert len(loading.load(timestamp="2026-03-10T13:00:00Z")) == 13


def test_the_official_client_loads_changes(loading: Served) -> None:
    first, second = (
        int(datetime(2026, 3, 10, hour, tzinfo=UTC).timestamp() * 1000) for hour in (12, 13)
    )
    of_day = ["ws_a_0_0", "ws_a_0_1", "ws_a_0_2"]
    later = sorted(
        [
            *((name, "delete", 2, second) for name in of_day),
            *((name, "insert", 2, second) for name in [*of_day, "late"]),
        ]
    )
    whole = [*later, *((row[1], "insert", 1, first) for row in expected(loading.world))]
    whole.remove(("late", "insert", 1, first))
    assert loading.load_changes(starting_version=0) == sorted(whole)
    assert loading.load_changes(starting_version=2) == later
    assert loading.load_changes(starting_timestamp="2026-03-10T12:00:01Z") == later
    assert len(loading.load_changes(starting_version=0, ending_version=1)) == 12
    assert (
        len(loading.load_changes(starting_version=0, ending_timestamp="2026-03-10T12:30:00Z")) == 12
    )
    # the same that a reader of the Delta table is told
    told = DeltaTable(str(loading.world.out / "fct_things")).load_cdf(starting_version=0).read_all()
    names = ("event_id", "_change_type", "_commit_version")
    direct = zip(*(told.column(name).to_pylist() for name in names), strict=True)
    assert Counter(direct) == Counter(row[:3] for row in loading.load_changes(starting_version=0))


def test_hints_of_the_official_client_lose_no_row(loading: Served) -> None:
    assert len(loading.load(limit=5)) == 5
    assert len(loading.load(limit=500)) == 13
    day = comparison("equal", "2026-03-01")
    found = loading.load(jsonPredicateHints=json.dumps(day))
    assert found == sorted((row for row in expected(loading.world) if row[6] == DAY), key=str)


def test_a_file_can_be_read_in_parts(standing: Served) -> None:
    file = standing.files()[0]
    whole = standing.get(file["url"])
    assert (whole.status_code, len(whole.content)) == (200, file["size"])
    part = standing.get(file["url"], headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, whole.content[4:8])
    assert standing.http("HEAD", file["url"]).headers["content-length"] == str(file["size"])
    assert whole.content in standing.world.data_files().values()


def test_answers_are_of_the_protocol(standing: Served) -> None:
    answer = standing.ask(f"{THINGS}/query", {})
    assert answer.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    assert answer.headers["delta-table-version"] == "1"
    assert answer.headers["delta-sharing-capabilities"] == "responseformat=parquet"
    protocol, metadata, *files = map(json.loads, answer.text.splitlines())
    assert protocol == {"protocol": {"minReaderVersion": 1}}
    assert metadata["metaData"]["partitionColumns"] == ["activity_date"]
    assert metadata["metaData"]["configuration"] == {"enableChangeDataFeed": "true"}
    table = DeltaTable(str(standing.world.out / "fct_things"))
    assert metadata["metaData"]["id"] == str(table.metadata().id)
    for line in files:
        assert json.loads(line["file"]["stats"]) == {"numRecords": 3}
        left = line["file"]["expirationTimestamp"] / 1000 - datetime.now(UTC).timestamp()
        assert 0 < left <= 15 * 60
    # the same files have the same ids, names are of any case
    any_case = THINGS.replace("acme_things", "Acme_Things").replace("fct_things", "FCT_THINGS")
    shouted = standing.lines(f"{any_case}/query", {})
    assert [line["file"]["id"] for line in shouted[2:]] == [line["file"]["id"] for line in files]
    assert standing.ask("shares/acme_things").json() == {"share": {"name": "acme_things"}}


def test_changes_are_told_to_streams_too(travelled: Served) -> None:
    lines = travelled.lines(f"{THINGS}/query", {"startingVersion": 2})
    kinds = [kind for line in lines[2:] for kind in line]
    assert sorted(kinds) == ["add", "remove"]


# lists in pages


def test_lists_come_in_pages(standing: Served) -> None:
    found: list[str] = []
    token = ""
    for _ in range(3):
        page = standing.ask(f"shares/acme_things/all-tables?maxResults=1&pageToken={token}").json()
        found += [one["name"] for one in page["items"]]
        token = page.get("nextPageToken", "")
    assert (found, token) == (["dim_projects", "fct_hours", "fct_things"], "")
    page = standing.ask("shares?maxResults=0").json()
    assert page["items"] == []
    page = standing.ask(f"shares?pageToken={page['nextPageToken']}").json()
    assert (page["items"], page.get("nextPageToken")) == ([{"name": "acme_things"}], None)
    assert standing.refusal("shares?pageToken=../x")[0] == 400
    assert standing.refusal("shares?maxResults=-1")[0] == 400


# who is refused


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer wrong"])
def test_without_the_token_nothing_is_told(header: str | None, served: Served) -> None:
    for path in ("shares", f"{THINGS}/metadata", "shares/nothing"):
        headers = {} if header is None else {"authorization": header}
        answer = served.get(f"{PREFIX}/{path}", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["errorCode"] == "UNAUTHENTICATED"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert served.events() == []


def test_a_token_ends_when_its_time_has_come(served: Served) -> None:
    url = served.files()[0]["url"]
    served.world.now += timedelta(days=30, seconds=-1)
    assert served.ask("shares").status_code == 200
    served.world.now += timedelta(seconds=1)
    assert served.refusal("shares") == (401, "UNAUTHENTICATED")
    assert served.get(url).status_code == 401


def test_a_revoked_token_ends_at_once(served: Served) -> None:
    url = served.files()[0]["url"]
    _, other = served.server.tokens.issue("acme", 30, served.world.now)
    assert served.server.tokens.revoke(served.token_id, served.world.now)
    assert served.refusal("shares") == (401, "UNAUTHENTICATED")
    assert served.get(url).status_code == 401
    assert served.ask("shares", token=other).status_code == 200
    assert served.server.tokens.revoke("tok_none", served.world.now) is None


def with_another_consumer(world: World) -> None:
    """A second consumer, with a share of their own, of ws_b."""
    share = {
        **world.share,
        "name": "beta_things",
        "consumer": "beta",
        "destination": {"kind": "folder", "url": f"file://{world.folder}/beta"},
    }
    beta = {"workspace_ids": ["ws_b"], "contact": "data@beta.example"}
    content = {"consumers": {"acme": world.consumer, "beta": beta}, "shares": [world.share, share]}
    world.places.file.write_text(yaml.safe_dump(content))


def test_a_token_opens_the_shares_of_its_consumer_alone(served: Served) -> None:
    with_another_consumer(served.world)
    _, theirs = served.server.tokens.issue("beta", 30, served.world.now)
    assert served.ask("shares", token=theirs).json()["items"] == [{"name": "beta_things"}]
    assert served.ask("shares").json()["items"] == [{"name": "acme_things"}]
    for path, body in CALLS:
        assert served.refusal(path, body, token=theirs) == (404, "RESOURCE_DOES_NOT_EXIST")
        there = path.replace("acme", "beta")
        gone = path.replace("acme", "nobody")
        # what another one has is told from what nobody has by nothing
        assert served.ask(there, body).json() == served.ask(gone, body).json()
    assert served.server.tokens.issue("gone", 30, served.world.now)
    _, stray = served.server.tokens.issue("gone", 30, served.world.now)
    assert served.refusal("shares", token=stray) == (403, "PERMISSION_DENIED")


CALLS: list[tuple[str, dict[str, Any] | None]] = [
    ("shares/acme_things", None),
    ("shares/acme_things/schemas", None),
    ("shares/acme_things/schemas/production/tables", None),
    ("shares/acme_things/all-tables", None),
    (f"{THINGS}/version", None),
    (f"{THINGS}/metadata", None),
    (f"{THINGS}/query", {}),
    (f"{THINGS}/changes?startingVersion=0", None),
]


def pause(world: World) -> str:
    world.consumer["status"] = "paused"
    return "paused"


def revoke(world: World) -> str:
    world.consumer["status"] = "revoked"
    return "revoked"


def downgrade(world: World) -> str:
    world.plans["ws_a"] = "growth"
    world.publish()
    return "capability_missing"


def lose_a_workspace(world: World) -> str:
    del world.plans["ws_a"]
    world.publish()
    return "workspace_unknown"


def lose_the_key(_: World) -> str:
    del os.environ["ACME_HASH_KEY"]
    return "secret_missing"


def erase_somebody(world: World) -> str:
    world.generation += 1
    world.publish()
    return "redefined"


def ask_for_less(world: World) -> str:
    world.share["pii"] = {"user_id": "drop"}
    return "redefined"


def leave_a_workspace(world: World) -> str:
    world.consumer["workspace_ids"] = ["ws_b"]
    return "redefined"


CHANGES = (
    pause, revoke, downgrade, lose_a_workspace, lose_the_key,
    erase_somebody, ask_for_less, leave_a_workspace,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_who_may_not_any_more_is_refused_at_once(
    change: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = served.files()[0]["url"]
    assert served.get(url).status_code == 200
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)
    reason = change(served.world)
    served.world.write_file()
    if reason == "secret_missing":
        # a key is looked for when something else is another
        served.world.publish()
    is_the_shares = reason == "redefined"
    for path, body in CALLS[4:] if is_the_shares else CALLS:
        assert served.refusal(path, body) == (403, "PERMISSION_DENIED"), path
    assert served.get(url).status_code == 403
    listed = served.ask("shares")
    if reason in ("paused", "revoked"):
        assert listed.status_code == 403
    else:
        assert len(listed.json()["items"]) == is_the_shares
    told = {one["metadata"]["reason_code"] for one in served.events()[1:]}
    assert told == {reason}


def test_what_was_redefined_is_served_again_after_the_next_run(served: Served) -> None:
    world = served.world
    world.consumer["workspace_ids"] = ["ws_b"]
    world.write_file()
    assert served.ask(f"{THINGS}/query", {}).status_code == 403
    world.carry_out()
    assert {row["id"] for row in served.files()}
    # and what was theirs before is no more
    assert served.refusal(f"{THINGS}/query", {"version": 1})[0] == 400
    assert served.refusal(f"{THINGS}/changes?startingVersion=0")[0] == 400
    assert served.refusal(f"{THINGS}/changes?startingVersion=2")[0] == 400
    world.step(event("more", workspace="ws_b"))
    assert len(served.lines(f"{THINGS}/changes?startingVersion=3")) == 2 + 2


def test_a_workspace_without_rows_leaves_without_a_new_version(served: Served) -> None:
    world = served.world
    world.consumer["workspace_ids"] = ["ws_a", "ws_d"]
    world.plans["ws_d"] = "enterprise"
    world.step(event("new"))
    assert served.days()
    world.consumer["workspace_ids"] = ["ws_a"]
    world.write_file()
    assert served.ask(f"{THINGS}/query", {}).status_code == 403
    assert world.carry_out().status == "unchanged"
    assert served.days()


def test_a_file_that_is_none_serves_nobody(served: Served) -> None:
    served.world.places.file.write_text("shares: [{name: s3cret}]")
    assert served.refusal("shares") == (503, "TEMPORARILY_UNAVAILABLE")
    assert "s3cret" not in served.ask("shares").text


def test_before_the_first_run_there_is_nothing(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    world.share["format"] = "delta"
    world.write_file()
    served = Served(world)
    assert served.refusal("shares/acme_things") == (403, "PERMISSION_DENIED")
    world.publish()
    assert served.ask("shares/acme_things").status_code == 200
    for path, body in CALLS[4:]:
        assert served.refusal(path, body) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_only_delta_is_served(served: Served) -> None:
    served.world.share["format"] = "parquet"
    served.world.write_file()
    assert served.ask("shares").json() == {"items": []}
    assert served.refusal(f"{THINGS}/metadata") == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{THINGS}/query", {"version": -1}),
        (f"{THINGS}/query", {"version": True}),
        (f"{THINGS}/query", {"version": 1.5}),
        (f"{THINGS}/query", {"version": 10**30}),
        (f"{THINGS}/query", {"version": 0}),
        (f"{THINGS}/query", {"version": 2}),
        (f"{THINGS}/query", {"version": 1, "timestamp": "2026-03-10T12:00:00Z"}),
        (f"{THINGS}/query", {"timestamp": "yesterday"}),
        (f"{THINGS}/query", {"timestamp": 7}),
        (f"{THINGS}/query", {"timestamp": "0001-01-01T00:00:00+23:00"}),
        (f"{THINGS}/query", {"timestamp": "2026-03-10T11:59:59Z"}),
        (f"{THINGS}/query", {"limitHint": "many"}),
        (f"{THINGS}/query", {"long": "x" * (1 << 20)}),
        (f"{THINGS}/query", {"startingVersion": 2}),
        (f"{THINGS}/changes", None),
        (f"{THINGS}/changes?startingVersion=one", None),
        (f"{THINGS}/changes?startingVersion=2", None),
        (f"{THINGS}/changes?startingVersion=1&endingVersion=0", None),
        (f"{THINGS}/changes?startingVersion=0&startingTimestamp=2026-03-10", None),
        (f"{THINGS}/changes?startingTimestamp=2026-03-11T00:00:00Z", None),
        (f"{THINGS}/version?startingTimestamp=x", None),
    ],
)
def test_what_is_asked_wrongly_is_said_to_be(
    path: str, body: dict[str, Any] | None, standing: Served
) -> None:
    assert standing.refusal(path, body) == (400, "INVALID_PARAMETER_VALUE")


def test_what_is_not_there_is_said_not_to_be(standing: Served) -> None:
    for path in ("", "nothing", THINGS, THINGS.replace("fct_things", "fct_other") + "/metadata"):
        assert standing.refusal(path) == (404, "RESOURCE_DOES_NOT_EXIST")
    sandbox = THINGS.replace("production", "sandbox")
    assert standing.refusal(f"{sandbox}/metadata") == (404, "RESOURCE_DOES_NOT_EXIST")
    assert standing.refusal("shares/acme_things/schemas/sandbox/tables")[0] == 404
    assert standing.refusal(f"{THINGS}/query") == (405, "METHOD_NOT_ALLOWED")
    for content in (b"[1]", b"{", b"[" * 200_000):
        answer = standing.http(
            "POST",
            f"{PREFIX}/{THINGS}/query",
            content=content,
            headers={"authorization": f"Bearer {standing.text}"},
        )
        assert answer.status_code == 400
    wanted = {"delta-sharing-capabilities": "responseformat=delta;readerfeatures=columnmapping"}
    assert standing.refusal(f"{THINGS}/query", {}, headers=wanted)[0] == 400
    both = {"delta-sharing-capabilities": "responseformat=delta,parquet"}
    assert standing.ask(f"{THINGS}/query", {}, headers=both).status_code == 200


# URLs of files


def test_a_url_is_for_the_file_it_names(standing: Served) -> None:
    url = standing.files()[0]["url"]
    base, _, text = url.rpartition("/")
    head, body, signature = text.split(".")
    forged = {
        **jwt.decode(text, options={"verify_signature": False}),
        "path": "fct_hours/_delta_log/00000000000000000000.json",
    }
    kid = {"kid": standing.server.links.key_id}
    for wrong in (
        f"{head}.{body}.{signature[:-2]}{'AA' if signature[-2:] != 'AA' else 'BB'}",
        f"{head}.{body[:-4]}.{signature}",
        jwt.encode(forged, b"x" * 32, "HS256", headers=kid),
        jwt.encode(forged, None, "none", headers=kid),
        jwt.encode(forged, standing.server.links.key, "HS256", headers={"kid": "another"}),
        jwt.encode({"path": "x"}, standing.server.links.key, "HS256", headers=kid),
        standing.text,
        "x",
    ):
        answer = standing.get(f"{base}/{wrong}")
        assert (answer.status_code, answer.json()["errorCode"]) == (403, "PERMISSION_DENIED")
    # this server after a restart, or another one, has another key
    said = standing.server.links.read(text)
    store = links.open_store(standing.world.write_file().shares[0].destination)
    [other], _ = links.Links(standing.server.links.url).to(store, [said])
    assert standing.get(other).json()["message"].startswith("the URL is not of this server")
    assert standing.get(url).status_code == 200


def test_a_url_ends_after_a_quarter_of_an_hour(standing: Served) -> None:
    earlier = links.Links(
        standing.server.links.url,
        lambda: datetime.now(UTC) - links.LIFETIME,
        standing.server.links.key,
        standing.server.links.key_id,
    )
    said = standing.server.links.read(standing.files()[0]["url"].rpartition("/")[2])
    store = links.open_store(standing.world.write_file().shares[0].destination)
    [url], _ = earlier.to(store, [said])
    assert standing.get(url).json()["message"] == "the URL has expired: ask again"


def test_no_path_leads_out_of_the_share(served: Served) -> None:
    world = served.world
    said = served.server.links.read(served.files()[0]["url"].rpartition("/")[2])
    store = links.open_store(world.write_file().shares[0].destination)
    (world.folder / "outside.parquet").write_bytes(b"secret")
    (world.out / "fct_things" / "link.parquet").symlink_to(world.folder / "outside.parquet")
    paths = (
        "../outside.parquet",
        "fct_things/../../outside.parquet",
        "fct_things/link.parquet",
        str(world.folder / "outside.parquet"),
        "fct_things",
        "fct_things/gone.parquet",
    )
    claims = [links.Claims(said.token_id, said.share, said.seal, path) for path in paths]
    for url in served.server.links.to(store, claims)[0]:
        assert served.get(url).status_code == 404
    answer = served.get(f"{FILES}/..%2f..%2foutside.parquet")
    assert answer.status_code in (403, 404) and b"secret" not in answer.content
    assert served.get(f"{FILES}/../../outside.parquet").status_code == 404


# versions that are served


def test_a_commit_that_no_manifest_names_is_not_served(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process died after the commit of Delta and before that of the share."""
    world = served.world
    with monkeypatch.context() as patched:
        patched.setattr(versions, "commit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            world.step(event("late", DAY))
    assert DeltaTable(str(world.out / "fct_things")).version() == 2
    assert sum(json.loads(file["stats"])["numRecords"] for file in served.files()) == 12
    assert served.ask(f"{THINGS}/version").headers["delta-table-version"] == "1"
    assert served.refusal(f"{THINGS}/query", {"version": 2})[0] == 400
    changes = served.lines(f"{THINGS}/changes?startingVersion=0&endingVersion=9")
    assert {line["add"]["version"] for line in changes[2:]} == {1}
    # the next attempt goes on from there, and what it commits is named
    world.step(event("other", DAY))
    assert served.ask(f"{THINGS}/version").headers["delta-table-version"] == "3"
    assert sum(json.loads(file["stats"])["numRecords"] for file in served.files()) == 14
    assert served.refusal(f"{THINGS}/query", {"version": 2})[0] == 400
    changes = served.lines(f"{THINGS}/changes?startingVersion=2")[2:]
    told = [(kind, one["version"]) for line in changes for kind, one in line.items()]
    assert sorted(told) == [("add", 2), ("add", 3), ("remove", 2), ("remove", 3)]


def test_what_a_week_has_passed_over_is_gone(served: Served) -> None:
    world = served.world
    world.now += timedelta(days=versions.HISTORY_DAYS, hours=1)
    world.step(event("second", DAY))
    assert served.refusal(f"{THINGS}/query", {"version": 1})[0] == 400
    assert served.refusal(f"{THINGS}/query", {"timestamp": "2026-03-11T00:00:00Z"})[0] == 400
    assert served.refusal(f"{THINGS}/changes?startingVersion=0")[0] == 400
    world.step(event("third", DAY))
    assert served.days(version=2)
    assert len(served.lines(f"{THINGS}/changes?startingVersion=3")) == 2 + 2


def test_time_travel_does_not_outlive_retention(served: Served) -> None:
    world = served.world
    world.step(event("late", DAY), event("late_too", DAY + timedelta(days=2)))
    # plan enterprise: 730 days; the first two days are over, and no run saw to it yet
    _, others = served.server.tokens.issue("acme", 10_000, world.now)
    served.text = others
    world.now = datetime.combine(DAY + timedelta(days=732), datetime.min.time())
    shown = ["2026-03-03", "2026-03-04"]
    assert served.days() == served.days(version=1) == shown
    added = {
        line["add"]["partitionValues"]["activity_date"]
        for line in served.lines(f"{THINGS}/changes?startingVersion=0")[2:]
        if "add" in line
    }
    assert added == set(shown)
    # a run deletes them; an older version lacks them as well
    world.carry_out()
    assert served.days() == shown
    assert served.refusal(f"{THINGS}/query", {"version": 1})[0] == 400


class TwoPlans(World):
    """A world with a plan that shows ten days."""

    @property
    def places(self) -> Places:
        plans = self.folder / "plans.csv"
        seeds = super().places.plans.read_text()
        plans.write_text(f"{seeds}short,production,,10,10,true,true,true,true,true\n")
        return replace(super().places, plans=plans)


def test_of_two_retentions_the_shorter_one_ends_time_travel(tmp_path: Path) -> None:
    world = TwoPlans(tmp_path / "world")
    world.share["format"] = "delta"
    world.consumer["workspace_ids"] = ["ws_a", "ws_b"]
    world.plans["ws_b"] = "short"
    world.step(*some_days(), *some_days(workspace="ws_b"))
    served = Served(world)
    whole = served.days()
    world.now += timedelta(days=2)
    world.publish()
    world.carry_out()
    # the first day is still ws_a's, and was written anew without ws_b
    assert served.days() == whole
    assert served.days(version=1) == whole[1:]
    assert served.refusal(f"{THINGS}/changes?startingVersion=2")[0] == 400
    assert served.refusal(f"{THINGS}/changes?startingVersion=0")[0] == 400


def test_a_file_that_is_deleted_is_not_promised(travelled: Served) -> None:
    [old] = [
        one["path"] for one in travelled.world.manifest()["retired"] if "fct_things" in one["path"]
    ]
    (travelled.world.out / old).unlink()
    assert travelled.refusal(f"{THINGS}/query", {"version": 1})[0] == 400
    assert travelled.refusal(f"{THINGS}/changes?startingVersion=0")[0] == 400
    assert travelled.days()


def test_a_table_that_did_not_change_has_no_later_version(travelled: Served) -> None:
    projects = THINGS.replace("fct_things", "dim_projects")
    late = "startingTimestamp=2026-03-10T12:30:00Z"
    assert travelled.refusal(f"{projects}/version?{late}")[0] == 400
    assert travelled.ask(f"{projects}/version").headers["delta-table-version"] == "1"
    assert len(travelled.lines(f"{projects}/query", {"timestamp": "2026-03-10T14:00:00Z"})) == 3


def test_a_log_that_can_t_be_read_is_said_to_be_unavailable(travelled: Served) -> None:
    log = travelled.world.out / "fct_things" / "_delta_log" / f"{1:020d}.json"
    log.write_text("{")
    assert travelled.refusal(f"{THINGS}/query", {"version": 1})[0] == 503
    log.unlink()
    assert travelled.refusal(f"{THINGS}/changes?startingVersion=1")[0] == 400


# hints

DAYS = [str(DAY + timedelta(days=number)) for number in range(3)]
COLUMN = {"op": "column", "name": "activity_date", "valueType": "date"}


def comparison(name: str, day: str) -> dict[str, Any]:
    literal = {"op": "literal", "value": day, "valueType": "date"}
    return {"op": name, "children": [COLUMN, literal]}


KNOWN = st.builds(comparison, st.sampled_from(sorted(hints.COMPARISONS)), st.sampled_from(DAYS))
UNKNOWN = st.sampled_from(
    [
        {"op": "equal", "children": [{**COLUMN, "name": "note"}, {"op": "literal", "value": "x"}]},
        {"op": "like", "children": [COLUMN]},
        {"op": "equal", "children": [COLUMN]},
        {"children": []},
        7,
    ]
)
PREDICATES = st.recursive(
    KNOWN | UNKNOWN,
    lambda inner: (
        st.builds(
            lambda name, children: {"op": name, "children": children},
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3),
        )
        | st.builds(lambda child: {"op": "not", "children": [child]}, inner)
    ),
    max_leaves=6,
)


def holds(node: Any, day: str, guesses: Iterator[bool]) -> bool:
    """Whether a predicate holds for a row of a day, if what is not about days is as guessed."""
    name = node.get("op") if isinstance(node, dict) else None
    if name in ("and", "or"):
        found = [holds(child, day, guesses) for child in node["children"]]
        return all(found) if name == "and" else any(found)
    if name == "not":
        return not holds(node["children"][0], day, guesses)
    if name in hints.COMPARISONS and node["children"][0] == COLUMN and len(node["children"]) == 2:
        return bool(hints.COMPARISONS[name](day, node["children"][1]["value"]))
    return next(guesses)


@given(PREDICATES, st.sampled_from(DAYS), st.lists(st.booleans(), min_size=6, max_size=6))
def test_no_file_with_a_row_that_matches_is_left_out(
    predicate: Any, day: str, guesses: list[bool]
) -> None:
    if holds(predicate, day, itertools.chain(guesses, itertools.repeat(True))):
        assert hints.may_match(predicate, "activity_date", day)


def test_hints_leave_out_what_they_can(standing: Served) -> None:
    first = comparison("lessThanOrEqual", "2026-03-02")
    assert standing.days(jsonPredicateHints=json.dumps(first)) == ["2026-03-01", "2026-03-02"]
    other = {"op": "not", "children": [first]}
    assert standing.days(jsonPredicateHints=json.dumps(other)) == ["2026-03-03", "2026-03-04"]
    null = {"op": "isNull", "children": [COLUMN]}
    assert standing.days(jsonPredicateHints=json.dumps(null)) == []
    whole = standing.days()
    for vague in ("{", "7", "null", '{"op": "and"}', "[" * 200_000, 5, {"op": "isNull"}):
        assert standing.days(jsonPredicateHints=vague) == whole
    assert len(standing.days(limitHint=4)) == 2
    assert standing.days(limitHint=0) == whole
    # how many rows match, only the client knows
    assert standing.days(limitHint=1, predicateHints=["note = 'x'"]) == whole
    assert len(standing.days(limitHint=1, jsonPredicateHints=json.dumps(first))) == 2


def test_a_row_without_a_day_is_left_out_for_being_null_alone() -> None:
    assert not hints.may_match(
        {"op": "not", "children": [{"op": "isNull", "children": [COLUMN]}]}, "activity_date", ""
    )
    assert hints.may_match(comparison("equal", DAYS[0]), "activity_date", "")
    assert hints.may_match({"op": "isNull", "children": [COLUMN]}, None, "")


# audit


def test_each_call_leaves_an_audit_event(served: Served) -> None:
    served.lines(f"{THINGS}/metadata")
    served.lines(f"{THINGS}/query", {})
    served.lines(f"{THINGS}/changes?startingVersion=0")
    served.refusal(f"{THINGS}/query", {"version": 9})
    served.ask("shares")
    served.ask(f"{THINGS}/version")
    events = served.events()
    keys = ("operation", "table", "version", "file_count", "row_count", "reason_code")
    told = [tuple(one["metadata"].get(key) for key in keys) for one in events]
    assert told == [
        ("metadata", "fct_things", 1, 0, 0, ""),
        ("query", "fct_things", 1, 4, 12, ""),
        ("changes", "fct_things", 0, 4, 12, ""),
        ("query", "fct_things", None, None, None, "version_unknown"),
    ]
    assert [one["action"] for one in events] == ["share.read"] * 3 + ["share.read_refused"]
    assert {one["metadata"]["token_id"] for one in events} == {served.token_id}
    # they land as any audit event does, of the consumer's project
    assert served.world.land() == 1 + 4
    landed = served.world.rows(
        "select action, actor_type, actor_id, workspace_id, project_id, source"
        " from raw.audit_events where id like 'read%' order by all"
    )
    of = ("consumer", "acme", "ws_a", "prj_ws_a", "shares/acme_things")
    assert landed == [("share.read", *of)] * 3 + [("share.read_refused", *of)]
    [(payload,)] = served.world.rows(
        "select payload::varchar from raw.audit_events where action = 'share.read_refused'"
    )
    assert served.token_id in payload
    # and are no part of what is shared, nor of what receipts are held against
    with served.world.books() as connection:
        from sharing import receipts  # noqa: PLC0415

        assert receipts.verify(connection) == []


def test_reads_are_never_shared(served: Served) -> None:
    from sharing.compiler import OWN_ACTIONS  # noqa: PLC0415

    served.lines(f"{THINGS}/metadata")
    served.refusal(f"{THINGS}/query", {"version": 9})
    assert {one["action"] for one in served.events()} < set(OWN_ACTIONS)


def test_events_are_handed_over_in_one_file(served: Served) -> None:
    for _ in range(3):
        served.lines(f"{THINGS}/metadata")
    folder = served.server.journal.folder
    assert list(folder.glob("reads-*")) == []
    served.server.journal.hand_over()
    served.server.journal.hand_over()
    [path] = folder.glob("reads-*")
    assert len(path.read_text().splitlines()) == 3
    with listening(served.world) as other:
        asked = {"authorization": f"Bearer {other.text}"}
        httpx.get(f"{other.url}{PREFIX}/{THINGS}/metadata", headers=asked).raise_for_status()
    # the server ended
    assert len(list(folder.glob("reads-*"))) == 2
    assert list(folder.glob(".reads-*")) == []


def test_nothing_is_lost_when_the_server_dies(served: Served) -> None:
    served.lines(f"{THINGS}/metadata")
    served.lines(f"{THINGS}/query", {})
    folder = served.server.journal.folder
    [left] = folder.glob(".reads-*")
    # while the third event was being written
    left.write_text(left.read_text() + '{"id": "read_x", "act')
    (folder / ".reads-empty.jsonl.tmp").touch()
    assert served.world.land() == 1
    revived = Served(served.world)
    assert list(folder.glob(".reads-*")) == []
    assert len(revived.events()) == 2
    assert served.world.land() == 2


def test_without_an_event_nothing_is_served(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.lines(f"{THINGS}/metadata")
    full = {"is": True}

    def sync(_: int) -> None:
        if full["is"]:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal.os, "fsync", sync)
    assert served.refusal(f"{THINGS}/query", {}) == (503, "TEMPORARILY_UNAVAILABLE")
    full["is"] = False
    served.lines(f"{THINGS}/metadata")
    # half a line is never left for the next event to become a part of
    assert [one["metadata"]["operation"] for one in served.events()] == ["metadata"] * 2


def test_a_landing_folder_that_can_t_be_written_stops_the_start(served: Served) -> None:
    folder = served.server.journal.folder
    shutil.rmtree(folder)
    folder.write_text("a file")
    with pytest.raises(DestinationError, match="nothing leaves without an audit event"):
        served.server.journal.open()


def test_tokens_are_written_down_nowhere(
    loading: Served, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    loading.load()
    loading.load_changes(starting_version=0)
    answer = loading.ask(f"{THINGS}/metadata", token=loading.text[:-1] + "x")
    assert answer.status_code == 401
    loading.events()
    path = loading.server.tokens.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = loading.text.removeprefix("rollcall_")
    looked_at = 0
    for file in loading.world.folder.rglob("*"):
        if file.is_file():
            looked_at += 1
            assert secret[:12].encode() not in file.read_bytes(), file
    assert looked_at > 20
    # what the client logs is its own affair
    names = ("rollcall", "uvicorn", "asyncio", "starlette")
    ours = [record for record in caplog.records if record.name.startswith(names)]
    said = capfd.readouterr()
    text = "".join([*(record.getMessage() for record in ours), said.out, said.err])
    assert secret[:12] not in text
    key = loading.server.links.key
    assert repr(key) not in repr(loading.server) and "eyJ" not in text
    [kept] = json.loads(path.read_text())
    assert len(kept["sha256"]) == 64


def test_a_file_of_tokens_that_is_none_serves_nobody(served: Served) -> None:
    served.server.tokens.path.write_text("{")
    assert served.refusal("shares") == (503, "TEMPORARILY_UNAVAILABLE")


# the command


@pytest.fixture
def settings(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    world.write_file()
    monkeypatch.setenv("ROLLCALL_HOME", str(world.folder / "home"))
    monkeypatch.setenv("ROLLCALL_SHARES", str(world.places.file))
    monkeypatch.delenv("ROLLCALL_SHARING_URL", raising=False)

    def start(_: Warehouse) -> None:
        raise AssertionError("the server is being started")

    monkeypatch.setattr(command.dbt_runner, "prepare_manifests", start)
    return world


def test_a_profile_is_printed_once(
    settings: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLCALL_SHARING_URL", "https://shares.example.com/")
    assert command.main(["issue", "acme", "--days", "7"]) == 0
    said = capsys.readouterr()
    profile = json.loads(said.out)
    assert profile["endpoint"] == "https://shares.example.com/delta-sharing"
    left = datetime.fromisoformat(profile["expirationTime"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    token_id = said.err.split()[0]
    assert profile["bearerToken"] not in said.err
    assert command.main(["tokens"]) == 0
    listed = capsys.readouterr().out
    assert token_id in listed and profile["bearerToken"] not in listed
    assert command.main(["revoke", token_id]) == 0
    assert command.main(["tokens"]) == 0
    assert "revoked" in capsys.readouterr().out.splitlines()[-1]
    tokens = Warehouse.from_environment().tokens_file
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600


def test_what_can_t_be_served_is_said_to_be(
    settings: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*arguments: str) -> str:
        assert command.main(arguments) == 2
        return capsys.readouterr().err

    assert "there are: acme" in said("issue", "nobody")
    assert "1 to 3650" in said("issue", "acme", "--days", "0")
    assert "there is no token tok_1" in said("revoke", "tok_1")
    settings.share["format"] = "parquet"
    settings.write_file()
    assert "has no share of format delta" in said("serve", "--port", "0")
    monkeypatch.delenv("ROLLCALL_SHARES")
    assert "write it, see README" in said("serve", "--port", "0")
    assert "write it, see README" in said("issue", "acme")
    with pytest.raises(SystemExit) as usage:
        command.main([])
    assert usage.value.code == 2


def test_there_is_one_server_of_an_installation(
    settings: World, capsys: pytest.CaptureFixture[str]
) -> None:
    at = Warehouse.from_environment()
    at.server_lock_file.parent.mkdir(parents=True, exist_ok=True)
    with command.FileLock(at.server_lock_file):
        assert command.main(["serve", "--port", "0"]) == 2
    assert "runs already" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said_to_be(
    settings: World, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert command.main(["serve", "--port", port]) == 2
    assert "name another one with --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "http://plain.example",
        "ftp://x.example",
        "https:///x",
        "https://u:p@x",
        "https://x/?a",
        "x.y",
    ],
)
def test_tokens_travel_over_tls_alone(url: str) -> None:
    with pytest.raises(ConfigurationError, match="ROLLCALL_SHARING_URL") as raised:
        Warehouse.from_environment({"ROLLCALL_SHARING_URL": url})
    assert url not in str(raised.value)


def test_without_the_extra_it_is_said_what_to_install() -> None:
    program = (
        "import sys; sys.modules['jwt'] = None; sys.argv = ['server', 'tokens'];"
        "import runpy; runpy.run_module('dagster_project.server', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "install the extra sharing-server" in done.stderr


def test_the_command_serves_what_a_run_shared(
    demo_copy: Path,
    demo_landing: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = Warehouse(demo_copy, Path(shutil.copytree(demo_landing, tmp_path / "landing")))
    with at.connect_published("production") as connection:
        [(workspace,), *_] = connection.execute(
            "select workspace_id from production.dim_workspaces where plan_id = 'enterprise'"
            " order by all"
        ).fetchall()
        attempts = connection.execute(
            "select event_id, occurred_at from production.fct_auth_attempts"
            " where workspace_id = ? order by all",
            [workspace],
        ).fetchall()
    share = {
        "name": "acme_auth",
        "consumer": "acme",
        "environment": "production",
        "tables": [{"model": "fct_auth_attempts", "columns": ["event_id", "occurred_at"]}],
        "format": "delta",
        "destination": {"kind": "folder", "url": f"file://{tmp_path / 'out'}"},
        "capability": "warehouse_share",
        "retention": 100_000,
        "requested_by": "usr_ops_1",
    }
    consumers = {"acme": {"workspace_ids": [workspace], "contact": "c"}}
    content = {"consumers": consumers, "shares": [share]}
    at.shares_file.write_text(yaml.safe_dump(content))
    manifest = json.loads((at.dbt_target("production") / "manifest.json").read_text())
    file = load(at.shares_file)
    done = bring_in_step(
        at, file.shares[0], file.consumers["acme"], read_contract(manifest, "production"), "run"
    )
    assert done is not None and done.row_count == len(attempts) > 0
    for name, value in at.variables().items():
        monkeypatch.setenv(name, value)
    assert command.main(["issue", "acme"]) == 0
    issued = json.loads(capsys.readouterr().out)
    running = subprocess.Popen(
        [sys.executable, "-m", "dagster_project.server", "serve", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None
        address = running.stdout.readline().split()[0]
        profile = tmp_path / "acme.share"
        profile.write_text(json.dumps({**issued, "endpoint": address}))
        found = delta_sharing.load_as_pandas(f"{profile}#acme_auth.production.fct_auth_attempts")
    finally:
        running.send_signal(signal.SIGINT)
        code = running.wait(timeout=30)
    assert code == 0
    served = sorted((row.event_id, row.occurred_at.to_pydatetime()) for row in found.itertuples())
    assert served == [(name, moment.replace(tzinfo=UTC)) for name, moment in attempts]
    assert [date.fromisoformat(str(day)) for day in found.activity_date]
    read = list((at.landing / "audit_events" / "shares").glob("reads-*.jsonl"))
    assert len(read) == 1
