"""Webhook deliveries, campaign messages and notices: what decides them, worked out by hand.

Files land, a build and a publish after each, so that whatever is told here holds for what comes
late too; the last test holds many messages, made by chance, against the rules in plain Python.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.histories import Build, Land, Record, Recording, Replay, of_marts

ONLY_PRODUCTION = Build(("production",))
DAY = date(2025, 3, 1)
NEXT_DAY = date(2025, 3, 2)


LOOKED_AT = (
    "fct_campaign_messages",
    "fct_campaigns_daily",
    "fct_webhook_events",
    "fct_webhooks_daily",
    "fct_notifications",
    "fct_notifications_daily",
    "fct_sessions",
)


@pytest.fixture(scope="module")
def recordings(recordings: dict[str, Recording]) -> dict[str, Recording]:
    """Production alone, and of it the marts that are looked at."""
    return of_marts({"production": recordings["production"]}, *LOOKED_AT)


class Warehouse:
    """Lands and builds; rows of published marts."""

    def __init__(self, recordings: dict[str, Recording], folder: Path) -> None:
        self.replay = Replay(recordings, folder)
        self.files = 0

    def land(self, table: str, *records: Record) -> None:
        """Land one file, build and publish."""
        self.files += 1
        self.replay.land(Land(f"{table}/{self.files:03d}.jsonl", records))
        self.replay.build(ONLY_PRODUCTION)

    def query(self, query: str) -> list[dict[str, Any]]:
        cursor = self.replay.connection.execute(query)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def rows(self, mart: str) -> list[dict[str, Any]]:
        """All rows of a mart, as readers find it, in order of their columns."""
        found = {node.name: node for node in self.replay.recordings["production"].marts}[mart]
        address = self.replay.address("production", found)
        return self.query(f"select * exclude (environment) from {address} order by all")

    def row(self, mart: str, *columns: str) -> dict[str, Any]:
        """The only row of a mart, all of it or some columns."""
        (found,) = self.rows(mart)
        return {name: found[name] for name in columns} if columns else found


@pytest.fixture
def warehouse(recordings: dict[str, Recording], tmp_path: Path) -> Iterator[Warehouse]:
    made = Warehouse(recordings, tmp_path)
    yield made
    made.replay.close()


def time_at(text: str) -> datetime:
    return datetime.fromisoformat(text if "T" in text else f"{DAY}T{text}")


def event(key: str, kind: str, at: str, data: Record, **fields: Any) -> Record:
    """An event at a time of 1 March 2025, or at a whole date and time."""
    found = {
        "id": key,
        "type": kind,
        "occurred_at": f"{time_at(at).isoformat()}Z",
        "environment": "production",
        "workspace_id": "ws",
        "project_id": "prj",
        "user_id": "ada",
        "data": {name: value for name, value in data.items() if value is not None},
        **fields,
    }
    return {name: value for name, value in found.items() if value is not None}


def message(key: str, state: str, at: str, **fields: Any) -> Record:
    data = {"message_id": "msg", "campaign_id": "spring", "channel": "email"}
    data |= fields.pop("data", {})
    return event(key, f"message.{state}", at, data, **fields)


def notice(key: str, state: str, at: str, channel: str | None = "push", **fields: Any) -> Record:
    data = {"notification_id": "ntf", "channel": channel}
    return event(key, f"notification.{state}", at, data, **fields)


def attempt(key: str, number: int, outcome: str, at: str, **fields: Any) -> Record:
    data = {"delivery_id": "dlv", "endpoint_id": "end", "event_type": "member.added"}
    data |= {"attempt": number, "outcome": outcome, **fields.pop("data", {})}
    return event(key, "webhook.attempted", at, data, **fields)


# ---- which state


def test_states_that_arrive_out_of_order_end_in_the_latest(warehouse: Warehouse) -> None:
    states = ("delivery_state", "event_id", "queued_at", "sent_at", "delivered_at")
    warehouse.land("campaign_events", message("c", "delivered", "10:05"))
    assert warehouse.row("fct_campaign_messages", *states) == dict(
        zip(states, ("delivered", "c", None, None, time_at("10:05")), strict=True)
    )
    warehouse.land(
        "campaign_events", message("b", "sent", "10:01"), message("a", "queued", "10:00")
    )
    expected = dict(
        zip(
            states,
            ("delivered", "c", time_at("10:00"), time_at("10:01"), time_at("10:05")),
            strict=True,
        )
    )
    assert warehouse.row("fct_campaign_messages", *states) == expected
    # late, and from before it was delivered
    warehouse.land("campaign_events", message("x", "bounced", "10:03"))
    assert warehouse.row("fct_campaign_messages", *states) == expected
    warehouse.land("campaign_events", message("y", "complained", f"{NEXT_DAY}T09:00:00"))
    found = warehouse.row("fct_campaign_messages", *states)
    assert found == expected | {"delivery_state": "complained", "event_id": "y"}
    counted = warehouse.row("fct_campaigns_daily")
    assert counted == {
        "workspace_id": "ws",
        "project_id": "prj",
        "campaign_id": "spring",
        "channel": "email",
        "activity_date": DAY,
        "message_count": 1,
        "sent_count": 1,
        "delivered_count": 1,
        "bounced_count": 0,
        "failed_count": 0,
        "complained_count": 1,
        "opened_count": 0,
        "clicked_count": 0,
        "unsubscribed_count": 0,
        "delivery_rate": 1.0,
    }


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("queued sent", "sent"),
        ("sent delivered queued", "delivered"),
        ("delivered failed sent", "failed"),
        ("complained delivered", "complained"),
        ("delivered bounced", "bounced"),
        # of equal rank the greatest event id, here the later one of the file
        ("failed bounced", "bounced"),
        ("bounced failed", "failed"),
        ("sent opened", "sent"),
    ],
)
def test_of_states_at_one_time_the_one_further_on_counts(
    warehouse: Warehouse, states: str, expected: str
) -> None:
    events = [
        message(f"e{number}", state, "10:00:00.000001")
        for number, state in enumerate(states.split())
    ]
    warehouse.land("campaign_events", *events)
    deciding = f"e{states.split().index(expected)}"
    assert warehouse.row("fct_campaign_messages", "delivery_state", "event_id") == {
        "delivery_state": expected,
        "event_id": deciding,
    }
    # a microsecond later even the least state counts
    warehouse.land("campaign_events", message("e9", "queued", "10:00:00.000002"))
    found = warehouse.row("fct_campaign_messages", "delivery_state", "is_sent")
    assert found == {"delivery_state": "queued", "is_sent": True}
    assert warehouse.row("fct_campaigns_daily", "sent_count", "delivered_count") == {
        "sent_count": 1,
        "delivered_count": 0,
    }


def test_a_message_of_which_only_engagement_is_known_has_no_state(warehouse: Warehouse) -> None:
    warehouse.land(
        "campaign_events",
        message("b", "clicked", "10:02"),
        message("a", "opened", "10:01"),
        message("c", "unsubscribed", "10:03"),
    )
    found = warehouse.row("fct_campaign_messages", "delivery_state", "event_id", "is_sent")
    assert found == {"delivery_state": None, "event_id": "a", "is_sent": False}
    columns = ("message_count", "sent_count", "delivered_count", "delivery_rate", "opened_count")
    columns += ("clicked_count", "unsubscribed_count")
    counted = warehouse.row("fct_campaigns_daily", *columns)
    assert tuple(counted.values()) == (1, 0, 0, None, 1, 1, 1)


def test_a_notice_is_a_row_a_channel(warehouse: Warehouse) -> None:
    warehouse.land(
        "notification_events",
        notice("a", "sent", "10:00"),
        notice("b", "read", "10:02"),
        notice("c", "delivered", "10:01"),
        notice("d", "queued", "10:00", "email"),
        notice("e", "failed", "10:01", "email"),
        notice("f", "read", "10:05", None),
    )
    found = {row["channel"]: row for row in warehouse.rows("fct_notifications")}
    assert {channel: row["delivery_state"] for channel, row in found.items()} == {
        "push": "delivered",
        "email": "failed",
        None: None,
    }
    assert found["push"]["read_at"] == time_at("10:02")
    # a channel more of the events without one
    warehouse.land("notification_events", notice("g", "sent", "09:00", None))
    counted = {
        row["channel"]: tuple(row.values())[4:] for row in warehouse.rows("fct_notifications_daily")
    }
    # notices, sent, delivered, failed, read, rate
    assert counted == {
        "push": (1, 1, 1, 0, 1, 1.0),
        "email": (1, 1, 0, 1, 0, 0.0),
        None: (1, 1, 0, 0, 1, 0.0),
    }


# ---- webhooks


def test_a_webhook_that_fails_four_times_and_succeeds(warehouse: Warehouse) -> None:
    attempts = [
        attempt(
            *(f"w{number}", number, "failed" if number < 5 else "delivered"),
            f"10:{2**number:02}",
            data={
                "status_code": 500 if number < 5 else 200,
                "latency_ms": 100 * number,
                "will_retry": True if number < 5 else None,
            },
        )
        for number in range(1, 6)
    ]
    for one in reversed(attempts):  # the last one lands first
        warehouse.land("webhook_deliveries", one)
    found = warehouse.row("fct_webhook_events")
    assert found == {
        "workspace_id": "ws",
        "delivery_id": "dlv",
        "endpoint_id": "end",
        "project_id": "prj",
        "event_id": "w5",
        "user_id": "ada",
        "membership_id": None,
        "session_key": None,
        "trace_id": None,
        "event_type": "member.added",
        "outcome": "delivered",
        "attempt_count": 5,
        "first_attempt_at": time_at("10:02"),
        "last_attempt_at": time_at("10:32"),
        "delivered_at": time_at("10:32"),
        "last_status_code": 200,
        "latency_ms": 500.0,
        "latencies_ms": [100.0, 200.0, 300.0, 400.0, 500.0],
        "is_test": False,
        "is_impersonated": False,
        "activity_date": DAY,
    }
    counted = warehouse.row("fct_webhooks_daily")
    assert counted == {
        "workspace_id": "ws",
        "project_id": "prj",
        "endpoint_id": "end",
        "event_type": "member.added",
        "activity_date": DAY,
        "delivered_count": 1,
        "exhausted_count": 0,
        "pending_count": 0,
        "attempt_count": 5,
        "retry_count": 4,
        "delivery_rate": 1.0,
        "latency_p50_ms": 300.0,
        "latency_p95_ms": pytest.approx(480.0),
    }


def test_a_promised_retry_keeps_a_delivery_pending_until_it_comes(warehouse: Warehouse) -> None:
    counts = ("delivered_count", "exhausted_count", "pending_count", "delivery_rate")
    first = attempt("w1", 1, "failed", "23:59", data={"will_retry": True})
    warehouse.land("webhook_deliveries", first)
    assert tuple(warehouse.row("fct_webhooks_daily", *counts).values()) == (0, 0, 1, None)
    # it succeeds on the next day, and counts on the day of the first attempt
    warehouse.land("webhook_deliveries", attempt("w2", 2, "delivered", f"{NEXT_DAY}T00:10:00"))
    counted = warehouse.row("fct_webhooks_daily", "activity_date", *counts)
    assert tuple(counted.values()) == (DAY, 1, 0, 0, 1.0)


def test_no_word_about_a_retry_is_none(warehouse: Warehouse) -> None:
    columns = ("outcome", "event_id", "last_status_code", "last_attempt_at")
    warehouse.land(
        "webhook_deliveries",
        attempt("w3", 3, "failed", "10:01", data={"status_code": 503}),
        # an earlier attempt by a clock that runs behind: the number tells which is the last
        attempt("w2", 2, "failed", "10:05", data={"status_code": 500, "will_retry": True}),
    )
    found = warehouse.row("fct_webhook_events", *columns)
    assert tuple(found.values()) == ("exhausted", "w3", 503, time_at("10:01"))
    # the same attempt told once more, later: that one is the last, and has no status code
    warehouse.land(
        "webhook_deliveries", attempt("w1", 3, "failed", "10:02", data={"will_retry": True})
    )
    found = warehouse.row("fct_webhook_events", *columns)
    assert tuple(found.values()) == ("pending", "w1", None, time_at("10:02"))
    # what succeeded once is delivered, whatever was tried after
    warehouse.land(
        "webhook_deliveries", attempt("w0", 1, "delivered", "10:00", data={"status_code": 200})
    )
    found = warehouse.row("fct_webhook_events", *columns, "delivered_at", "attempt_count")
    assert tuple(found.values()) == ("delivered", "w0", None, time_at("10:02"), time_at("10:00"), 4)


def test_latencies_are_of_attempts_that_have_one(warehouse: Warehouse) -> None:
    warehouse.land(
        "webhook_deliveries",
        attempt("a", 1, "failed", "10:00", data={"latency_ms": 10, "will_retry": True}),
        attempt("b", 2, "delivered", f"{NEXT_DAY}T10:00:00"),
        attempt("c", 1, "delivered", "10:00", data={"delivery_id": "two", "latency_ms": 20}),
        attempt("d", 1, "delivered", "10:00", data={"delivery_id": "three"}),
        attempt("e", 1, "failed", "10:00", data={"endpoint_id": "other"}),
    )
    counted = {
        row["endpoint_id"]: (row["attempt_count"], row["latency_p50_ms"], row["latency_p95_ms"])
        for row in warehouse.rows("fct_webhooks_daily")
    }
    assert counted == {"end": (4, 15.0, pytest.approx(19.5)), "other": (1, None, None)}
    by_delivery = {
        row["delivery_id"]: row["latency_ms"]
        for row in warehouse.rows("fct_webhook_events")
        if row["endpoint_id"] == "end"
    }
    assert by_delivery == {"dlv": None, "two": 20.0, "three": None}


# ---- who counts, and where


def test_a_campaign_test_in_production_is_kept_and_not_counted(warehouse: Warehouse) -> None:
    warehouse.land(
        "campaign_events",
        message("a", "sent", "10:00"),
        message("o", "sent", "10:00", data={"message_id": "other"}),
    )
    assert warehouse.row("fct_campaigns_daily", "message_count") == {"message_count": 2}
    # any event makes it a test, also one that comes later and says no more
    warehouse.land("campaign_events", message("b", "opened", "10:05", is_test=True))
    tests = {row["message_id"]: row["is_test"] for row in warehouse.rows("fct_campaign_messages")}
    assert tests == {"msg": True, "other": False}
    counted = warehouse.row("fct_campaigns_daily", "message_count", "opened_count")
    assert counted == {"message_count": 1, "opened_count": 0}


def test_a_message_that_loses_its_first_event_loses_that_day(warehouse: Warehouse) -> None:
    first = message("a", "sent", "10:00", received_at=f"{DAY}T10:00:00Z")
    later = message("b", "delivered", f"{NEXT_DAY}T10:00:00")
    warehouse.land("campaign_events", first, later)
    assert warehouse.row("fct_campaigns_daily", "activity_date") == {"activity_date": DAY}
    # a copy received earlier wins, and is an event of another message
    other = first | {
        "received_at": f"{DAY}T09:00:00Z",
        "occurred_at": f"{NEXT_DAY - timedelta(days=9)}T08:00:00Z",
        "data": first["data"] | {"message_id": "other"},
    }
    warehouse.land("campaign_events", other)
    found = {
        row["message_id"]: (row["activity_date"], row["delivery_state"], row["sent_at"])
        for row in warehouse.rows("fct_campaign_messages")
    }
    assert found == {
        "msg": (NEXT_DAY, "delivered", None),
        "other": (date(2025, 2, 21), "sent", time_at("2025-02-21T08:00:00")),
    }
    days = [row["activity_date"] for row in warehouse.rows("fct_campaigns_daily")]
    assert days == [date(2025, 2, 21), NEXT_DAY]


@pytest.mark.parametrize(
    ("table", "mart", "key", "only"),
    [
        ("notification_events", "fct_notifications", "notification_id", notice),
        ("campaign_events", "fct_campaign_messages", "message_id", message),
        ("webhook_deliveries", "fct_webhook_events", "delivery_id", attempt),
    ],
)
def test_a_message_whose_only_event_was_displaced_is_gone(
    warehouse: Warehouse, table: str, mart: str, key: str, only: Callable[..., Record]
) -> None:
    how = (1, "delivered") if table == "webhook_deliveries" else ("sent",)
    one = only("a", *how, "10:00", received_at=f"{DAY}T10:00:00Z")
    warehouse.land(table, one)
    moved = {"received_at": f"{DAY}T09:00:00Z", "data": one["data"] | {key: "other"}}
    warehouse.land(table, one | moved)
    assert warehouse.row(mart, key) == {key: "other"}


def test_a_build_that_failed_in_between_forgets_no_day(warehouse: Warehouse) -> None:
    """Once the message is decided anew, nothing but the log knows of its former first day."""
    first = message("a", "sent", "10:00", received_at=f"{NEXT_DAY}T10:00:00Z")
    warehouse.land("campaign_events", first, message("b", "delivered", f"{NEXT_DAY}T10:00:00"))
    moved = {"received_at": f"{NEXT_DAY}T09:00:00Z", "occurred_at": f"{NEXT_DAY}T08:00:00Z"}
    warehouse.replay.land(Land("campaign_events/moved.jsonl", (first | moved,)))
    names = [node.name for node in warehouse.replay.recordings["production"].nodes]
    fails = ("failed", names.index("fct_campaigns_daily"))
    warehouse.replay.build(Build(("production",), until=fails))
    decided = "production_intermediate.int_campaign_messages_decided"
    assert warehouse.query(f"select activity_date from {decided}") == [{"activity_date": NEXT_DAY}]
    assert warehouse.row("fct_campaigns_daily", "activity_date") == {"activity_date": DAY}
    warehouse.replay.build(ONLY_PRODUCTION)
    for mart in ("fct_campaigns_daily", "fct_campaign_messages"):
        assert warehouse.row(mart, "activity_date") == {"activity_date": NEXT_DAY}


def user(key: str, **fields: Any) -> Record:
    made = {"created_at": "2025-01-01T00:00:00Z", "updated_at": "2025-01-01T00:00:00Z"}
    return {"id": key, "workspace_id": "ws", "kind": "human", **made, **fields}


def joined(key: str, who: str, membership: str, at: str, **fields: Any) -> Record:
    data = {"membership_id": membership, "role": "member"}
    return event(key, "membership.added", at, data, user_id=who, **fields)


def test_a_message_of_a_merged_user_is_the_survivors(warehouse: Warehouse) -> None:
    warehouse.land("membership_events", joined("m1", "grace", "mem_g", "09:00"))
    warehouse.land("campaign_events", message("a", "sent", "10:00"))
    warehouse.land("webhook_deliveries", attempt("w", 1, "delivered", "10:00"))
    warehouse.land("notification_events", notice("n", "sent", "10:00"))
    marts = ("fct_campaign_messages", "fct_webhook_events", "fct_notifications")
    for mart in marts:
        found = warehouse.row(mart, "user_id", "membership_id")
        assert found == {"user_id": "ada", "membership_id": None}
    warehouse.land("users", user("ada", merged_into="grace"))
    for mart in marts:
        found = warehouse.row(mart, "user_id", "membership_id")
        assert found == {"user_id": "grace", "membership_id": "mem_g"}
    warehouse.land("users", user("ada", updated_at="2025-01-02T00:00:00Z"))
    for mart in marts:
        found = warehouse.row(mart, "user_id", "membership_id")
        assert found == {"user_id": "ada", "membership_id": None}


def test_impersonated_and_robot_messages_are_counted(warehouse: Warehouse) -> None:
    warehouse.land("users", user("cron", kind="service"))
    warehouse.land(
        "notification_events",
        notice("a", "delivered", "10:00", impersonator_id="support"),
        notice("b", "delivered", "10:00", "sms", user_id="cron"),
        notice("c", "delivered", "10:00", "email", user_id=None),
    )
    found = {
        row["channel"]: (row["user_id"], row["is_impersonated"])
        for row in warehouse.rows("fct_notifications")
    }
    assert found == {"push": ("ada", True), "sms": ("cron", False), "email": (None, False)}
    counted = {
        row["channel"]: row["delivered_count"] for row in warehouse.rows("fct_notifications_daily")
    }
    assert counted == {"push": 1, "sms": 1, "email": 1}


def test_ids_are_those_of_the_deciding_event_or_the_first_that_has_one(
    warehouse: Warehouse,
) -> None:
    warehouse.land("session_events", event("s", "session.started", "09:00", {}, session_id="ses_2"))
    session_key = warehouse.row("fct_sessions", "session_key")["session_key"]
    ids = ("event_id", "user_id", "session_key", "trace_id")
    warehouse.land(
        "campaign_events",
        message("a", "queued", "10:00", user_id=None, trace_id="t1"),
        message("b", "sent", "10:01", user_id="bob", session_id="ses_2", trace_id="t2"),
        message("c", "delivered", "10:02", user_id=None),
        message("d", "opened", "10:03", user_id="dan", session_id="ses_4", trace_id="t4"),
    )
    found = warehouse.row("fct_campaign_messages", *ids)
    assert tuple(found.values()) == ("c", "bob", session_key, "t1")
    warehouse.land(
        "campaign_events", message("e", "failed", "10:04", trace_id="t5", session_id="ses_5")
    )
    found = warehouse.row("fct_campaign_messages", *ids)
    assert (found["event_id"], found["user_id"], found["trace_id"]) == ("e", "ada", "t5")
    assert found["session_key"] not in (session_key, None)


def test_what_events_of_one_message_disagree_on_is_told_by_the_first(warehouse: Warehouse) -> None:
    place = ("project_id", "campaign_id", "channel")
    warehouse.land(
        "campaign_events",
        message("b", "sent", "10:01", data={"campaign_id": "autumn", "channel": None}),
        message("c", "delivered", "10:02", project_id="prj_2", data={"channel": "sms"}),
    )
    found = warehouse.row("fct_campaign_messages", *place)
    assert tuple(found.values()) == ("prj", "autumn", "sms")
    # an earlier one comes late; it is one message, in one project, in one row
    warehouse.land(
        "campaign_events",
        message("a", "queued", "10:00", project_id="prj_3", data={"campaign_id": None}),
    )
    found = warehouse.row("fct_campaign_messages", *place)
    assert tuple(found.values()) == ("prj_3", "autumn", "email")
    counted = warehouse.row("fct_campaigns_daily", *place, "message_count")
    assert tuple(counted.values()) == ("prj_3", "autumn", "email", 1)
    # ids of messages are a workspace's own
    warehouse.land("campaign_events", message("a", "queued", "10:00", workspace_id="ws_2"))
    assert len(warehouse.rows("fct_campaign_messages")) == 2


def test_the_membership_is_the_latest_at_or_before_the_event_that_gave_the_user(
    warehouse: Warehouse,
) -> None:
    def known() -> str | None:
        return warehouse.row("fct_campaign_messages", "membership_id")["membership_id"]

    warehouse.land("campaign_events", message("a", "sent", "10:00"))
    assert known() is None
    warehouse.land("membership_events", joined("m2", "ada", "mem_2", "10:00:00.000001"))
    assert known() is None
    warehouse.land("membership_events", joined("m1", "ada", "mem_1", "10:00"))
    assert known() == "mem_1"
    warehouse.land("membership_events", joined("m0", "ada", "mem_0", "2025-02-01T10:00:00"))
    assert known() == "mem_1"
    # the state is decided without a user: they are as the event before it told
    warehouse.land("campaign_events", message("b", "delivered", "10:10", user_id=None))
    assert known() == "mem_1"
    warehouse.land("campaign_events", message("c", "complained", "10:20"))
    assert known() == "mem_2"
    # another project's says nothing, nor does a test
    warehouse.land(
        "membership_events",
        joined("m3", "ada", "mem_3", "10:15", project_id="prj_2"),
        joined("m4", "ada", "mem_4", "10:15", is_test=True),
    )
    assert known() == "mem_2"


def test_events_that_name_no_message_are_rejected_and_told(warehouse: Warehouse) -> None:
    """So that every key is whole: only a notice's channel may be missing."""
    warehouse.land("campaign_events", event("a", "message.sent", "10:00", {"channel": "email"}))
    warehouse.land("notification_events", event("a", "notification.sent", "10:00", {}))
    warehouse.land(
        "webhook_deliveries",
        *(
            event(key, "webhook.attempted", "10:00", {"outcome": "failed", "attempt": 1, **given})
            for key, given in (("a", {"delivery_id": "dlv"}), ("b", {"endpoint_id": "end"}))
        ),
    )
    for mart in ("fct_campaign_messages", "fct_webhook_events", "fct_notifications"):
        assert warehouse.rows(mart) == []
    rejected = warehouse.query("select reason, field from raw.rejected_records order by all")
    assert {row["field"] for row in rejected} == {
        *("data.message_id", "data.notification_id", "data.delivery_id", "data.endpoint_id")
    }
    assert len(rejected) == 4


# ---- by chance

RANKS = {"queued": 1, "sent": 2, "delivered": 3, "bounced": 4, "complained": 4, "failed": 4}
SURVIVORS = {"usr_1": "usr_2", "usr_2": "usr_2", "usr_3": "usr_3"}


def made_by_chance(chance: random.Random, table: str, number: int) -> list[Record]:
    """Events of messages that disagree in everything, often at the same instant."""
    kinds = {
        "campaign_events": [f"message.{state}" for state in (*RANKS, "opened", "clicked")],
        "notification_events": [f"notification.{state}" for state in (*list(RANKS)[:3], "read")],
        "webhook_deliveries": ["webhook.attempted"],
    }[table]
    found = []
    for message_number in range(number):
        start = datetime(2025, 3, 1, 23, 0, tzinfo=UTC) + timedelta(hours=chance.randrange(48))
        for _ in range(chance.randrange(1, 6)):
            after = timedelta(minutes=chance.choice([0, 0, 0, 1, 90, 60 * 24, -60 * 24]))
            data: Record = {
                "campaign_events": {
                    "message_id": f"msg_{message_number}",
                    "campaign_id": chance.choice([None, "cmp_1", "cmp_2"]),
                    "channel": chance.choice([None, "email", "sms"]),
                },
                "notification_events": {
                    "notification_id": f"ntf_{message_number}",
                    "channel": chance.choice([None, "email"]),
                },
                "webhook_deliveries": {
                    "delivery_id": f"dlv_{message_number}",
                    "endpoint_id": chance.choice(["end_1", "end_1", "end_2"]),
                    "event_type": chance.choice([None, "one", "two"]),
                    "attempt": chance.choice([1, 1, 2, 3]),
                    "outcome": chance.choice(["failed", "failed", "failed", "delivered"]),
                    "status_code": chance.choice([None, 200, 500]),
                    "latency_ms": chance.choice([None, 1.5, 7, 30]),
                    "will_retry": chance.choice([None, True, False]),
                },
            }[table]
            found.append(
                event(
                    *(f"evt_{chance.randrange(10**9)}", chance.choice(kinds)),
                    (start + after).isoformat().removesuffix("+00:00"),
                    data,
                    project_id=chance.choice(["prj_1", "prj_1", "prj_2"]),
                    user_id=chance.choice([None, "usr_1", "usr_3"]),
                    trace_id=chance.choice([None, "t1", "t2", "t3"]),
                    is_test=chance.choice([None] * 12 + [True]),
                    impersonator_id=chance.choice([None] * 9 + ["usr_9"]),
                )
            )
    return found


def time_of(one: Record) -> datetime:
    return datetime.fromisoformat(one["occurred_at"]).replace(tzinfo=None)


def first_that_has(events: Iterable[Record], *path: str) -> Any:
    for one in events:
        value: Any = one
        for name in path:
            value = value.get(name)
        if value is not None:
            return value
    return None


def by_message(events: Iterable[Record], *key: str) -> dict[tuple[str | None, ...], list[Record]]:
    found = defaultdict(list)
    for one in events:
        found[tuple(one["data"].get(name) for name in key)].append(one)
    return found


def common(events: list[Record], deciding: Record) -> dict[str, Any]:
    """What the rows of all three marts hold; `events` in their order."""
    user_id = first_that_has([deciding, *events], "user_id")
    return {
        "workspace_id": "ws",
        "project_id": events[0]["project_id"],
        "event_id": deciding["id"],
        "user_id": SURVIVORS.get(user_id),
        "membership_id": None,
        "session_key": None,
        "trace_id": first_that_has([deciding, *events], "trace_id"),
        "is_test": any(one.get("is_test") for one in events),
        "is_impersonated": any("impersonator_id" in one for one in events),
        "activity_date": min(map(time_of, events)).date(),
    }


def stated(events: list[Record], times: dict[str, str]) -> dict[str, Any]:
    """A message or notice, by the rule of delivery states; `times`: column → type."""

    def rank(one: Record) -> int | None:
        return RANKS.get(one["type"].split(".")[1])

    events = sorted(events, key=lambda one: (time_of(one), rank(one) or 5, one["id"]))
    states = [one for one in events if rank(one)]
    deciding = states[-1] if states else events[0]
    return common(events, deciding) | {
        "delivery_state": deciding["type"].split(".")[1] if states else None,
        "is_sent": any((rank(one) or 0) > 1 for one in events),
        **{
            column: min((time_of(one) for one in events if one["type"] == kind), default=None)
            for column, kind in times.items()
        },
    }


def delivery(events: list[Record]) -> dict[str, Any]:
    """A delivery, by the rule of webhook outcomes."""
    events = sorted(events, key=lambda one: (one["data"]["attempt"], time_of(one), one["id"]))
    successes = [one for one in events if one["data"]["outcome"] == "delivered"]
    last = events[-1]
    deciding = successes[0] if successes else last
    outcome = "pending" if last["data"].get("will_retry") else "exhausted"
    latencies = [one["data"]["latency_ms"] for one in events if "latency_ms" in one["data"]]
    latencies = [latency for latency in latencies if latency is not None]
    return common(events, deciding) | {
        "event_type": first_that_has(events, "data", "event_type"),
        "outcome": "delivered" if successes else outcome,
        "attempt_count": len(events),
        "first_attempt_at": min(map(time_of, events)),
        "last_attempt_at": time_of(last),
        "delivered_at": time_of(deciding) if successes else None,
        "last_status_code": last["data"].get("status_code"),
        "latency_ms": deciding["data"].get("latency_ms"),
        "latencies_ms": sorted(latencies) or None,
    }


def expected_rows(table: str, events: list[Record]) -> list[dict[str, Any]]:
    if table == "webhook_deliveries":
        groups = by_message(events, "delivery_id", "endpoint_id")
        return [
            {"delivery_id": key[0], "endpoint_id": key[1], **delivery(found)}
            for key, found in groups.items()
        ]
    if table == "notification_events":
        groups = by_message(events, "notification_id", "channel")
        times = {f"{name}_at": f"notification.{name}" for name in ("sent", "delivered", "read")}
        return [
            {"notification_id": key[0], "channel": key[1], **stated(found, times)}
            for key, found in groups.items()
        ]
    names = ("queued", "sent", "delivered", "opened", "clicked", "unsubscribed")
    times = {f"{name}_at": f"message.{name}" for name in names}
    rows = []
    for (message_id,), found in by_message(events, "message_id").items():
        row = stated(found, times)
        in_order = sorted(
            found,
            key=lambda one: (time_of(one), RANKS.get(one["type"].split(".")[1], 5), one["id"]),
        )
        row["message_id"] = message_id
        row["campaign_id"] = first_that_has(in_order, "data", "campaign_id")
        row["channel"] = first_that_has(in_order, "data", "channel")
        rows.append(row)
    return rows


def in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((dict(sorted(row.items())) for row in rows), key=repr)


def counted_webhooks(
    rows: list[dict[str, Any]], events: list[Record]
) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Key → outcomes, attempts, retries and the median latency of each row of the daily mart."""
    latencies = defaultdict(list)
    for one in events:
        key = (one["data"]["delivery_id"], one["data"]["endpoint_id"])
        if (latency := one["data"].get("latency_ms")) is not None:
            latencies[key].append(latency)
    groups = defaultdict(list)
    for row in rows:
        if not row["is_test"]:
            key = (row["project_id"], row["endpoint_id"], row["event_type"], row["activity_date"])
            groups[key].append(row)
    found = {}
    for key, group in groups.items():
        outcomes = [row["outcome"] for row in group]
        attempts = sum(row["attempt_count"] for row in group)
        times = [
            time for row in group for time in latencies[row["delivery_id"], row["endpoint_id"]]
        ]
        found[key] = (
            *(outcomes.count(name) for name in ("delivered", "exhausted", "pending")),
            *(attempts, attempts - len(group), median(times) if times else None),
        )
    return found


def counted_states(
    rows: list[dict[str, Any]], keys: tuple[str, ...], ever: tuple[str, ...]
) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Key → messages, sent, delivered, failed and those to which something ever happened."""
    groups = defaultdict(list)
    for row in rows:
        if not row["is_test"]:
            groups[tuple(row[name] for name in keys)].append(row)
    return {
        key: (
            len(group),
            sum(row["is_sent"] for row in group),
            sum(row["delivery_state"] in ("delivered", "complained") for row in group),
            sum(row["delivery_state"] == "failed" for row in group),
            *(sum(row[name] is not None for row in group) for name in ever),
        )
        for key, group in groups.items()
    }


def test_many_messages_that_land_in_any_order(warehouse: Warehouse) -> None:
    chance = random.Random(20250301)
    made = {
        table: made_by_chance(chance, table, 150)
        for table in ("webhook_deliveries", "campaign_events", "notification_events")
    }
    warehouse.land("users", user("usr_1", merged_into="usr_2"))
    for table, events in made.items():
        chance.shuffle(events)
        for part in range(4):
            warehouse.land(table, *events[part::4])
    marts = {
        "webhook_deliveries": "fct_webhook_events",
        "campaign_events": "fct_campaign_messages",
        "notification_events": "fct_notifications",
    }
    expected = {table: expected_rows(table, events) for table, events in made.items()}
    for table, mart in marts.items():
        assert in_order(warehouse.rows(mart)) == in_order(expected[table]), mart
    # the cases are there
    rows = expected["campaign_events"]
    assert {row["delivery_state"] for row in rows} == {*RANKS, None}
    assert {row["outcome"] for row in expected["webhook_deliveries"]} == {
        *("delivered", "pending", "exhausted")
    }
    assert {row["channel"] for row in expected["notification_events"]} == {"email", None}

    webhooks = {
        (row["project_id"], row["endpoint_id"], row["event_type"], row["activity_date"]): (
            *(row["delivered_count"], row["exhausted_count"], row["pending_count"]),
            *(row["attempt_count"], row["retry_count"], row["latency_p50_ms"]),
        )
        for row in warehouse.rows("fct_webhooks_daily")
    }
    assert webhooks == counted_webhooks(expected["webhook_deliveries"], made["webhook_deliveries"])
    for mart, table, keys, ever in (
        (
            *("fct_campaigns_daily", "campaign_events"),
            ("project_id", "campaign_id", "channel", "activity_date"),
            ("opened", "clicked"),
        ),
        (
            *("fct_notifications_daily", "notification_events"),
            ("project_id", "channel", "activity_date"),
            ("read",),
        ),
    ):
        total = "message_count" if table == "campaign_events" else "notification_count"
        counts = (total, "sent_count", "delivered_count", "failed_count")
        counts += tuple(f"{name}_count" for name in ever)
        found = {
            tuple(row[name] for name in keys): tuple(row[name] for name in counts)
            for row in warehouse.rows(mart)
        }
        happened = tuple(f"{name}_at" for name in ever)
        assert found == counted_states(expected[table], keys, happened), mart
