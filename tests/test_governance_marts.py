"""Marts of governance on cases worked out by hand, and against plain Python where chance draws.

Everything comes in through the landing folder; builds are replayed (histories.py).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dagster_project.audits import account_for_every_line
from landing.schema import put_pseudonym_key
from tests.histories import ENVIRONMENTS, Build, Land, Record, Recording, Replay, of_marts

MARTS = "production_marts.production"
NOON = datetime(2025, 2, 3, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
PAGE = "/projects/prj/analytics"


def text(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def event(key: str, at: datetime, **fields: Any) -> Record:
    """An event of a production user; a request of the API unless the fields say otherwise."""
    found = {"id": key, "type": "api.request", "occurred_at": text(at), "environment": "production"}
    return found | {"workspace_id": "ws", "project_id": "prj", "user_id": "ada"} | fields


def view(at: datetime, interval: str = "", **fields: Any) -> Record:
    """An audit event of a look at project usage."""
    actor = {
        "type": fields.get("actor_type", "user"),
        "id": fields.get("actor", "ada"),
        "name": "Ada Byron",
        "metadata": {
            "first_name": "Ada",
            "email": "ada@example.com",
            "impersonator_email": fields.get("impersonator", ""),
            "impersonator_reason": "",
        },
    }
    found = {
        "action": fields.get("action", "analytics.view"),
        "occurredAt": text(at),
        "version": 1,
        "actor": actor,
        "targets": [{"type": "project", "id": "prj", "metadata": {"organization_id": "ws"}}],
        "context": {"location": "203.0.113.1", "userAgent": "curl/8.5.0"},
        "metadata": {
            "source": fields.get("source", PAGE),
            "start_date": fields.get("start", "2025-01-28T00:00:00.000Z"),
            "end_date": fields.get("end", "2025-02-03T23:59:59.999Z"),
            "interval": interval,
        },
    }
    if "received" in fields:
        found["receivedAt"] = text(fields["received"])
    if "environment" in fields:
        found["environment"] = fields["environment"]
    return found


def triple(at: datetime, **fields: Any) -> list[Record]:
    return [view(at, interval, **fields) for interval in ("", "hour", "hour")]


LOOKED_AT = (
    "fct_analytics_views",
    "fct_data_quality_daily",
    "fct_events",
    "fct_exports",
    "fct_failure_signals",
    "fct_sessions",
)


@pytest.fixture(scope="module")
def recordings(recordings: dict[str, Recording]) -> dict[str, Recording]:
    """The marts that are looked at."""
    return of_marts(recordings, *LOOKED_AT)


class Warehouse:
    """Lands files and builds; rows of the marts of production."""

    def __init__(self, recordings: dict[str, Recording], folder: Path) -> None:
        self.replay = Replay(recordings, folder)
        self.folder = folder
        self.files = 0

    def land(self, table: str, *records: Record, name: str = "") -> None:
        self.files += 1
        path = f"{table}/{self.files:03d}{name and '-' + name}.jsonl"
        self.replay.land(Land(path, records))

    def land_text(self, path: str, *lines: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(f"{line}\n" for line in lines))
        self.replay.land()

    def build(self, environments: tuple[str, ...] = ENVIRONMENTS[:1]) -> None:
        self.replay.build(Build(environments))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.replay.connection.execute(query).fetchall()

    def views(self, columns: str) -> list[tuple[Any, ...]]:
        return self.rows(f"select {columns} from {MARTS}.fct_analytics_views order by all")

    def quality(self, columns: str, table: str, environment: str = "production") -> dict[Any, Any]:
        found = self.rows(
            f"select activity_date, {columns} from"
            f" {environment}_marts.{environment}.fct_data_quality_daily"
            f" where source_table = '{table}'"
        )
        return {row[0]: row[1:] for row in found}


@pytest.fixture
def warehouse(recordings: dict[str, Recording], tmp_path: Path) -> Iterator[Warehouse]:
    made = Warehouse(recordings, tmp_path)
    yield made
    made.replay.close()


# ---- views of usage


def test_twins_of_one_file_both_count_and_a_delivered_copy_does_not(warehouse: Warehouse) -> None:
    asked = triple(NOON)
    assert asked[1] == asked[2]
    warehouse.land("audit_events", *asked)
    # the same triple in another file, and one event that is new
    warehouse.land("audit_events", *asked, view(NOON + HOUR, source="/api/v1/usage"))
    warehouse.build()
    assert warehouse.views("source, event_count, is_incomplete_triple, len(event_ids)") == [
        ("/api/v1/usage", 1, False, 1),
        (PAGE, 3, False, 3),
    ]
    found = warehouse.rows(
        f"select count(*), count(distinct event_id), any_value(summary) from {MARTS}.fct_events"
        " where source_table = 'audit_events' and type = 'analytics.view' and occurred_at ="
        " timestamp '2025-02-03 12:00:00'"
    )
    assert found[0][:2] == (3, 3)
    quality = warehouse.quality("landed_count, accepted_count, duplicate_count", "audit_events")
    assert quality == {date(2025, 2, 3): (7, 4, 3)}


def test_a_view_over_midnight_belongs_to_the_day_it_began(warehouse: Warehouse) -> None:
    midnight = datetime(2025, 2, 4, tzinfo=UTC)
    first, second, third = (
        view(midnight + timedelta(seconds=seconds), interval)
        for seconds, interval in ((-5, ""), (1, "hour"), (5, "hour"))
    )
    warehouse.land("audit_events", second)
    warehouse.build()
    assert warehouse.views("activity_date, event_count, is_incomplete_triple") == [
        (date(2025, 2, 4), 1, True)
    ]
    warehouse.land("audit_events", third)
    warehouse.land("audit_events", first)
    warehouse.build()
    assert warehouse.views("activity_date, viewed_at, event_count, is_incomplete_triple") == [
        (date(2025, 2, 3), datetime(2025, 2, 3, 23, 59, 55), 3, False)
    ]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([(0, ""), (1, "hour"), (2, "hour")], [(3, False)]),
        ([(0, ""), (1, "hour")], [(2, True)]),
        ([(0, "hour"), (1, "hour")], [(2, True)]),
        ([(0, ""), (1, "hour"), (2, "hour"), (3, "hour")], [(1, True), (3, False)]),
        ([(0, ""), (0, ""), (1, "hour"), (2, "hour")], [(1, True), (3, False)]),
        # 10 seconds are within, a microsecond more is not
        ([(0, ""), (1, "hour"), (10, "hour")], [(3, False)]),
        ([(0, ""), (1, "hour"), (10.000001, "hour")], [(1, True), (2, True)]),
        # counted from the first, not from the one before
        ([(0, ""), (8, "hour"), (16, "hour")], [(1, True), (2, True)]),
        # reloaded before the page was through
        (
            [(0, ""), (1, ""), (2, "hour"), (3, "hour"), (4, "hour"), (5, "hour")],
            [(3, False), (3, False)],
        ),
    ],
)
def test_events_of_a_view(
    warehouse: Warehouse, events: list[tuple[float, str]], expected: list[tuple[int, bool]]
) -> None:
    warehouse.land("audit_events", *(view(NOON + timedelta(seconds=s), i) for s, i in events))
    warehouse.build()
    assert warehouse.views("event_count, is_incomplete_triple") == expected


def test_an_api_call_is_complete_with_one_event(warehouse: Warehouse) -> None:
    sources = ("/api/v1/usage", "/apis", "/projects/api/", "/API/v1")
    warehouse.land("audit_events", *(view(NOON, source=source) for source in sources))
    warehouse.build()
    assert dict(warehouse.views("source, is_incomplete_triple")) == {
        "/api/v1/usage": False,
        "/apis": True,
        "/projects/api/": True,
        "/API/v1": True,
    }


def test_impersonated_views_stand_apart_and_name_nobody(warehouse: Warehouse) -> None:
    records = [
        *triple(NOON),
        *triple(NOON, impersonator="Sue@Support.example"),
        *triple(NOON + HOUR, impersonator=" sue@support.example"),
        *triple(NOON, impersonator="tom@support.example"),
    ]
    warehouse.land("audit_events", *records)
    warehouse.build()
    found = warehouse.views("is_impersonated, impersonator_hash, viewer_id, event_count")
    assert [row[0] for row in found] == [False, True, True, True]
    assert found[0][1] is None
    # the same address in another spelling is the same person
    assert sorted(Counter(row[1] for row in found[1:]).values()) == [1, 2]
    everything = str(warehouse.rows(f"from {MARTS}.fct_analytics_views"))
    everything += str(warehouse.rows(f"from {MARTS}.fct_events"))
    for private in ("@", "support.example", "Byron", "203.0.113.1", "curl"):
        assert private not in everything
    hashes = {row[0] for row in warehouse.rows(f"select impersonator_id from {MARTS}.fct_events")}
    assert hashes == {row[1] for row in found}


def test_pseudonyms_of_two_warehouses_are_not_the_same(
    recordings: dict[str, Recording], tmp_path: Path
) -> None:
    found = set()
    for name in ("one", "other"):
        made = Warehouse(recordings, tmp_path / name)
        put_pseudonym_key(made.replay.connection, name.encode())
        made.land("audit_events", view(NOON, impersonator="sue@support.example"))
        made.build()
        [(pseudonym,)] = made.views("impersonator_hash")
        # the first key was the one that the warehouse began with
        digest = hmac.new(name.encode(), b"sue@support.example", hashlib.sha256).hexdigest()
        assert pseudonym == f"p3:{digest}"
        found.add(pseudonym)
        made.replay.close()
    assert len(found) == 2


# from midnight of 27 January on, what the range asks for; the third is the example of the source's
# own page, 7 d 23:59:59.999
RANGES = {
    "2025-02-02T23:59:59.999Z": "hour",
    "2025-02-03T00:00:00.000Z": "hour",
    "2025-02-03T23:59:59.999Z": "day",
    "2025-02-03T00:00:00.001Z": "day",
    "2025-02-26T23:59:59.999Z": "day",
}


def test_seven_days_of_24_hours_are_hours_and_a_millisecond_more_is_days(
    warehouse: Warehouse,
) -> None:
    """What was recorded stays; what the range asks for stands beside it."""
    start = "2025-01-27T00:00:00.000Z"
    for number, end in enumerate(RANGES):
        for hour, each in enumerate(("hour", "day")):
            at = NOON + number * timedelta(hours=2) + hour * HOUR
            warehouse.land(
                "audit_events",
                *(view(at, interval, start=start, end=end) for interval in ("", each, each)),
            )
    warehouse.build()
    found = warehouse.views('range_end_at, "interval", range_interval, is_interval_of_range')
    assert sorted(found) == sorted(
        (datetime.fromisoformat(end[:-1]), recorded, due, recorded == due)
        for end, due in RANGES.items()
        for recorded in ("hour", "day")
    )


def test_a_range_of_31_dates_is_the_longest_and_series_of_a_view_agree(
    warehouse: Warehouse,
) -> None:
    start = "2025-01-04T00:00:00.000Z"
    for number, end in enumerate(("2025-02-03T23:59:59.999Z", "2025-02-04T00:00:00.000Z")):
        at = NOON + number * HOUR
        warehouse.land("audit_events", *(view(at, i, start=start, end=end) for i in ("", "day")))
    # of one page one series by the hour, the other by the day, and one that lacks its range
    warehouse.land("audit_events", *(view(NOON + 2 * HOUR, i) for i in ("", "hour", "day")))
    warehouse.land("audit_events", *(view(NOON + 3 * HOUR, i, start=None) for i in ("", "hour")))
    warehouse.land("audit_events", view(NOON + 4 * HOUR, start=None))
    warehouse.build()
    columns = "hour(viewed_at), range_interval, is_interval_of_range, is_range_allowed"
    assert sorted(warehouse.views(columns)) == [
        (12, "day", True, True),
        (13, "day", True, False),
        (14, "hour", False, True),
        (15, None, False, True),
        (16, None, True, True),
    ]


def test_a_viewer_is_the_survivor_and_says_what_they_are(warehouse: Warehouse) -> None:
    warehouse.land("audit_events", *triple(NOON), view(NOON, actor="key_1", actor_type="api_key"))
    warehouse.build()
    assert warehouse.views("viewer_id, viewer_kind") == [("ada", "human"), ("key_1", "api_key")]
    made = {"workspace_id": "ws", "created_at": "2025-01-01T00:00:00Z"}
    users = (
        {"id": "ada", "kind": "human", "merged_into": "countess"},
        {"id": "countess", "kind": "service"},
    )
    updated = {"updated_at": "2025-01-02T00:00:00Z"}
    warehouse.land("users", *(user | made | updated for user in users))
    warehouse.build()
    assert warehouse.views("viewer_id, viewer_kind") == [
        ("countess", "service"),
        ("key_1", "api_key"),
    ]
    # what is published of events says so too
    published = "select distinct user_id, actor_type from published.production.fct_events"
    assert sorted(warehouse.rows(published)) == [("countess", "user"), ("key_1", "api_key")]


def assembled(events: list[tuple[int, bool]]) -> list[tuple[int, int]]:
    """(summaries, series) of each view: an event joins the first view that has room for it."""
    views: list[dict[str, Any]] = []
    for at, is_summary in sorted(events, key=lambda one: one[0]):
        for found in views:
            room = 1 if is_summary else 2
            if at - found["at"] <= 10_000 and found[is_summary] < room:
                found[is_summary] += 1
                break
        else:
            views.append({"at": at, is_summary: 1, (not is_summary): 0})
    return sorted((found[True], found[False]) for found in views)


def test_bursts_of_views_are_told_apart_as_one_would_by_hand(warehouse: Warehouse) -> None:
    chance = random.Random(60)
    records, expected = [], {}
    for number in range(250):
        source = f"/projects/{number}"
        at, events = 0, []
        for _ in range(chance.randrange(1, 12)):
            at += chance.choice([100, 200, 1000, 3000, 5000, 9900, 10000, 10001])
            events.append((at, chance.random() < 0.4))
        expected[source] = assembled(events)
        for millisecond, is_summary in events:
            moment = NOON + timedelta(milliseconds=millisecond)
            records.append(view(moment, "" if is_summary else "day", source=source))
    chance.shuffle(records)
    # audit events without an id: twins of one file both count, so all of them are in one
    warehouse.land("audit_events", *records)
    warehouse.build()
    counted = warehouse.rows(
        f"""
        with parts as (
            select view_key, source, unnest(event_ids) as event_id
            from {MARTS}.fct_analytics_views
        )
        select
            parts.source, count(*) filter (view_interval = ''),
            count(*) filter (view_interval <> '')
        from parts join raw.audit_events on parts.event_id = id
        group by view_key, parts.source
        """
    )
    found = defaultdict(list)
    for source, summaries, series in counted:
        found[source].append((summaries, series))
    assert {source: sorted(views) for source, views in found.items()} == expected
    assert max(len(views) for views in expected.values()) > 4


# ---- events


def test_every_event_of_every_table_is_an_event(warehouse: Warehouse) -> None:
    details = {
        "auth_events": ("login", {"outcome": "failure", "method": "oauth", "provider": "github"}),
        "session_events": ("metric.logged", {"name": "csat", "value": 4}),
        "platform_events": (
            "api.request",
            {"method": "GET", "route": "/v1/users?token=abc", "status_code": 500},
        ),
        "membership_events": ("membership.role_changed", {"role": "admin"}),
        "webhook_deliveries": (
            "webhook.attempted",
            {"delivery_id": "d", "endpoint_id": "e", "attempt": 2, "outcome": "failed"},
        ),
        "campaign_events": ("message.sent", {"message_id": "m", "channel": "email"}),
        "loyalty_events": ("points.earned", {"points": 10}),
        "notification_events": ("notification.sent", {"notification_id": "n", "channel": "push"}),
    }
    for table, (kind, data) in details.items():
        # ids meet across tables
        warehouse.land(table, event("same", NOON, type=kind, data=data, session_id="ses"))
    warehouse.land("platform_events", event("mail", NOON, data={"route": "/users/ada@example.com"}))
    warehouse.land("audit_events", view(NOON, action="api_key.created"))
    warehouse.build()
    found = warehouse.rows(
        "select source_table, category, origin, outcome, session_key is not null, is_qualifying,"
        f" summary from {MARTS}.fct_events where event_id <> 'mail' order by all"
    )
    assert found == [
        (
            *("audit_events", "audit", "automatic", None, False, False),
            "api_key.created from 2025-01-28 to 2025-02-03",
        ),
        (
            *("auth_events", "audit", "automatic", "failure", True, False),
            "login failed by oauth with github",
        ),
        (
            *("campaign_events", "platform", "automatic", None, True, False),
            "message.sent by email",
        ),
        ("loyalty_events", "platform", "automatic", None, True, False, "points.earned 10 points"),
        (
            *("membership_events", "audit", "automatic", None, True, False),
            "membership.role_changed to admin",
        ),
        (
            *("notification_events", "platform", "automatic", None, True, False),
            "notification.sent by push",
        ),
        (
            *("platform_events", "platform", "automatic", None, True, True),
            "api.request GET /v1/users answered 500",
        ),
        (
            *("session_events", "session", "custom", None, True, True),
            "metric.logged of metric csat",
        ),
        (
            *("webhook_deliveries", "platform", "automatic", "failed", True, False),
            "webhook.attempted failed at attempt 2",
        ),
    ]
    assert warehouse.rows(f"select summary from {MARTS}.fct_events where event_id = 'mail'") == [
        ("api.request",)
    ]
    # the key of the session is the key of the session
    assert warehouse.rows(
        f"select distinct e.session_key = s.session_key from {MARTS}.fct_events as e,"
        f" {MARTS}.fct_sessions as s where e.session_id is not null"
    ) == [(True,)]


def test_an_audit_event_ahead_of_its_clock_counts_when_it_was_received(
    warehouse: Warehouse,
) -> None:
    received = NOON - timedelta(days=1)
    warehouse.land("audit_events", view(NOON, received=received))
    warehouse.build()
    assert warehouse.rows(
        f"select occurred_at, activity_date, is_clock_skewed from {MARTS}.fct_events"
    ) == [(datetime(2025, 2, 2, 12), date(2025, 2, 2), True)]
    assert warehouse.views("viewed_at") == [(datetime(2025, 2, 2, 12),)]


# ---- failure signals


def attempts(at: datetime, failures: int, successes: int, **fields: Any) -> list[Record]:
    """Webhook attempts within an hour, failures first."""
    return [
        event(
            f"{text(at)}-{number}",
            at + timedelta(seconds=number),
            type="webhook.attempted",
            data={
                "delivery_id": f"{text(at)}-{number}",
                "endpoint_id": "end",
                "attempt": 1,
                "outcome": "failed" if number < failures else "delivered",
            },
            **fields,
        )
        for number in range(failures + successes)
    ]


def flat(parts: list[list[Record]]) -> list[Record]:
    return [record for part in parts for record in part]


def signals(warehouse: Warehouse, columns: str, at: datetime) -> list[tuple[Any, ...]]:
    return warehouse.rows(
        f"select {columns} from {MARTS}.fct_failure_signals"
        f" where activity_hour_at = timestamp '{at:%Y-%m-%d %H:%M}' and kind = 'webhook'"
    )


@pytest.mark.parametrize(
    ("failures", "successes", "is_anomaly"),
    [
        (8, 17, False),  # 0.32, just what is expected
        (9, 16, True),
        (20, 0, True),  # with 20 attempts
        (19, 0, False),  # and with 19
        (0, 25, False),
    ],
)
def test_an_anomaly_is_above_mean_and_three_deviations(
    warehouse: Warehouse, failures: int, successes: int, is_anomaly: bool
) -> None:
    """25 hours, one with a rate of 0.5, the others 0: mean 0.02, deviation 0.1, so 0.32."""
    before = [
        attempts(NOON - n * HOUR, 1 if n == 9 else 0, 1 if n == 9 else 2) for n in range(1, 26)
    ]
    warehouse.land("webhook_deliveries", *flat(before), *attempts(NOON, failures, successes))
    warehouse.build()
    assert signals(warehouse, "attempt_count, failure_count, baseline_rate, is_anomaly", NOON) == [
        (failures + successes, failures, 0.32, is_anomaly)
    ]


@pytest.mark.parametrize(("present", "has_baseline"), [(23, False), (24, True)])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_baseline_needs_24_hours_of_the_168_before(
    warehouse: Warehouse, present: int, has_baseline: bool, is_late: bool
) -> None:
    # the first and the last hour that count, and one beyond each end
    hours = [168, 169, *range(1, present)]
    before = [attempts(NOON - n * HOUR, 0, 1) for n in hours]
    tests = attempts(NOON - 100 * HOUR, 1, 1, is_test=True)
    others = attempts(NOON - 101 * HOUR, 1, 1, project_id="other")
    now = attempts(NOON, 20, 0)
    after = attempts(NOON + HOUR, 1, 0)
    if is_late:
        warehouse.land("webhook_deliveries", *now, *after)
        warehouse.build()
        assert signals(warehouse, "is_anomaly", NOON) == [(False,)]
        # what reaches farthest comes last and alone
        warehouse.land("webhook_deliveries", *flat(before[1:]), *tests, *others)
        warehouse.build()
        warehouse.land("webhook_deliveries", *before[0])
    else:
        everything = [*flat(before), *tests, *others, *now, *after]
        warehouse.land("webhook_deliveries", *everything)
    warehouse.build()
    expected = (0.0 if has_baseline else None, has_baseline)
    assert signals(warehouse, "baseline_rate, is_anomaly", NOON) == [expected]


def test_a_rate_that_never_changes_is_no_anomaly(warehouse: Warehouse) -> None:
    """A third has no last digit: the mean of thirds must not come out below a third."""
    hours = [attempts(NOON - n * HOUR, 7, 14) for n in range(31)]
    warehouse.land("webhook_deliveries", *flat(hours))
    warehouse.build()
    found = warehouse.rows(
        f"select failure_rate, baseline_rate, is_anomaly from {MARTS}.fct_failure_signals"
    )
    assert {row[2] for row in found} == {False}
    assert sum(row[1] is not None for row in found) == 7


def test_traces_are_of_the_earliest_failures(warehouse: Warehouse) -> None:
    failed = attempts(NOON, 30, 2)
    for number, one in enumerate(failed):
        # trace 99 fails first and again; the first five have none; successes have one
        one["trace_id"] = f"trace_{99 - number:02}" if number >= 5 else None
    failed[29]["trace_id"] = "trace_94"
    records = [{k: v for k, v in one.items() if v is not None} for one in reversed(failed)]
    warehouse.land("webhook_deliveries", *records)
    warehouse.build()
    ((traces, coverage),) = signals(warehouse, "trace_ids, trace_coverage_rate", NOON)
    assert traces == [f"trace_{number}" for number in range(75, 95)]
    assert coverage == 25 / 30


def test_requests_fail_where_the_server_says_so(warehouse: Warehouse) -> None:
    codes = (200, 400, 404, 499, 500, 503, None)
    records = [
        event(str(number), NOON, data={} if code is None else {"status_code": code})
        for number, code in enumerate(codes)
    ]
    logins = [
        event(f"{kind}{outcome}", NOON, type=kind, data={"outcome": outcome})
        for kind in ("login", "mfa_verification", "token_refresh")
        for outcome in ("success", "failure")
    ]
    warehouse.land("platform_events", *records, event("app", NOON, type="app.error"))
    warehouse.land("auth_events", *logins, event("out", NOON, type="logout"))
    warehouse.build()
    found = warehouse.rows(
        f"select kind, attempt_count, failure_count from {MARTS}.fct_failure_signals order by all"
    )
    assert found == [("api_request", 7, 2), ("auth", 4, 2)]


def test_signals_are_those_of_plain_python(warehouse: Warehouse) -> None:
    chance = random.Random(24)
    hours: dict[tuple[str, datetime], list[bool]] = defaultdict(list)
    records = []
    for project in ("one", "two", "three"):
        at = NOON
        for _ in range(220):
            at += chance.choice([1, 1, 1, 2, 5, 9]) * HOUR
            failing = chance.choice([0.0, 0.1, 0.1, 0.9])
            for number in range(chance.choice([1, 3, 19, 20, 25])):
                is_failure = chance.random() < failing
                hours[project, at.replace(tzinfo=None)].append(is_failure)
                key = f"{project}-{text(at)}-{number}"
                data = {"status_code": 500 if is_failure else 200}
                moment = at + timedelta(minutes=chance.randrange(60))
                records.append(event(key, moment, project_id=project, data=data))
    chance.shuffle(records)
    third = len(records) // 3
    for part in (records[:third], records[third : 2 * third], records[2 * third :]):
        warehouse.land("platform_events", *part)
        warehouse.build()
    rates = {key: sum(outcomes) / len(outcomes) for key, outcomes in hours.items()}
    found = warehouse.rows(
        "select project_id, activity_hour_at, attempt_count, failure_count, baseline_rate,"
        f" is_anomaly from {MARTS}.fct_failure_signals where kind = 'api_request'"
    )
    assert len(found) == len(hours)
    for project, at, attempted, failed, baseline, is_anomaly in found:
        assert (attempted, failed) == (len(hours[project, at]), sum(hours[project, at]))
        before = [
            rate
            for (other, hour), rate in rates.items()
            if other == project and at - 168 * HOUR <= hour < at
        ]
        expected = None
        if len(before) >= 24:
            expected = min(1, statistics.mean(before) + 3 * statistics.stdev(before))
        assert baseline == (expected and pytest.approx(expected, abs=1e-8))
        if expected is not None and abs(rates[project, at] - expected) > 1e-6:
            assert is_anomaly == (attempted >= 20 and rates[project, at] > expected)
    assert {row[-1] for row in found} == {True, False}


# ---- data quality


def test_late_is_received_more_than_24_hours_after(warehouse: Warehouse) -> None:
    day = timedelta(days=1)
    tick = timedelta(microseconds=1)
    late = [
        event("just", NOON - day, received_at=text(NOON)),
        event("late", NOON - day - tick, received_at=text(NOON)),
        event("early", NOON + 4 * timedelta(minutes=1), received_at=text(NOON)),
        event("skewed", NOON + day, received_at=text(NOON)),
    ]
    warehouse.land("platform_events", *late)
    warehouse.build()
    columns = "accepted_count, late_count, max_lateness_seconds"
    assert warehouse.quality(columns, "platform_events") == {date(2025, 2, 3): (4, 1, 86400.000001)}


def test_a_day_without_lines_is_a_row_of_zeros(warehouse: Warehouse) -> None:
    """2 February is covered by an empty file, the 3rd by none."""
    for day, records in ((1, [event("a", NOON - 2 * 24 * HOUR)]), (2, [])):
        warehouse.land("platform_events", *records, name=f"2025-02-0{day}")
    warehouse.land("auth_events", name="2025-02-04")
    warehouse.land("platform_events", event("b", NOON + 24 * HOUR), name="2025-02-04")
    warehouse.build()
    columns = "landed_count, max_lateness_seconds, is_complete"
    assert warehouse.quality(columns, "platform_events") == {
        date(2025, 2, 1): (1, 0.0, True),
        date(2025, 2, 2): (0, None, True),
        date(2025, 2, 3): (0, None, False),
        date(2025, 2, 4): (1, 0.0, True),
    }
    # asked from its first covered day on
    assert warehouse.quality(columns, "auth_events") == {date(2025, 2, 4): (0, None, True)}
    assert warehouse.quality(columns, "session_events") == {}


def test_a_rejected_line_counts_where_and_when_it_says(warehouse: Warehouse) -> None:
    def line(**fields: Any) -> str:
        return json.dumps(event("x", NOON, type="no_such_type") | fields)

    good = [
        json.dumps(event(name, NOON + timedelta(days=days))) for name, days in (("a", 0), ("b", 1))
    ]
    warehouse.land_text(
        "platform_events/a.jsonl",
        *good,
        line(),  # the day it occurred
        line(received_at="2025-01-31T23:30:00-01:00"),  # the day it was received, in UTC
        line(environment="sandbox"),
        line(environment="staging"),
        line(received_at="yesterday"),  # the last day of the file
        line(received_at="2099-01-01T00:00:00Z"),
        "not JSON",
        "[]",
    )
    warehouse.land_text("platform_events/b.jsonl", "not JSON either")
    # the same content once more: all of it are copies
    warehouse.land_text("platform_events/c.jsonl", "not JSON either")
    warehouse.build(ENVIRONMENTS)
    columns = "landed_count, rejected_count, rejected_of_unknown_environment_count, duplicate_count"
    assert warehouse.quality(columns, "platform_events") == {
        date(2025, 2, 1): (1, 1, 0, 0),  # before the first covered day
        date(2025, 2, 3): (3, 2, 1, 0),
        date(2025, 2, 4): (5, 4, 2, 0),
        None: (2, 1, 1, 1),
    }
    assert warehouse.quality(columns, "platform_events", "sandbox") == {
        date(2025, 2, 3): (1, 1, 0, 0)
    }
    add_up(warehouse)


def add_up(warehouse: Warehouse) -> None:
    """Days of both environments are the lines of the ledger; rows and conflicts those of raw."""
    marts = " union all ".join(
        f"select * from {name}_marts.{name}.fct_data_quality_daily" for name in ENVIRONMENTS
    )
    found = warehouse.rows(
        "select source_table, sum(landed_count), sum(rejected_count), sum(accepted_count),"
        f" sum(conflict_count) from ({marts}) group by all having sum(landed_count) > 0"
    )
    assert found
    for table, landed, rejected, accepted, conflicts in found:
        assert (landed, rejected) == warehouse.rows(
            f"select sum(lines), sum(rejected) from raw.landed_files where table_name = '{table}'"
        )[0]
        assert [(accepted,)] == warehouse.rows(f"select count(*) from raw.{table}")
        assert [(conflicts,)] == warehouse.rows(
            f"select count(*) from raw.id_conflicts where table_name = '{table}'"
        )
    tables = [row[0] for row in found]
    audited = account_for_every_line(warehouse.replay.connection, tables)
    assert all(finding.is_passed for finding in audited)


def test_what_becomes_of_a_line_is_told_as_it_stands(warehouse: Warehouse) -> None:
    """A copy received earlier takes the place of a row, and other content that of another."""

    def received(day: int, **fields: Any) -> Record:
        return event("a", NOON, received_at=f"2025-02-{day:02}T12:00:00Z", **fields)

    columns = "accepted_count, duplicate_count, conflict_count"
    warehouse.land("platform_events", received(9))
    warehouse.build(ENVIRONMENTS)
    steps: list[tuple[Record, dict[int, tuple[int, int, int]]]] = [
        # the same, received earlier
        (received(8), {8: (1, 0, 0), 9: (0, 1, 0)}),
        # other content, earlier still
        (received(7, user_id="bob"), {7: (1, 0, 0), 8: (0, 0, 1), 9: (0, 1, 0)}),
        # a copy of what lost, received first of all: it wins after all
        (received(6), {6: (1, 0, 0), 7: (0, 0, 1), 8: (0, 1, 0), 9: (0, 1, 0)}),
    ]
    for found, expected in steps:
        warehouse.land("platform_events", found)
        warehouse.build(ENVIRONMENTS)
        quality = warehouse.quality(columns, "platform_events")
        days = {day.day: row for day, row in quality.items() if any(row)}
        assert days == expected
        add_up(warehouse)


def test_closes_that_close_nothing_are_counted_when_received(warehouse: Warehouse) -> None:
    minute = timedelta(minutes=1)

    def session(key: str, at: datetime, kind: str, **fields: Any) -> Record:
        return event(key, at, type=f"session.{kind}", **fields)

    warehouse.land(
        "session_events",
        session("a", NOON, "started"),
        session("b", NOON + 30 * minute, "ended"),  # closes it
        session("c", NOON + 30 * minute, "ended"),  # nothing is open
        session("d", NOON + 31 * minute, "revoked", received_at="2025-02-05T00:00:00Z"),
        session("e", NOON, "ended", session_id="ses"),  # has an id
        session("f", NOON, "ended", user_id=None),  # of nobody
    )
    warehouse.build()
    columns = "unmatched_close_count"
    counted = {k: v for k, v in warehouse.quality(columns, "session_events").items() if v != (0,)}
    assert counted == {date(2025, 2, 3): (2,), date(2025, 2, 5): (1,)}
    # a late event reopens the session: the revoke closes it, as the second end does not
    warehouse.land("session_events", session("g", NOON + 30 * minute + minute / 2, "activity"))
    warehouse.build()
    counted = {k: v for k, v in warehouse.quality(columns, "session_events").items() if v != (0,)}
    assert counted == {date(2025, 2, 3): (2,)}


# ---- exports


def test_receipts_become_exports(warehouse: Warehouse) -> None:
    warehouse.build(ENVIRONMENTS)
    assert warehouse.rows(f"select count(*) from {MARTS}.fct_exports") == [(0,)]
    warehouse.rows(
        "insert into raw.share_receipts by name"
        " select 'r1' as receipt_id, 'production' as environment, 'committed' as status"
        " union all select 'r2', 'sandbox', 'refused'"
    )
    warehouse.build(ENVIRONMENTS)
    for environment, receipt in (("production", "r1"), ("sandbox", "r2")):
        found = f"select receipt_id from {environment}_marts.{environment}.fct_exports"
        assert warehouse.rows(found) == [(receipt,)]
