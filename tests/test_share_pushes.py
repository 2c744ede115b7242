"""Events pushed to services: none is missing, and one that arrives twice says so.

Each service is a fake that speaks its protocol, see receivers.py; retries wait for nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import stamina
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from receivers import TOKEN, Receiver, running
from shares import DAY, HASH_KEY, NOW, World, event, lie, of_anyone, of_sandbox, some_days
from test_shares import Killed, dying

from sharing import audit, ga4, gates, hec, ledger, pointer, receipts, services
from sharing.definitions import SharesFileError

FORMATS = ("hec", "heap", "ga4")
PATHS = {
    "hec": ("fields", "event_id"),
    "heap": ("properties", "event_id"),
    "ga4": ("params", "event_id"),
}
NEW = DAY + timedelta(days=8)
"""A day that Google takes events of, the day before NOW."""


@pytest.fixture(autouse=True)
def settings_of_a_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)
    monkeypatch.setenv("ACME_TOKEN", TOKEN)
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running(Receiver()) as found:
        yield found


def pushing_to(receiver: Receiver, form: str, folder: Path) -> World:
    world = World(folder).stay_open()
    world.share |= {
        "format": form,
        "capability": "push",
        "tables": [{"model": "fct_events", "profile": "stream"}],
        "pii": {"user_id": "keyed_hash"},
        "destination": {"kind": "http", "url": receiver.url, "secret": "env:ACME_TOKEN"},
    }
    if form == "ga4":
        world.share["destination"]["measurement_id"] = "G-ACME1234"
    if form != "hec":
        world.share["tables"][0]["types"] = ["session.*", "journey.*"]
    return world


def some(form: str, count: int = 6, start: int = 0, note: str = "fine") -> list[Any]:
    word = "api" if form == "hec" else "session"
    return [
        event(f"{word}_{number}", NEW, user=f"usr_{number % 2}", note=note)
        for number in range(start, start + count)
    ]


@pytest.fixture(params=FORMATS)
def world(request: pytest.FixtureRequest, receiver: Receiver, tmp_path: Path) -> World:
    made = pushing_to(receiver, request.param, tmp_path)
    return made.add(*some(request.param), *some_days(workspace="ws_b"))


@pytest.fixture
def splunk(receiver: Receiver, tmp_path: Path) -> World:
    return pushing_to(receiver, "hec", tmp_path).add(*some("hec"))


def taken(world: World, receiver: Receiver) -> Counter[str]:
    return receiver.counts(*PATHS[world.share["format"]])


def owed(world: World) -> Counter[str]:
    return Counter(name for workspace, name, *_ in world.events.values() if workspace == "ws_a")


def noted(world: World) -> list[tuple[str, str | None, int]]:
    return world.rows(
        "select status, reason_code, count(*) from raw.share_deliveries group by all order by all"
    )


# what arrives


def test_a_service_gets_exactly_what_is_owed_once(world: World, receiver: Receiver) -> None:
    outcome = world.step()
    assert (outcome.status, outcome.row_count) == ("committed", 6)
    assert taken(world, receiver) == owed(world)
    final = {"hec": "acknowledged", "heap": "acknowledged", "ga4": "sent"}
    assert noted(world) == [(final[world.share["format"]], None, 6)]
    before = len(receiver.requests)
    assert world.carry_out().status == "unchanged"
    assert world.step(*some(world.share["format"], 2, 6)).row_count == 2
    assert taken(world, receiver) == owed(world)
    assert len(receiver.requests) > before
    first, second = world.receipts()
    assert [first["batch"], second["batch"]] == ["0-1", "1-2"]
    assert first["deliveries"] == {final[world.share["format"]]: 6}
    assert second["latency_seconds"] is not None
    assert world.actions() == ["analytics.export"] * 2


def test_the_envelope_of_splunk(splunk: World, receiver: Receiver) -> None:
    splunk.share["destination"] |= {"index": "acme_main", "sourcetype": "acme:event"}
    splunk.step()
    [first, *_] = receiver.taken
    inner = first.pop("event")
    assert first == {
        "time": 1773048600.0,
        "host": "rollcall",
        "source": "rollcall:acme_things",
        "sourcetype": "acme:event",
        "index": "acme_main",
        "fields": {
            "workspace_id": "ws_a",
            "source_table": "platform_events",
            "event_id": "api_0",
            "batch": 1,
            "sequence": 1,
            "attempt": 1,
        },
    }
    assert inner["user_id"].startswith("k1:") and inner["type"] == "api.request"
    [(_, headers, _)] = [one for one in receiver.requests if one[0].endswith("/event")]
    assert headers["content-encoding"] == "gzip" and headers["x-splunk-request-channel"]


def test_the_event_of_heap(receiver: Receiver, tmp_path: Path) -> None:
    world = pushing_to(receiver, "heap", tmp_path)
    world.step(event("session_1", NEW))
    [only] = receiver.taken
    assert only["idempotency_key"] == "ws_a/session_events/session_1"
    assert (only["event"], only["timestamp"]) == ("session.started", "2026-03-09T09:30:00.000Z")
    assert only["identity"].startswith("k1:") and "user_id" not in only["properties"]


def test_the_event_of_google(receiver: Receiver, tmp_path: Path) -> None:
    world = pushing_to(receiver, "ga4", tmp_path)
    world.step(event("session_1", NEW))
    [only] = receiver.taken
    assert (only["name"], only["timestamp_micros"]) == ("session_started", 1773048600000000)
    assert only["client_id"].startswith("k1:")
    assert only["params"]["source_session_id"] == "ses_usr_1"
    assert "session_id" not in only["params"] and only["params"]["attempt"] == 1


def test_requests_stay_within_limits(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = world.share["format"]
    monkeypatch.setattr(hec, "MAX_BYTES", 2500)
    world.add(*some(form, 60)).step()
    assert taken(world, receiver) == owed(world)
    bodies = [body for path, _, body in receiver.requests if not path.endswith("/ack")]
    # of Google, one visitor and 25 events a request
    assert len(bodies) == {"hec": 30, "heap": 1, "ga4": 4}[form]


# what goes wrong


def test_a_busy_service_is_tried_again(world: World, receiver: Receiver) -> None:
    receiver.script = ["busy", "busy", "ok"]
    assert world.step().status == "committed"
    assert taken(world, receiver) == owed(world)
    if world.share["format"] == "hec":
        # what was surely not taken is no second attempt
        assert {one["fields"]["attempt"] for one in receiver.taken} == {1}


def test_a_service_that_stays_busy_gets_it_later(splunk: World, receiver: Receiver) -> None:
    receiver.script = ["busy"] * 3
    outcome = splunk.step()
    assert (outcome.status, outcome.reason_code) == ("failed", "destination_unreachable")
    assert noted(splunk)[0][0] == "waiting" and receiver.taken == []
    assert splunk.actions() == []
    assert splunk.carry_out().status == "committed"
    assert taken(splunk, receiver) == owed(splunk)
    assert {one["fields"]["attempt"] for one in receiver.taken} == {1}


def test_an_answer_that_was_lost_makes_marked_doubles_at_most(
    world: World, receiver: Receiver
) -> None:
    receiver.script = ["dies"]
    form, outcome = world.share["format"], world.step()
    if form == "heap":
        # it knows the key, so asking again does no harm
        assert outcome.status == "committed" and taken(world, receiver) == owed(world)
        return
    assert (outcome.status, outcome.reason_code) == ("unknown", "delivery_unknown")
    assert outcome.is_failure and noted(world)[0][:2] == ("unknown", "no_answer")
    # something may have left, so it is audited
    assert world.actions() == ["analytics.export"]
    assert world.carry_out().status == "committed"
    counts = taken(world, receiver)
    assert set(counts) == set(owed(world)) and max(counts.values()) == 2
    mark = "fields" if form == "hec" else "params"
    for name, count in counts.items():
        attempts = [one[mark]["attempt"] for one in receiver.taken if one[mark]["event_id"] == name]
        assert sorted(attempts) == list(range(1, count + 1))


def test_a_service_that_hangs_after_taking(
    splunk: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "TIMEOUT_SECONDS", 0.3)
    receiver.script = ["hangs"]
    assert splunk.step().reason_code == "delivery_unknown"
    assert splunk.carry_out().status == "committed"
    assert taken(splunk, receiver) == Counter(dict.fromkeys(owed(splunk), 2))
    attempts = Counter(one["fields"]["attempt"] for one in receiver.taken)
    assert attempts == {1: 6, 2: 6}


def test_a_fault_of_the_service_is_unclear(splunk: World, receiver: Receiver) -> None:
    receiver.script = ["broken"]
    assert splunk.step().reason_code == "delivery_unknown"
    assert splunk.carry_out().status == "committed"


def test_what_is_not_acknowledged_is_asked_for_before_it_goes_again(
    splunk: World, receiver: Receiver
) -> None:
    receiver.stores = False
    outcome = splunk.step()
    assert (outcome.status, outcome.reason_code) == ("unknown", "not_acknowledged")
    assert splunk.receipts()[-1]["deliveries"] == {"unknown": 6}
    # stored in the end: nothing goes twice
    receiver.stores = True
    assert splunk.carry_out().status == "committed"
    assert taken(splunk, receiver) == owed(splunk)
    assert noted(splunk) == [("acknowledged", None, 6)]


def test_what_is_never_acknowledged_goes_again_marked(splunk: World, receiver: Receiver) -> None:
    receiver.stores = False
    splunk.step()
    receiver.numbers.clear()
    receiver.stores = True
    assert splunk.carry_out().status == "committed"
    assert Counter(one["fields"]["attempt"] for one in receiver.taken) == {1: 6, 2: 6}
    assert noted(splunk) == [("acknowledged", None, 6)]


@pytest.mark.parametrize("bad", ["api_bad", "api_bad_worse"])
def test_a_refused_event_in_the_middle_is_kept_aside(
    splunk: World, receiver: Receiver, bad: str
) -> None:
    splunk.add(event(f"{bad}_3", NEW), event("api_z", NEW)).publish()
    outcome = splunk.carry_out()
    assert outcome.status == "committed" and "1 refused_by_service" in outcome.message
    counts = taken(splunk, receiver)
    assert set(counts) == set(owed(splunk)) - {f"{bad}_3"}
    # a double is there only where those before the culprit had been taken, and its marks differ
    for name, count in counts.items():
        attempts = [
            one["fields"]["attempt"] for one in receiver.taken if one["fields"]["event_id"] == name
        ]
        assert len(set(attempts)) == count
    assert splunk.receipts()[-1]["dead"] == {"refused_by_service": 1}
    assert splunk.carry_out().status == "unchanged"


@pytest.mark.parametrize("bad", ["api_bad", "api_bad_worse"])
def test_what_stood_beside_a_refused_event_goes_later_when_it_can_not_go_now(
    splunk: World, receiver: Receiver, bad: str
) -> None:
    # of two halves the first one meets a busy service
    receiver.script = ["busy"] * 3
    assert splunk.step(event(f"{bad}_3", NEW), event("api_z", NEW)).status == "failed"
    receiver.taken.clear()
    assert splunk.carry_out().status == "committed"
    assert set(taken(splunk, receiver)) == set(owed(splunk)) - {f"{bad}_3"}


def test_heap_is_asked_by_halves_for_what_it_refuses(receiver: Receiver, tmp_path: Path) -> None:
    world = pushing_to(receiver, "heap", tmp_path)
    world.add(*some("heap", 9), event("session_bad", NEW)).publish()
    assert world.carry_out().status == "committed"
    assert taken(world, receiver) == owed(world) - Counter(["session_bad"])
    assert ("dead", "refused_by_service", 1) in noted(world)


def test_nobody_there(splunk: World) -> None:
    splunk.share["destination"]["url"] = "http://127.0.0.1:9"
    outcome = splunk.step()
    assert (outcome.status, outcome.reason_code) == ("failed", "destination_unreachable")
    assert splunk.actions() == []


def test_a_token_that_is_refused(splunk: World, receiver: Receiver) -> None:
    receiver.script = ["403"]
    outcome = splunk.step()
    assert (outcome.status, outcome.reason_code) == ("failed", "destination_denied")
    assert splunk.carry_out().status == "committed"
    assert taken(splunk, receiver) == owed(splunk)


def test_a_token_without_acknowledgement_is_told_before_anything_leaves(
    splunk: World, receiver: Receiver
) -> None:
    receiver.acknowledges = False
    assert splunk.step().reason_code == "acknowledgement_disabled"
    assert receiver.taken == []
    splunk.share["destination"]["acknowledge"] = False
    assert splunk.carry_out().status == "committed"
    assert noted(splunk) == [("sent", None, 6)]


def test_an_empty_batch_asks_whether_the_service_is_there(
    splunk: World, receiver: Receiver
) -> None:
    splunk.step()
    before = len(receiver.requests)
    outcome = splunk.step(event("b", workspace="ws_b"))
    assert (outcome.status, outcome.row_count) == ("committed", 0)
    assert len(receiver.requests) > before
    splunk.share["destination"]["url"] = "http://127.0.0.1:9"
    assert splunk.step(event("b2", workspace="ws_b")).status == "failed"


STEPS: dict[str, tuple[Any, str, str, int]] = {
    "before the gates": (gates, "examine_lines", "before", 1),
    "before a request": (services, "post", "before", 2),
    "after a request": (services, "post", "after", 2),
    "amid requests": (ledger, "settle", "before", 2),
    "before the receipt": (receipts, "append", "before", 1),
    "after the receipt": (ledger, "tell", "before", 1),
    "before the audit event": (audit, "write", "before", 1),
    "before the pointer": (pointer, "write", "before", 1),
}


@pytest.mark.parametrize("step", STEPS)
def test_who_dies_leaves_no_gap_and_no_unmarked_double(
    splunk: World, receiver: Receiver, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, when, call = STEPS[step]
    monkeypatch.setattr(hec, "MAX_BYTES", 2500)
    with monkeypatch.context() as patched:
        for module in (place, hec) if name == "post" else (place,):
            patched.setattr(module, name, dying(getattr(module, name), when, call))
        splunk.publish()
        with pytest.raises(Killed):
            splunk.carry_out()
    assert splunk.step(event("api_late", NEW)).status == "committed"
    assert set(taken(splunk, receiver)) == set(owed(splunk))
    seen = Counter((one["fields"]["event_id"], one["fields"]["attempt"]) for one in receiver.taken)
    assert max(seen.values()) == 1
    assert splunk.carry_out().status == "unchanged"
    # every delivery is in a receipt, every receipt has its event
    assert splunk.rows("from raw.share_deliveries where receipt_id is null") == []
    told = {one["receipt_id"] for one in splunk.receipts() if one["row_count"]}
    assert {one["id"] for one in splunk.audit_files()} == told
    with splunk.books() as connection:
        assert receipts.verify(connection) == []


@settings(max_examples=3, deadline=None)
@given(
    scripts=st.lists(
        st.lists(st.sampled_from(["ok", "busy", "dies", "broken"]), max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_a_service_does_nothing_is_missing(
    scripts: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(Receiver()) as receiver, pytest.MonkeyPatch.context() as patched:
        patched.setattr(hec, "MAX_BYTES", 2500)
        world = pushing_to(receiver, "hec", tmp_path_factory.mktemp("push"))
        for number, script in enumerate(scripts):
            receiver.script = script
            world.step(*some("hec", 3, 3 * number))
        receiver.script = []
        assert not world.carry_out().is_failure
        assert set(taken(world, receiver)) == set(owed(world))
        seen = Counter(
            (one["fields"]["event_id"], one["fields"]["attempt"]) for one in receiver.taken
        )
        assert max(seen.values()) == 1


# what never goes


def test_what_google_would_drop_is_kept_aside(receiver: Receiver, tmp_path: Path) -> None:
    world = pushing_to(receiver, "ga4", tmp_path)
    world.share["tables"] = [
        {"model": "fct_events", "columns": ["user_id", "summary"], "types": ["session.*", "api.*"]}
    ]
    edge = NOW - timedelta(hours=72)
    world.add(
        event("session_new", NEW),
        event(f"session_old@{edge.hour - 1}", edge.date()),
        event(f"session_edge@{edge.hour}", edge.date()),
        event("session_long", NEW, note="x" * 101),
        event("session_fits", NEW, note="x" * 100),
    )
    assert world.step().status == "committed"
    assert set(taken(world, receiver)) == {"session_new", "session_edge@12", "session_fits"}
    assert world.receipts()[-1]["dead"] == {"too_long": 1, "too_old": 1}
    assert world.carry_out().status == "unchanged"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda line: line.pop("client_id"), "no_identity"),
        (lambda line: line["event"].update(name="session_start"), "reserved_name"),
        (lambda line: line["event"].update(name="ga_login"), "reserved_name"),
        (lambda line: line["event"].update(name="a-b"), "invalid_name"),
        (lambda line: line["event"].update(name="a" * 41), "too_long"),
        (lambda line: line["event"]["params"].update(note="x" * 101), "too_long"),
        (lambda line: line["event"]["params"].update({"p" * 41: 1}), "too_long"),
        (lambda line: line["event"]["params"].update(note="x" * 100), None),
    ],
)
def test_what_google_would_not_like(
    splunk: World, change: Callable[[Any], Any], reason: str | None
) -> None:
    splunk.share |= {"format": "ga4"}
    splunk.share["destination"]["measurement_id"] = "G-ACME1234"
    [share] = splunk.write_file().shares
    service = ga4.MeasurementProtocol(share, "w1")
    line: dict[str, Any] = {
        "client_id": "k1:abc",
        "event": {"name": "session_started", "timestamp_micros": 10**15, "params": {"a": 1}},
    }
    change(line)
    assert service.unfit(ledger.Letter(("w", "t", "e"), NOW, line), 1e9) == reason


def test_dead_letters_can_be_replayed(receiver: Receiver, tmp_path: Path) -> None:
    world = pushing_to(receiver, "ga4", tmp_path)
    world.share["tables"] = [
        {"model": "fct_events", "columns": ["user_id", "summary"], "types": ["session.*"]}
    ]
    world.step(event("session_long", NEW, note="x" * 101), event("session_a", NEW))
    assert set(taken(world, receiver)) == {"session_a"}
    world.share["tables"][0]["columns"] = ["user_id"]
    assert world.step().row_count == 0
    with world.books() as connection:
        assert ledger.replay(connection, "acme_things", ["too_old"]) == 0
        assert ledger.replay(connection, "acme_things", ["too_long"]) == 1
    world.share["retention"] = 500
    assert world.carry_out().row_count == 1
    assert taken(world, receiver) == owed(world)
    assert ("dead", "too_long", 1) not in noted(world)


def test_days_can_be_sent_again_marked(splunk: World, receiver: Receiver) -> None:
    splunk.step(event("api_before", NEW - timedelta(days=1)))
    with splunk.books() as connection:
        assert ledger.resend(connection, "acme_things", NEW, NEW) == 6
    splunk.step()
    twice = {name for name, count in taken(splunk, receiver).items() if count == 2}
    assert twice == set(owed(splunk)) - {"api_before"}
    assert max(one["fields"]["attempt"] for one in receiver.taken) == 2


def test_an_event_that_is_gone_before_it_went_is_dead(splunk: World, receiver: Receiver) -> None:
    receiver.script = ["busy"] * 3
    splunk.step()
    del splunk.events["ws_a/api_0"]
    assert splunk.step().status == "committed"
    assert taken(splunk, receiver) == owed(splunk)
    assert ("dead", "gone", 1) in noted(splunk)


# what is held back, refused


def test_a_secret_stops_all_of_it(splunk: World, receiver: Receiver) -> None:
    splunk.share["tables"][0] |= {"profile": None, "columns": ["user_id", "summary"]}
    secret = "ghp_" + "a1" * 15
    outcome = splunk.step(*some(splunk.share["format"], 1, 50, f"said {secret}"))
    assert (outcome.status, outcome.reason_code) == ("quarantined", "secret_found")
    assert receiver.taken == [] and noted(splunk) == []
    assert secret not in json.dumps(splunk.receipts())


def test_nobody_elses_events_and_no_other_environment(
    splunk: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lie(monkeypatch, lambda query: of_sandbox(of_anyone(query)))
    splunk.add(*(event(f"{name}_b", NEW, "ws_b") for name in ("api", "session")))
    assert splunk.step().status == "quarantined"
    codes = {reason["code"] for reason in splunk.receipts()[0]["reasons"]}
    assert codes == {"rows_differ", "foreign_workspace", "foreign_environment"}
    assert receiver.taken == []


REFUSED: dict[str, tuple[Callable[[World], Any], str]] = {
    "no capability": (lambda w: w.plans.update(ws_a="growth"), "capability_missing"),
    "a stream": (lambda w: w.share.update(capability="stream"), "capability_mismatch"),
    "paused": (lambda w: w.consumer.update(status="paused"), "paused"),
    "revoked": (lambda w: w.consumer.update(status="revoked"), "revoked"),
    "names to Google": (
        lambda w: (
            w.share.update(format="ga4", pii={"user_id": "keep"}),
            w.share["destination"].update(measurement_id="G-ACME1234"),
        ),
        "identity_unhashed",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_makes_no_request(splunk: World, receiver: Receiver, name: str) -> None:
    change, code = REFUSED[name]
    change(splunk)
    outcome = splunk.step()
    assert (outcome.status, outcome.reason_code) == ("refused", code)
    assert receiver.requests == []


def test_the_token_is_written_down_nowhere(
    world: World, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    receiver.script = ["busy", "dies"]
    world.step()
    world.carry_out()
    for path in world.folder.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in caplog.text


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"destination": {"kind": "folder", "url": "file:///srv/x"}}, "destination of kind http"),
    (
        {"destination": {"kind": "http", "url": "http://splunk.example", "secret": "env:A"}},
        "begin with https",
    ),
    ({"destination": {"kind": "http", "url": "https://splunk.example"}}, "secret is missing"),
    (
        {
            "destination": {
                "kind": "http",
                "url": "https://splunk.example/?token=x",
                "secret": "env:A",
            }
        },
        "carries credentials",
    ),
    ({"format": "ga4"}, "measurement_id"),
    ({"tables": [{"model": "fct_events", "profile": "full", "types": ["a' or true --"]}]}, "match"),
]


@pytest.mark.parametrize(("change", "said"), FAULTS)
def test_a_wrong_file_says_what_to_do(splunk: World, change: dict[str, Any], said: str) -> None:
    splunk.share |= change
    with pytest.raises(SharesFileError, match=said):
        splunk.write_file()


def test_environments_need_secrets_of_their_own(splunk: World) -> None:
    splunk.write_file()
    content = yaml.safe_load(splunk.places.file.read_text())
    other = {**content["shares"][0], "name": "acme_sandbox", "environment": "sandbox"}
    content["shares"].append(other)
    splunk.places.file.write_text(yaml.safe_dump(content))
    from sharing import load  # noqa: PLC0415

    with pytest.raises(SharesFileError, match="of their own"):
        load(splunk.places.file)


# jobs


def job(name: str, world: World, monkeypatch: pytest.MonkeyPatch, **config: Any) -> Any:
    import dagster as dg  # noqa: PLC0415
    from shares import CONTRACT  # noqa: PLC0415

    from dagster_project.defs import shares as defs  # noqa: PLC0415
    from dagster_project.warehouse import Warehouse  # noqa: PLC0415

    if world.kept:
        # a job opens the file with settings of its own
        world.kept.close()
    monkeypatch.setattr(defs.dbt_runner, "read_manifest", lambda at, environment: {})
    monkeypatch.setattr(defs, "read_contract", lambda manifest, environment: CONTRACT)
    at = Warehouse(
        world.folder / "home", world.folder / "landing", named_shares_file=world.places.file
    )
    found: dg.JobDefinition = getattr(defs, name)
    return found.execute_in_process(
        run_config={"ops": {found.nodes[0].name: {"config": config}}},
        resources={"warehouse": dg.ResourceDefinition.hardcoded_resource(at)},
        raise_on_error=False,
    )


def test_a_job_replays_dead_letters_and_another_sends_days_again(
    splunk: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the clock of a job is the real one
    splunk.share["retention"] = 100_000
    splunk.step(event("api_bad_1", NEW))
    splunk.write_file()
    assert noted(splunk)[-1] == ("dead", "refused_by_service", 1)
    monkeypatch.setattr(Receiver, "collect", accepting(Receiver.collect))
    assert job("replay_dead_letters", splunk, monkeypatch, share="acme_things").success
    assert set(taken(splunk, receiver)) == set(owed(splunk))
    assert noted(splunk) == [("acknowledged", None, 7)]
    days = {"first_day": str(NEW), "last_day": str(NEW)}
    before = taken(splunk, receiver)
    assert job("backfill_share", splunk, monkeypatch, share="acme_things", **days).success
    assert taken(splunk, receiver) - before == owed(splunk)
    seen = Counter((one["fields"]["event_id"], one["fields"]["attempt"]) for one in receiver.taken)
    assert max(seen.values()) == 1
    for wrong in ({"share": "nobody", **days}, {"share": "acme_things", **days, "last_day": "x"}):
        assert not job("backfill_share", splunk, monkeypatch, **wrong).success


def accepting(original: Callable[..., Any]) -> Callable[..., Any]:
    """A collector that has learnt what it refused."""

    def collect(receiver: Receiver, headers: dict[str, str], body: bytes) -> Any:
        import gzip  # noqa: PLC0415

        text = gzip.decompress(body).decode()
        known = gzip.compress(text.replace("_bad", "_b@d").encode())
        answer = original(receiver, headers, known)
        for one in receiver.taken:
            one["fields"]["event_id"] = one["fields"]["event_id"].replace("_b@d", "_bad")
        return answer

    return collect


def test_only_what_is_pushed_has_dead_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.share["retention"] = 100_000
    world.step(*some_days())
    before = world.files()
    assert not job("replay_dead_letters", world, monkeypatch, share="acme_things").success
    days = {"first_day": str(DAY), "last_day": str(DAY)}
    assert job("backfill_share", world, monkeypatch, share="acme_things", **days).success
    assert world.files() == before
