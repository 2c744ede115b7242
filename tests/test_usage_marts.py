"""Session metrics, journeys and requests: cases worked out by hand, and journeys against plain
Python.

Files land as JSON lines and are built as dbt builds them (histories.py). That every order of
arrival gives the same is told by test_any_history.py; here is what the figures have to be.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.histories import Build, Land, Record, Recording, Replay, differences, of_marts

TICK = timedelta(microseconds=1)


LOOKED_AT = (
    "fct_journeys",
    "fct_journeys_daily",
    "fct_requests_daily",
    "fct_requests_hourly",
    "fct_sessions",
    "fct_session_metrics",
    "fct_session_metrics_daily",
    "dim_plans",
)


@pytest.fixture(scope="module")
def recordings(recordings: dict[str, Recording]) -> dict[str, Recording]:
    """Production alone, and of it the marts that are looked at."""
    return of_marts({"production": recordings["production"]}, *LOOKED_AT)


@pytest.fixture
def lived(recordings: dict[str, Recording], tmp_path: Path) -> Iterator[Replay]:
    replay = Replay(recordings, tmp_path)
    yield replay
    replay.close()


def landed(lived: Replay, *records: Record) -> None:
    """Land events as one file a table, and build."""
    tables: dict[str, list[Record]] = {}
    for number, found in enumerate(records):
        table = "platform_events" if found["type"].startswith("a") else "session_events"
        table = found.get("table", table)
        kept = {key: value for key, value in found.items() if key != "table" and value is not None}
        tables.setdefault(table, []).append({"id": f"e_{lived.run}_{number:03}"} | kept)
    files = [Land(f"{table}/{lived.run}.jsonl", tuple(found)) for table, found in tables.items()]
    lived.land(*files)
    lived.build(Build())


def rows(lived: Replay, mart: str, *columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    """Columns of a mart as readers find it, ordered by them."""
    (node,) = [node for node in lived.recordings["production"].marts if node.name == mart]
    address = lived.address("production", node)
    return lived.connection.execute(
        f"select {', '.join(columns)} from {address} where {where} order by all"
    ).fetchall()


def event(kind: str, at: str, data: Record | None = None, **fields: Any) -> Record:
    found = {"type": kind, "occurred_at": at if "T" in at else f"{at}T10:00:00Z"}
    place = {"environment": "production", "workspace_id": "ws", "project_id": "prj"}
    return found | place | {"data": data or {}} | fields


def journey(kind: str, at: str, key: str = "jny", name: str | None = "onboarding", **more: Any):
    data = {"journey_id": key} | ({"journey_name": name} if name else {})
    return event(f"journey.{kind}", at, data, **more)


def last_day(day: str) -> Record:
    """Something that happens on the day and is no journey."""
    return event("app.published", f"{day}T12:00:00Z", id=f"last_{day}")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


# ---- journeys


def test_a_journey_across_midnight_and_across_sessions(lived: Replay) -> None:
    landed(
        lived,
        journey("begun", "2025-01-31T23:50:00Z", session_id="ses_1", user_id="ada", trace_id="t"),
        journey("step", "2025-01-31T23:59:59.999999Z", session_id="ses_1", user_id="ada"),
        journey("step", "2025-02-01T00:10:00Z", session_id="ses_2", user_id="ada"),
        journey("completed", "2025-02-01T00:20:00.5Z", session_id="ses_2", trace_id="u"),
        last_day("2025-02-28"),
    )
    [found] = rows(
        lived,
        "fct_journeys",
        *("journey_id", "user_id", "begun_at", "completed_at", "last_activity_at", "state"),
        *("duration_seconds", "step_count", "trace_id", "is_test", "activity_date", "session_key"),
    )
    assert found[:-1] == (
        *("jny", "ada", at("2025-01-31T23:50:00")),
        *(at("2025-02-01T00:20:00.5"), at("2025-02-01T00:20:00.5"), "completed", 1800.5, 2),
        *("t", False, date(2025, 1, 31)),
    )
    # the session of the begin
    assert [found[-1:]] == rows(lived, "fct_sessions", "session_key", where="session_id = 'ses_1'")
    assert rows(
        lived,
        "fct_journeys_daily",
        *("journey_name", "activity_date", "begun_count", "completed_count", "abandoned_count"),
        *("in_progress_count", "completion_rate", "median_duration_seconds"),
    ) == [("onboarding", date(2025, 1, 31), 1, 1, 0, 0, 1.0, 1800.5)]


def test_a_completion_before_the_begin_completes_nothing(lived: Replay) -> None:
    landed(
        lived,
        journey("completed", "2025-01-31T09:59:59.999999Z", "early"),
        journey("begun", "2025-01-31T10:00:00Z", "early"),
        journey("completed", "2025-01-31T09:00:00Z", "twice"),
        journey("begun", "2025-01-31T10:00:00Z", "twice"),
        journey("begun", "2025-01-31T10:30:00Z", "twice"),
        journey("completed", "2025-01-31T10:40:00Z", "twice"),
        journey("completed", "2025-01-31T10:50:00Z", "twice"),
        journey("begun", "2025-01-31T10:00:00Z", "at once"),
        journey("completed", "2025-01-31T10:00:00Z", "at once"),
        journey("step", "2025-01-31T10:00:00Z", "never begun"),
        journey("completed", "2025-01-31T11:00:00Z", "never begun"),
    )
    columns = ("journey_id", "state", "completed_at", "duration_seconds")
    assert rows(lived, "fct_journeys", *columns) == [
        ("at once", "completed", at("2025-01-31T10:00:00"), 0.0),
        ("early", "in_progress", None, None),
        ("twice", "completed", at("2025-01-31T10:40:00"), 2400.0),
    ]
    assert rows(lived, "fct_journeys_daily", "begun_count", "completion_rate") == [(3, 2 / 3)]


@pytest.mark.parametrize(
    ("active_at", "state"),
    [
        # 24 hours before the end of 10 February is its first microsecond
        ("2025-02-09T23:59:59.999999Z", "abandoned"),
        ("2025-02-10T00:00:00Z", "in_progress"),
        ("2025-02-10T00:00:00.000001Z", "in_progress"),
        ("2025-02-10T23:59:59.999999Z", "in_progress"),
    ],
)
def test_a_journey_is_abandoned_after_24_hours(lived: Replay, active_at: str, state: str) -> None:
    landed(
        lived,
        journey("begun", "2025-02-01"),
        journey("step", active_at),
        event("session.activity", "2025-02-10"),
        # neither a test nor another environment makes a last day
        event("session.activity", "2025-02-12", is_test=True),
        event("session.activity", "2025-02-13", environment="sandbox"),
    )
    assert rows(lived, "fct_journeys", "state") == [(state,)]
    counts = ("abandoned_count", "in_progress_count")
    assert rows(lived, "fct_journeys_daily", *counts) == [
        (int(state == "abandoned"), int(state == "in_progress"))
    ]


def test_states_turn_with_the_last_day_on_and_back_and_a_later_completion_wins(
    lived: Replay,
) -> None:
    landed(lived, journey("begun", "2025-02-01"), journey("begun", "2025-01-30", "older"))

    def states() -> list[tuple[Any, ...]]:
        found = rows(lived, "fct_journeys", "journey_id", "state")
        daily = rows(
            lived, "fct_journeys_daily", "activity_date", "abandoned_count", "in_progress_count"
        )
        counted = Counter(state for _, state in found)
        assert sum(row[1] for row in daily) == counted["abandoned"]
        assert sum(row[2] for row in daily) == counted["in_progress"]
        return found

    assert states() == [("jny", "in_progress"), ("older", "abandoned")]
    landed(lived, last_day("2025-02-02"))
    assert states() == [("jny", "abandoned"), ("older", "abandoned")]
    # received before the other copy: what happened on the 2nd happened on 31 January
    earlier = {"occurred_at": "2025-01-31T12:00:00Z", "received_at": "2025-01-31T12:00:00Z"}
    landed(lived, last_day("2025-02-02") | earlier)
    assert states() == [("jny", "in_progress"), ("older", "abandoned")]
    landed(lived, last_day("2025-03-01"))
    assert states() == [("jny", "abandoned"), ("older", "abandoned")]
    landed(lived, journey("completed", "2025-02-20", "older"))
    assert states() == [("jny", "abandoned"), ("older", "completed")]


def test_a_begin_gives_way_to_a_copy_that_was_received_earlier(lived: Replay) -> None:
    landed(
        lived,
        journey("begun", "2025-02-05", id="begin", received_at="2025-02-05T10:00:10Z"),
        journey("completed", "2025-02-07"),
        journey("begun", "2025-02-06"),
    )
    columns = ("journey_id", "begun_at", "activity_date", "duration_seconds")
    daily = ("activity_date", "begun_count")
    begun = [("jny", at("2025-02-05T10:00:00"), date(2025, 2, 5), 2 * 86400.0)]
    assert rows(lived, "fct_journeys", *columns) == begun
    # the copy is a begin of another journey on another day
    landed(
        lived,
        journey("begun", "2025-02-03", "other", id="begin", received_at="2025-02-05T10:00:05Z"),
    )
    assert rows(lived, "fct_journeys", *columns) == [
        ("jny", at("2025-02-06T10:00:00"), date(2025, 2, 6), 86400.0),
        ("other", at("2025-02-03T10:00:00"), date(2025, 2, 3), None),
    ]
    assert rows(lived, "fct_journeys_daily", *daily) == [
        (date(2025, 2, 3), 1),
        (date(2025, 2, 6), 1),
    ]
    # and another one is no journey event at all
    landed(
        lived,
        event("session.activity", "2025-02-04", id="begin", received_at="2025-02-05T10:00:00Z"),
    )
    assert rows(lived, "fct_journeys_daily", *daily) == [(date(2025, 2, 6), 1)]


def failed_at(lived: Replay, name: str) -> Build:
    """A build in which one model fails."""
    names = [node.name for node in lived.recordings["production"].nodes]
    return Build(until=("failed", names.index(name)))


def test_a_last_day_that_moved_in_a_failed_build_may_move_back(lived: Replay) -> None:
    landed(lived, journey("begun", "2025-02-01"))
    lived.land(Land("platform_events/on.jsonl", (last_day("2025-02-02"),)))
    # the journey's models are built, the build is not complete
    lived.build(failed_at(lived, "fct_requests_daily"))
    earlier = {"occurred_at": "2025-01-31T12:00:00Z", "received_at": "2025-01-31T12:00:00Z"}
    landed(lived, last_day("2025-02-02") | earlier)
    counts = ("abandoned_count", "in_progress_count")
    assert rows(lived, "fct_journeys_daily", *counts) == [(0, 1)]
    assert differences(lived) == {}


def test_a_journey_that_a_failed_build_has_written_is_counted_by_the_next(lived: Replay) -> None:
    begin = {"id": "begin", "received_at": "2025-02-05T10:00:10Z"}
    landed(
        lived,
        journey("begun", "2025-02-03", **begin),
        journey("begun", "2025-02-05"),
        last_day("2025-02-28"),
    )
    moved = event("session.activity", "2025-02-20", **begin) | {
        "received_at": "2025-02-05T10:00:00Z"
    }
    lived.land(Land("session_events/moved.jsonl", (moved,)))
    lived.build(failed_at(lived, "fct_journeys_daily"))
    lived.build(Build())
    assert rows(lived, "fct_journeys_daily", "activity_date", "begun_count") == [
        (date(2025, 2, 5), 1)
    ]
    assert differences(lived) == {}


def test_two_projects_may_use_the_same_journey_id(lived: Replay) -> None:
    landed(
        lived,
        journey("begun", "2025-02-01", user_id="ada"),
        journey("completed", "2025-02-02", project_id="prj_2"),
        journey("begun", "2025-02-03", workspace_id="ws_2", user_id="bob"),
        journey("completed", "2025-02-03T10:00:01Z", workspace_id="ws_2"),
    )
    columns = ("workspace_id", "project_id", "user_id", "state")
    assert rows(lived, "fct_journeys", *columns) == [
        ("ws", "prj", "ada", "abandoned"),
        ("ws_2", "prj", "bob", "completed"),
    ]
    assert len(set(rows(lived, "fct_journeys", "journey_key"))) == 2


def test_a_journey_is_described_by_its_begin_and_then_by_its_earliest_event(lived: Replay) -> None:
    landed(
        lived,
        journey("step", "2025-02-01T09:00:00Z", name="step", user_id="cyd", trace_id="t_step"),
        journey("begun", "2025-02-01T10:00:00Z", name="begin", user_id=None, session_id=None),
        journey("step", "2025-02-01T11:00:00Z", name="x", session_id="ses", is_test=True),
        {
            "table": "users",
            "type": "",
            "id": "cyd",
            "kind": "service",
            "merged_into": "dot",
            "created_at": "2025-01-01T00:00:00Z",
            "updated_at": "2025-01-01T00:00:00Z",
        },
    )
    [found] = rows(
        lived,
        "fct_journeys",
        *("journey_name", "user_id", "trace_id", "step_count", "is_test", "session_key is null"),
    )
    assert found == ("begin", "dot", "t_step", 2, True, False)
    # a test is listed, and counted nowhere
    assert rows(lived, "fct_journeys_daily", "*") == []


KINDS = ("begun", "begun", "step", "completed")
MOMENTS = [
    at("2025-02-08T00:00:00+00:00") + days * timedelta(days=1) + nudge
    for days in (0, 1, 2, 3)
    for nudge in (timedelta(0), TICK, -TICK, timedelta(hours=7))
]
journey_events = st.builds(
    lambda kind, moment, key, project, user, session, trace, name, test: journey(
        kind,
        moment.isoformat(),
        key,
        name,
        project_id=project,
        user_id=user,
        session_id=session,
        trace_id=trace,
        is_test=test,
    ),
    st.sampled_from(KINDS),
    st.sampled_from(MOMENTS),
    st.sampled_from(("a", "b")),
    st.sampled_from(("prj", "prj", "prj_2")),
    st.sampled_from((None, "ada", "bob")),
    st.sampled_from((None, "ses_1", "ses_2")),
    st.sampled_from((None, "t_1", "t_2")),
    st.sampled_from((None, "one", "two")),
    st.sampled_from((None, None, None, True)),
)


def journeys_of(records: Sequence[Record], last_date: date | None) -> list[tuple[Any, ...]]:
    """The definition of a journey, word for word."""
    found = []
    groups: dict[tuple[str, str], list[Record]] = {}
    for each in records:
        groups.setdefault((each["project_id"], each["data"]["journey_id"]), []).append(each)
    for (project, key), events in groups.items():
        ordered = sorted(events, key=lambda each: (at(each["occurred_at"]), each["id"]))
        begins = [each for each in ordered if each["type"] == "journey.begun"]
        if not begins:
            continue
        told = [begins[0], *ordered]
        begun = at(begins[0]["occurred_at"])
        times = [at(each["occurred_at"]) for each in ordered]
        completions = [
            when
            for each, when in zip(ordered, times, strict=True)
            if each["type"] == "journey.completed" and when >= begun
        ]
        if completions:
            state = "completed"
        elif last_date is None:
            state = "in_progress"
        else:
            end = datetime.combine(last_date, datetime.min.time(), UTC) + timedelta(days=1)
            state = "abandoned" if end - max(times) > timedelta(hours=24) else "in_progress"
        found.append(
            (
                project,
                key,
                next((n for each in told if (n := each["data"].get("journey_name"))), None),
                next((user for each in told if (user := each.get("user_id"))), None),
                next((trace for each in told if (trace := each.get("trace_id"))), None),
                next((session for each in told if (session := each.get("session_id"))), None),
                begun.replace(tzinfo=None),
                completions[0].replace(tzinfo=None) if completions else None,
                max(times).replace(tzinfo=None),
                state,
                sum(each["type"] == "journey.step" for each in events),
                any(each.get("is_test") for each in events),
            )
        )
    return sorted(found, key=repr)


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
@given(st.lists(journey_events, min_size=1, max_size=12), st.data())
def test_journeys_follow_the_definition(
    recordings: dict[str, Recording], drawn: list[Record], data: st.DataObject
) -> None:
    records = [each | {"id": f"e_{number:02}"} for number, each in enumerate(drawn)]
    split = data.draw(st.integers(0, len(records)))
    real = [at(each["occurred_at"]).date() for each in records if not each.get("is_test")]
    with tempfile.TemporaryDirectory() as folder:
        lived = Replay(recordings, Path(folder))
        for part in (records[:split], records[split:]):
            landed(lived, *part)
        found = rows(
            lived,
            "fct_journeys",
            *("project_id", "journey_id", "journey_name", "user_id", "trace_id", "session_key"),
            *("begun_at", "completed_at", "last_activity_at", "state", "step_count", "is_test"),
        )
        sessions = dict(rows(lived, "fct_sessions", "session_key", "session_id"))
        daily = rows(lived, "fct_journeys_daily", "begun_count", "completed_count")
        lived.close()
    named = [(*row[:5], sessions[row[5]] if row[5] else None, *row[6:]) for row in found]
    expected = journeys_of(records, max(real, default=None))
    assert sorted(named, key=repr) == expected
    counted = [row for row in expected if not row[-1]]
    assert sum(row[0] for row in daily) == len(counted)
    assert sum(row[1] for row in daily) == sum(row[9] == "completed" for row in counted)


# ---- session metrics


def metric(value: Any, when: str = "2025-02-01", name: str = "load", **more: Any) -> Record:
    return event("metric.logged", when, {"name": name, "value": value}, **more)


def test_a_metric_is_a_number_or_a_text_and_text_is_never_parsed(lived: Replay) -> None:
    landed(
        lived,
        metric(5, session_id="ses", user_id="ada", trace_id="t"),
        metric("5"),
        metric("high", is_test=True),
        event("metric.logged", "2025-02-01", {"name": "load", "value": 0.25, "unit": "ms"}),
    )
    columns = ("numeric_value", "text_value", "unit", "user_id", "trace_id", "is_test")
    assert rows(lived, "fct_session_metrics", *columns) == [
        (0.25, None, "ms", None, None, False),
        (5.0, None, None, "ada", "t", False),
        (None, "5", None, None, None, False),
        (None, "high", None, None, None, True),
    ]
    sessions = rows(lived, "fct_sessions", "session_key", where="session_id = 'ses'")
    known = "session_key is not null"
    assert rows(lived, "fct_session_metrics", "session_key", where=known) == sessions
    columns = ("sample_count", "numeric_count", "text_count", "mean_value", "p50_value")
    assert rows(lived, "fct_session_metrics_daily", *columns) == [(3, 2, 1, 2.625, 2.625)]


def test_statistics_of_a_metric_are_of_its_real_numbers(lived: Replay) -> None:
    landed(
        lived,
        # 10, 20, 30, 40, 110: the median is the third; 0.95 lies 0.8 of the way from 4th to 5th
        *(metric(value) for value in (40, 110, 10, 30, 20)),
        metric(9999, is_test=True),
        metric(1000, impersonator_id="eve", name="acted"),
        metric("high", name="text only"),
        metric(1, "2025-02-01T23:59:59.999999Z", name="edge"),
        metric(2, "2025-02-02T00:00:00Z", name="edge"),
    )
    columns = ("metric_name", "activity_date", "sample_count", "mean_value", "p50_value")
    first, second = date(2025, 2, 1), date(2025, 2, 2)
    assert rows(lived, "fct_session_metrics_daily", *columns, "p95_value") == [
        ("acted", first, 1, 1000.0, 1000.0, 1000.0),
        ("edge", first, 1, 1.0, 1.0, 1.0),
        ("edge", second, 1, 2.0, 2.0, 2.0),
        ("load", first, 5, 42.0, 30.0, pytest.approx(96.0, rel=1e-15)),
        ("text only", first, 1, None, None, None),
    ]


# ---- requests


def request(
    status: int | None = 200,
    latency: float | None = None,
    when: str = "2025-02-01T10:15:00Z",
    flagged: bool | None = None,
    **more: Any,
) -> Record:
    data = {"status_code": status, "latency_ms": latency, "safety_flagged": flagged}
    kept = {key: value for key, value in data.items() if value is not None}
    return event("api.request", when, kept, **more)


COUNTS = ("request_count", "error_count", "client_error_count", "server_error_count")


def test_requests_are_counted_by_key_and_over_all_keys(lived: Replay) -> None:
    landed(
        lived,
        request(200, api_key_id="key_1"),
        request(399, api_key_id="key_1", user_id="ada", impersonator_id="eve"),
        request(400, api_key_id="key_2", user_id="robot"),
        request(499),
        request(500, flagged=True),
        request(None, flagged=False),
        request(500, api_key_id="key_1", is_test=True),
        event("app.error", "2025-02-01", {"status_code": 500}),
        {
            "table": "users",
            "type": "",
            "id": "robot",
            "kind": "service",
            "created_at": "2025-01-01T00:00:00Z",
            "updated_at": "2025-01-01T00:00:00Z",
        },
    )
    columns = ("is_all_keys", "api_key_id", *COUNTS, "safety_flagged_count", "safety_flagged_rate")
    expected = [
        (False, "key_1", 2, 0, 0, 0, 0, 0.0),
        (False, "key_2", 1, 1, 1, 0, 0, 0.0),
        (False, None, 3, 2, 1, 1, 1, 1 / 3),
        (True, None, 6, 3, 2, 1, 1, 1 / 6),
    ]
    assert rows(lived, "fct_requests_daily", *columns) == expected
    assert rows(lived, "fct_requests_hourly", *columns) == expected


def test_a_project_whose_requests_have_no_key_has_both_rows(lived: Replay) -> None:
    landed(lived, request(latency=2))
    columns = ("is_all_keys", "api_key_id", "request_count", "latency_avg_ms")
    expected = [(False, None, 1, 2.0), (True, None, 1, 2.0)]
    assert rows(lived, "fct_requests_daily", *columns) == expected


def test_latencies_are_of_the_requests_that_tell_one(lived: Replay) -> None:
    # 1 … 100: the median lies between 50 and 51; 0.95 and 0.99 are that part of the way to 100
    landed(
        lived,
        *(
            request(latency=value, api_key_id="key", when=f"2025-02-01T{value % 24:02}:00:00Z")
            for value in range(1, 101)
        ),
        *(request(api_key_id="key") for _ in range(50)),
        request(latency=5000, api_key_id="key", is_test=True),
        request(when="2025-02-02T00:00:00Z", api_key_id="key"),
    )
    columns = ("activity_date", "request_count", "latency_avg_ms", "latency_p50_ms")
    percentiles = ("latency_p95_ms", "latency_p99_ms")
    all_keys = "is_all_keys"
    found = rows(lived, "fct_requests_daily", *columns, *percentiles, where=all_keys)
    about = [pytest.approx(value, rel=1e-15) for value in (50.5, 50.5, 95.05, 99.01)]
    assert found == [
        (date(2025, 2, 1), 150, *about),
        (date(2025, 2, 2), 1, None, None, None, None),
    ]
    # the hour from 1: 1, 25, 49, 73, 97
    hour = f"{all_keys} and activity_hour_at = '2025-02-01 01:00:00'"
    columns = ("request_count", "latency_avg_ms", "latency_p50_ms", *percentiles)
    about = [pytest.approx(value, rel=1e-15) for value in (49, 49, 92.2, 96.04)]
    assert rows(lived, "fct_requests_hourly", *columns, where=hour) == [(5, *about)]


def test_a_mean_has_the_same_digits_in_any_order(lived: Replay) -> None:
    small = [0.1, 0.7, 1e6, 3.3, 12.9, 0.3, 6.6, 123456.789, 1e-7, 1.1, 0.2]
    large = [*small, 1e16, 1e300, 2e16]
    for name, values in (("small", small), ("large", large)):
        orders = [values, values[::-1], sorted(values), values[5:] + values[:5]]
        landed(
            lived,
            *(
                made(value, project_id=f"{name}_{number}")
                for number, order in enumerate(orders)
                for value in order
                for made in (lambda value, **more: request(latency=value, **more), metric)
            ),
        )
        for mart, mean, precision in (
            ("fct_requests_daily", "latency_avg_ms", 1e-13),
            ("fct_requests_hourly", "latency_avg_ms", 1e-13),
            ("fct_session_metrics_daily", "mean_value", 1e-15),
        ):
            [(found,)] = set(rows(lived, mart, mean, where=f"project_id like '{name}%'"))
            assert found == pytest.approx(math.fsum(values) / len(values), rel=precision), mart


# ---- plans


def test_plans_are_those_of_the_seed(lived: Replay) -> None:
    landed(lived)
    columns = ("plan_id", "mau_limit", "retention_days", "may_export", "may_push", "environment")
    assert rows(lived, "dim_plans", *columns) == [
        ("enterprise", None, 730, True, True, "production"),
        ("free", 1000, 7, False, False, "production"),
        ("growth", 10000, 90, True, False, "production"),
    ]
