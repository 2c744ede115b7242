"""Streams of events: each event in one file, under its own hour, whatever died on the way."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from shares import (
    CONTRACT,
    DAY,
    HASH_KEY,
    ROOT,
    SHARE,
    World,
    event,
    lie,
    of_anyone,
    of_sandbox,
    some_days,
)
from test_shares import Killed, dying
from test_shares_on_s3 import BUCKET, PREFIX, bucket, made, server  # noqa: F401 - fixtures

from sharing import audit, gates, ocsf, pointer, receipts, streams, versions
from sharing.compiler import STREAM, Compiled, compile_share
from sharing.definitions import Consumer, Share
from sharing.plans import Plan, Workspace
from sharing.stores import Store

TABLE: dict[str, Any] = {"model": "fct_events", "profile": "stream"}


@pytest.fixture(autouse=True)
def hash_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)


def stream_of(folder: Path, form: str = "ndjson") -> World:
    world = World(folder).stay_open()
    world.share |= {
        "format": form,
        "capability": "stream",
        "tables": [dict(TABLE)],
        "pii": {"user_id": "keyed_hash"},
    }
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return stream_of(tmp_path).add(
        event("audit_1@8"),
        event("audit_2@23"),
        event("login_1"),
        event("api_1"),
        event("api_2@10", DAY + timedelta(days=1)),
        event("session_1"),
        *some_days(workspace="ws_b"),
    )


def ids(world: World) -> Counter[str]:
    key = {"ndjson": lambda line: line["event_id"], "ocsf": lambda line: line["metadata"]["uid"]}
    return Counter(key[world.share["format"]](line) for line in world.lines())


def owed(world: World) -> Counter[str]:
    """What a consumer of ws_a has to have: every event but those of sessions, once."""
    return Counter(
        name
        for workspace, name, *_ in world.events.values()
        if workspace == "ws_a" and not name.startswith(("session", "journey"))
    )


def parts(world: World) -> dict[str, bytes]:
    return {path: data for path, data in world.files().items() if path.endswith(".gz")}


# what is there


def test_events_lie_under_their_stream_day_and_hour(world: World) -> None:
    outcome = world.step()
    assert (outcome.status, outcome.row_count, outcome.version) == ("committed", 5, 1)
    assert sorted(parts(world)) == [
        "stream=audit_events/env=production/dt=2026-03-01/hour=08/part-000001-0001.json.gz",
        "stream=audit_events/env=production/dt=2026-03-01/hour=09/part-000001-0001.json.gz",
        "stream=audit_events/env=production/dt=2026-03-01/hour=23/part-000001-0001.json.gz",
        "stream=platform_events/env=production/dt=2026-03-01/hour=09/part-000001-0001.json.gz",
        "stream=platform_events/env=production/dt=2026-03-02/hour=10/part-000001-0001.json.gz",
    ]
    [line] = [line for line in world.lines() if line["event_id"] == "api_1"]
    user = line.pop("user_id")
    assert user.startswith("k1:") and len(user) == 67
    assert line == {
        "workspace_id": "ws_a",
        "source_table": "platform_events",
        "event_id": "api_1",
        "project_id": "prj_ws_a",
        "category": "platform",
        "type": "api.request",
        "origin": "automatic",
        "occurred_at": "2026-03-01T09:30:00.000Z",
        "received_at": "2026-03-02T07:00:00.000Z",
        "session_id": "ses_usr_1",
        "service_id": None,
        "trace_id": "trc_api_1",
        "outcome": None,
        "is_test": False,
        "activity_date": "2026-03-01",
        "environment": "production",
    }


def test_the_manifest_is_last_and_tells_the_bytes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[str] = []
    for name in ("upload", "create"):
        original = getattr(Store, name)

        def noting(store: Store, path: str, source: Any, original: Any = original) -> None:
            put.append(path)
            original(store, path, source)

        monkeypatch.setattr(Store, name, noting)
    world.step()
    assert put[-1] == "_manifests/000001.json" and len(put) == 1 + 5 + 1
    found = parts(world)
    for file in world.manifest()["tables"]["fct_events"]["files"]:
        assert file["sha256"] == hashlib.sha256(found[file["path"]]).hexdigest()
        # neither time nor name in the header
        assert found[file["path"]][3:8] == bytes(5)


def test_the_columns_are_a_strict_part_of_what_is_shared(world: World) -> None:
    full = {column.name for column in CONTRACT["fct_events"].columns}
    world.step()
    told = {name for line in world.lines() for name in line}
    assert told < full
    assert told == {*STREAM, "workspace_id", "activity_date", "environment"}


def test_chosen_types_go_and_no_others(world: World) -> None:
    world.share["tables"] = [{**TABLE, "types": ["session.*", "login"]}]
    world.add(event("journey_1")).step()
    assert set(ids(world)) == {"session_1", "login_1"}
    assert any(path.startswith("stream=session_events/") for path in parts(world))


def test_a_large_hour_is_cut_into_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PART_ROWS", 2)
    world.add(*(event(f"api_more_{number}") for number in range(4))).step()
    names = [path.rsplit("/", 1)[1] for path in parts(world) if "platform" in path]
    assert sorted(names) == [
        "part-000001-0001.json.gz", "part-000001-0001.json.gz", "part-000001-0002.json.gz",
        "part-000001-0003.json.gz",
    ]  # fmt: skip
    assert ids(world) == owed(world)


# once, and only once


def test_a_late_event_goes_later_under_its_own_date(world: World) -> None:
    world.step()
    before = parts(world)
    assert world.step(event("api_late@3")).row_count == 1
    [new] = set(parts(world)) - set(before)
    assert new == (
        "stream=platform_events/env=production/dt=2026-03-01/hour=03/part-000002-0001.json.gz"
    )
    assert {path: parts(world)[path] for path in before} == before
    assert ids(world) == owed(world)
    assert [one["batch"] for one in world.receipts()] == ["0-1", "1-2"]


def test_the_same_again_is_nothing_new_also_without_a_pointer(world: World) -> None:
    world.step()
    before = world.files()
    assert world.carry_out().status == "unchanged"
    (world.places.state / "acme_things" / "pointer.json").unlink()
    assert world.carry_out().status == "unchanged"
    assert world.files() == before


def test_what_changes_of_an_event_does_not_send_it_again(world: World) -> None:
    world.step()
    world.add(event("api_1", user="usr_merged"), event("api_3"))
    assert world.step().row_count == 1
    assert ids(world) == owed(world)


def test_nobody_elses_events_make_a_difference(world: World, tmp_path: Path) -> None:
    world.step()
    other = stream_of(tmp_path / "other").add(
        *(one for one in world.events.values() if one[0] == "ws_a"), *some_days(9, "ws_c")
    )
    other.publish(reverse=True)
    other.carry_out()
    assert parts(other) == parts(world)


@settings(max_examples=6, deadline=None)
@given(
    batches=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["api", "audit", "login", "session"]),
                st.integers(0, 12),
                st.integers(0, 3),
                st.integers(0, 23),
            ),
            max_size=6,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_order_of_arrival_gives_each_event_once(
    batches: list[list[tuple[str, int, int, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = stream_of(tmp_path_factory.mktemp("stream"))
    for batch in batches:
        new = [
            event(f"{word}_{number}_{day}@{hour}", DAY + timedelta(days=day))
            for word, number, day, hour in batch
        ]
        assert not world.step(*new).is_failure
    assert ids(world) == owed(world)


STEPS: dict[str, tuple[Any, str, str, int]] = {
    "before the gates": (gates, "examine_lines", "before", 1),
    "amid uploads": (Store, "upload", "after", 1),
    "before the commit": (versions, "commit", "before", 1),
    "after the commit": (versions, "commit", "after", 1),
    "before the receipt": (receipts, "append", "before", 2),
    "before the audit event": (audit, "write", "before", 1),
    "before the pointer": (pointer, "write", "before", 1),
    "before the cleaning": (versions, "superfluous", "before", 1),
}


@pytest.mark.parametrize("step", STEPS)
def test_who_dies_leaves_no_gap_and_no_double(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, when, call = STEPS[step]
    world.step()
    world.add(event("api_late"), event("audit_new", DAY + timedelta(days=4))).publish()
    with monkeypatch.context() as patched:
        patched.setattr(place, name, dying(getattr(place, name), when, call))
        with pytest.raises(Killed):
            world.carry_out()
    # what was on its way to a part of the dead batch is not among what goes now
    del world.events["ws_a/audit_new"]
    committed = step in list(STEPS)[list(STEPS).index("after the commit") :]
    world.add(event("api_latest")).publish()
    assert not world.carry_out().is_failure
    expected = owed(world) + Counter({"audit_new": 1} if committed else {})
    assert ids(world) == expected
    named = {file["path"] for file in world.manifest()["tables"]["fct_events"]["files"]}
    assert set(parts(world)) == named
    numbers = [tuple(map(int, one["batch"].split("-"))) for one in world.receipts()]
    assert all(one[1] == two[0] for one, two in itertools.pairwise(numbers))


def test_leftovers_of_a_failed_batch_are_gone_before_its_number_is_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sharing.stores import DestinationError  # noqa: PLC0415

    world.step()
    original = versions.commit

    def failing(*arguments: Any) -> None:
        raise DestinationError("destination_unreachable", "no answer")

    world.add(event("audit_new", DAY + timedelta(days=4))).publish()
    with monkeypatch.context() as patched:
        patched.setattr(versions, "commit", failing)
        assert world.carry_out().status == "failed"
    assert any("dt=2026-03-05" in path for path in parts(world))
    seen: list[list[str]] = []

    def watching(store: Store, version: Any) -> None:
        seen.append([path for path in store.list() if "dt=2026-03-05" in path])
        original(store, version)

    monkeypatch.setattr(versions, "commit", watching)
    del world.events["ws_a/audit_new"]
    assert world.step(event("api_9")).status == "committed"
    assert seen == [[]]


# what is held back, refused, taken back


def test_a_file_that_somebody_changed_stops_the_stream(world: World) -> None:
    world.step()
    [path] = [path for path in parts(world) if "hour=08" in path]
    (world.out / path).write_bytes(gzip.compress(b"{}\n"))
    outcome = world.step(event("api_new"))
    assert (outcome.status, outcome.reason_code) == ("failed", "destination_damaged")


def test_a_secret_stops_the_batch(world: World) -> None:
    world.share["tables"] = [{"model": "fct_events", "profile": "full"}]
    world.step()
    before = world.files()
    secret = "ghp_" + "a1" * 15
    outcome = world.step(event("api_leak", note=f'said "{secret}"\n'))
    assert (outcome.status, outcome.reason_code) == ("quarantined", "secret_found")
    assert "summary" in outcome.message
    assert secret not in json.dumps(world.receipts()) + outcome.message
    assert world.receipts()[-1]["secrets"] == {"github_token": 1}
    assert world.files() == before


GATES: dict[str, Callable[[str], str]] = {
    "rows_differ": lambda query: query + " and mart.event_id <> 'api_2@10'",
    "foreign_workspace": of_anyone,
    "foreign_environment": of_sandbox,
    "beyond_retention": lambda query: query.replace(
        "mart.activity_date >= scope.oldest_date", "true"
    ),
    "events_doubled": lambda query: f"{query} union all {query}",
}


@pytest.mark.parametrize(
    ("form", "code"), [*(("ndjson", code) for code in GATES), ("ocsf", "foreign_environment")]
)
def test_a_query_that_says_too_much_is_held_back(
    world: World, code: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.share |= {"format": form, "retention": 8}
    world.add(event("api_old", DAY - timedelta(days=5)))
    lie(monkeypatch, GATES[code])
    assert world.step().status == "quarantined"
    assert code in [reason["code"] for reason in world.receipts()[0]["reasons"]]
    assert world.files() == {}


REFUSED: dict[str, Callable[[World], Any]] = {
    "capability_mismatch": lambda w: w.share.update(capability="export"),
    "capability_missing": lambda w: w.plans.update(ws_a="growth"),
    "table_unfit": lambda w: w.share.update(tables=[{"model": "fct_things", "profile": "full"}]),
    "treatment_unfit": lambda w: w.share.update(pii={"event_id": "keyed_hash"}),
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_refusal_leaves_no_byte(world: World, code: str) -> None:
    REFUSED[code](world)
    outcome = world.step()
    assert (outcome.status, outcome.reason_code) == ("refused", code)
    assert not world.out.exists()
    assert world.actions() == ["analytics.export_refused"]


def test_two_tables_are_no_stream(world: World) -> None:
    world.share["tables"].append({"model": "dim_projects", "profile": "full"})
    assert "name one table" in world.step().message


def test_days_that_passed_the_boundary_go_and_do_not_come_again(world: World) -> None:
    world.share["retention"] = 9
    world.step()
    assert ids(world) == owed(world)
    world.now += timedelta(days=1)
    assert world.carry_out().status == "committed"
    assert set(ids(world)) == {"api_2@10"}
    assert not [path for path in parts(world) if "2026-03-01" in path]
    [told] = world.receipts()[-1]["tables"]
    assert len(told["removed"]) == 4
    assert world.step(event("api_late")).row_count == 0


def test_a_stream_of_several_workspaces_keeps_the_shortest_boundary() -> None:
    share = {
        **SHARE,
        "format": "ndjson",
        "capability": "stream",
        "tables": [TABLE],
        "destination": {"kind": "folder", "url": "file:///srv/x"},
    }
    plans = {
        (name, "production"): Plan(days, frozenset({"stream"}))
        for name, days in (("long", 730), ("short", 90), ("endless", None))
    }
    compiled = compile_share(
        Share.model_validate(share),
        Consumer(workspace_ids=["ws_a", "ws_b", "ws_c"], contact="c"),
        contract=CONTRACT,
        plans=plans,
        workspaces={
            name: Workspace(name, plan)
            for name, plan in (("ws_a", "long"), ("ws_b", "short"), ("ws_c", "endless"))
        },
        today=DAY,
    )
    assert isinstance(compiled, Compiled)
    assert set(compiled.oldest_days.values()) == {DAY - timedelta(days=90)}


def test_revoking_deletes_the_stream_and_its_manifests(world: World) -> None:
    world.step()
    there = sorted(world.files())
    world.consumer["status"] = "revoked"
    assert world.carry_out().reason_code == "revoked"
    assert world.files() == {} and world.receipts()[-1]["removed"] == there


def test_a_bucket_holds_what_a_folder_would(
    world: World,
    tmp_path: Path,
    server: str,  # noqa: F811
    bucket: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world.step()
    world.step(event("api_late"))
    remote = made(tmp_path / "remote", server, "ndjson", monkeypatch)
    remote.share |= {key: world.share[key] for key in ("capability", "tables", "pii")}
    remote.events = {key: one for key, one in world.events.items() if "late" not in key}
    remote.plans = world.plans
    for new in ((), (event("api_late"),)):
        assert remote.step(*new).status == "committed"
    keys = [item["Key"] for item in bucket.list_objects_v2(Bucket=BUCKET)["Contents"]]
    found = {
        key.removeprefix(f"{PREFIX}/"): bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        for key in keys
        if key.endswith(".gz")
    }
    assert found == parts(world)


# OCSF


def schema_of(class_: int) -> dict[str, Any]:
    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(ocsf.VERSION))
    found: dict[str, Any] = schemas.get_class_schema(ocsf.CLASSES[class_])
    return found


def catalogue() -> list[tuple[str, str]]:
    import csv  # noqa: PLC0415

    with (ROOT / "seeds" / "event_catalog.csv").open() as file:
        types = [(row["table_name"], row["type"]) for row in csv.DictReader(file)]
    own = [("audit_events", "api_key.revoked"), ("audit_events", "analytics.view")]
    return [(table, type_.replace("*", "something")) for table, type_ in types] + own


def test_every_type_of_the_catalogue_is_an_event_of_the_schema() -> None:
    # with the reference implementation in Python, where the gate uses the one in Rust
    schemas = {
        class_: jsonschema.Draft202012Validator(schema_of(class_)) for class_ in ocsf.CLASSES
    }
    seen = set()
    for table, type_ in catalogue():
        for is_bare in (True, False):
            row: dict[str, Any] = {
                "workspace_id": "ws_a",
                "source_table": table,
                "event_id": "e1",
                "category": "platform",
                "type": type_,
                "occurred_at": datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
                "environment": "production",
            }
            if not is_bare:
                row |= {
                    "project_id": "p",
                    "received_at": datetime(2026, 3, 1, 10, tzinfo=UTC),
                    "activity_date": DAY,
                    "user_id": "usr_1",
                    "session_id": "ses_1",
                    "service_id": "svc_1",
                    "trace_id": "trc_1",
                    "outcome": "success",
                    "status_code": 599,
                    "is_test": False,
                    "summary": "said",
                }
            made = json.loads(json.dumps(ocsf.event(row)))
            seen.add(made["class_uid"])
            assert list(schemas[made["class_uid"]].iter_errors(made)) == []
            found: Counter[str] = Counter()
            ocsf.faults(made, found)
            assert not found
            # what a class has no attribute for is not lost
            said = json.dumps(made)
            for name in ("session_id", "service_id", "user_id", "trace_id", "status_code"):
                assert name not in row or str(row[name]) in said, (name, made)
    assert seen == set(ocsf.CLASSES)


def test_an_outcome_without_a_status_keeps_its_word() -> None:
    row = {
        "workspace_id": "w",
        "source_table": "campaign_events",
        "event_id": "e",
        "type": "campaign.bounced",
        "occurred_at": datetime(2026, 3, 1, tzinfo=UTC),
        "outcome": "bounced",
    }
    made = ocsf.event(row)
    assert (made["status_id"], made["unmapped"]["outcome"]) == (0, "bounced")
    made = ocsf.event(row | {"outcome": "delivered"})
    assert (made["status_id"], "outcome" in made["unmapped"]) == (1, False)


@pytest.mark.parametrize(
    ("table", "type_", "expected"),
    [
        ("auth_events", "login", (3002, 1)),
        ("auth_events", "logout", (3002, 2)),
        ("auth_events", "signup", (3001, 1)),
        ("auth_events", "password_reset", (3001, 4)),
        ("membership_events", "membership.added", (3006, 3)),
        ("membership_events", "membership.removed", (3006, 4)),
        ("audit_events", "api_key.deleted", (3004, 4)),
        ("audit_events", "analytics.view", (3004, 2)),
        ("audit_events", "something.else", (3004, 99)),
        ("platform_events", "api.request", (6003, 99)),
    ],
)
def test_an_event_is_of_the_class_that_it_is(
    table: str, type_: str, expected: tuple[int, int]
) -> None:
    assert ocsf.classify(table, type_) == expected


SPOILT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "authentication, event": lambda made: made.pop("metadata"),
    "authentication, time": lambda made: made.update(time="yesterday"),
    "authentication, activity_id": lambda made: made.update(activity_id=42),
    "authentication, metadata": lambda made: made["metadata"].pop("product"),
    "authentication, user": lambda made: made["user"].clear(),
}


@pytest.mark.parametrize("place", SPOILT)
def test_the_schema_finds_what_is_wrong(place: str) -> None:
    row = {
        "workspace_id": "w",
        "source_table": "auth_events",
        "event_id": "e",
        "type": "login",
        "occurred_at": datetime(2026, 3, 1, tzinfo=UTC),
        "user_id": "secret-of-somebody",
    }
    made = ocsf.event(row)
    SPOILT[place](made)
    found: Counter[str] = Counter()
    ocsf.faults(made, found)
    assert place in found and "secret-of-somebody" not in str(found)


def test_a_stream_of_ocsf_is_valid_and_whole(tmp_path: Path, world: World) -> None:
    world.share["format"] = "ocsf"
    world.step(event("signup_1"), event("member_1"))
    world.step(event("api_late"))
    assert ids(world) == owed(world)
    schemas = {
        class_: jsonschema.Draft202012Validator(schema_of(class_)) for class_ in ocsf.CLASSES
    }
    for line in world.lines():
        assert list(schemas[line["class_uid"]].iter_errors(line)) == []
    [login] = [line for line in world.lines() if line["metadata"]["uid"] == "login_1"]
    assert (login["class_uid"], login["type_uid"], login["status_id"]) == (3002, 300201, 1)
    assert login["time"] == 1772357400000
    assert login["unmapped"]["environment"] == "production"
    assert login["user"]["uid"].startswith("k1:")


def test_what_the_schema_refuses_is_held_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.share["format"] = "ocsf"
    monkeypatch.setattr(ocsf, "INFORMATIONAL", "low")
    outcome = world.step()
    assert (outcome.status, outcome.reason_code) == ("quarantined", "schema_invalid")
    assert "severity_id" in outcome.message
    assert world.files() == {}


def test_a_share_may_change_its_format_and_sends_nothing_twice(world: World) -> None:
    world.step()
    world.share["format"] = "ocsf"
    assert world.step(event("api_new")).row_count == 1
    assert len(world.lines()) == 6
