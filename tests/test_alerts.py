"""Who has to know is told, once, and an alert that can't be sent harms nothing."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_project import alerts, reporting, run
from dagster_project.alerts import STALE_AFTER, Alert
from dagster_project.defs.alerts import failed_runs, stale_tables
from dagster_project.warehouse import ConfigurationError, Warehouse
from tests.published import build, inputs_at, open_home, publish

TOKEN = "T0K3N"
NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


class Hook(HTTPServer):
    """A server that keeps what it is sent and answers as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.received: list[dict[str, Any]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/{TOKEN}"


class _Answer(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(content))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def at(tmp_path: Path, hook: Hook) -> Warehouse:
    return replace(open_home(tmp_path), alert_url=hook.url)


ALERT = Alert("run_failed", "`run` failed", ["land_extracts: no space left"])


def test_an_alert_is_posted_and_logged(
    at: Warehouse, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    assert alerts.send(at, ALERT)
    [sent] = hook.received
    assert sent["kind"] == "run_failed"
    assert sent["details"] == ["land_extracts: no space left"]
    assert sent["text"] == "Rollcall: `run` failed\nland_extracts: no space left"
    assert "no space left" in caplog.text


def test_without_a_url_an_alert_is_a_line_in_the_log(
    at: Warehouse, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    assert alerts.send(replace(at, alert_url=""), ALERT)
    assert hook.received == []
    assert "no space left" in caplog.text


@pytest.mark.parametrize("way", ["refused", "answers 500", "no address"])
def test_a_hook_that_fails_is_logged_without_its_address(
    at: Warehouse, hook: Hook, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    caplog.set_level(logging.DEBUG)
    url = hook.url
    if way == "refused":
        url = f"http://127.0.0.1:1/{TOKEN}"
    elif way == "answers 500":
        hook.status = 500
    else:
        url = f"http://[half/{TOKEN}"
    assert not alerts.send(replace(at, alert_url=url), ALERT)
    assert "ROLLCALL_ALERT_URL" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("url", ["hooks.example", "ftp://hooks.example/x", "http://"])
def test_a_setting_that_is_no_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Warehouse.from_environment({"ROLLCALL_ALERT_URL": url})
    assert "ROLLCALL_ALERT_URL" in str(raised.value)
    assert url not in str(raised.value).replace("http:// or", "")


def test_a_failed_check_is_told_as_one_and_long_lists_are_cut() -> None:
    alert = alerts.of_run("run", {"build_production": "dbt"}, [f"check_{n:02d}" for n in range(30)])
    assert alert.kind == "check_failed"
    assert "30 failed" in alert.title
    assert alert.text.splitlines()[-1] == "and 11 more"
    assert alerts.of_run("run", {"land_extracts": "x"}, []).kind == "run_failed"


# ---- make run


def outcome(is_success: bool) -> reporting.Outcome:
    return reporting.Outcome(
        is_success=is_success,
        seconds=1.0,
        landing=None,
        environments=[],
        shares=[],
        checks_passed=1,
        checks_warned=[],
        checks_failed=[] if is_success else ["raw.auth_events: every_line_is_accounted_for"],
        failed_steps={} if is_success else {"reconcile_ledger": "a check failed"},
        home="",
        landing_folder="",
        log="",
    )


def test_a_failed_run_in_the_foreground_tells_once(at: Warehouse, hook: Hook) -> None:
    run.tell_who_has_to_know(at, outcome(is_success=True))
    assert hook.received == []
    run.tell_who_has_to_know(at, outcome(is_success=False))
    assert [sent["kind"] for sent in hook.received] == ["check_failed"]
    assert "every_line_is_accounted_for" in hook.received[0]["text"]


def test_an_error_that_nobody_foresaw_is_told_by_its_name(
    at: Warehouse, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> int:
        raise RuntimeError("secret=hunter2")

    monkeypatch.setattr(run, "run", broken)
    assert run.run_reporting_failures(at, lambda line: None, at.home / "run.log") == 1
    [sent] = hook.received
    assert "RuntimeError" in sent["text"] and "hunter2" not in sent["text"]


# ---- Dagster's daemon


def test_the_sensor_tells_of_a_failed_run_and_its_checks(
    at: Warehouse, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.asset
    def numbers() -> None: ...

    @dg.asset_check(asset=numbers, blocking=True)
    def numbers_are_even() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    @dg.asset(deps=[numbers])
    def doubled() -> None: ...

    at.landing.mkdir()
    for name, value in at.variables().items():
        monkeypatch.setenv(name, value)
    definitions = dg.Definitions(
        assets=[numbers, doubled],
        asset_checks=[numbers_are_even],
        jobs=[dg.define_asset_job("run")],
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("run").execute_in_process(
            instance=instance, raise_on_error=False
        )
        assert not result.success
        event = result.get_run_failure_event()
        context = dg.build_run_status_sensor_context(
            sensor_name="failed_runs",
            dagster_event=event,
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        ).for_run_failure()
        failed_runs(context)
    [sent] = hook.received
    assert sent["kind"] == "check_failed"
    assert "numbers: numbers_are_even" in sent["text"]


def test_the_sensors_are_on_by_themselves() -> None:
    for sensor in (failed_runs, stale_tables):
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


# ---- what is stale


def published_at(at: Warehouse, moment: datetime) -> None:
    number = moment.day
    build(at, number, {"e": date(2025, 2, 1)}, [date(2025, 2, 1)])
    publish(at, inputs_at(number), now=moment.replace(tzinfo=None))


def test_what_is_stale_is_told_once_and_again_when_it_happens_again(
    at: Warehouse, hook: Hook
) -> None:
    published_at(at, NOW - STALE_AFTER)
    assert alerts.tell_of_stale(at, NOW) == []
    later = NOW + timedelta(minutes=1)
    [told] = alerts.tell_of_stale(at, later)
    assert told.name == "published/production"
    assert alerts.tell_of_stale(at, later + timedelta(days=9)) == []
    assert len(hook.received) == 1
    published_at(at, NOW + timedelta(days=10))
    assert alerts.tell_of_stale(at, NOW + timedelta(days=10)) == []
    assert len(alerts.tell_of_stale(at, NOW + timedelta(days=13))) == 1
    assert [sent["kind"] for sent in hook.received] == ["stale", "stale"]


def test_what_could_not_be_told_is_told_later(at: Warehouse, hook: Hook) -> None:
    published_at(at, NOW - timedelta(days=9))
    hook.status = 503
    alerts.tell_of_stale(at, NOW)
    hook.status = 200
    assert len(alerts.tell_of_stale(at, NOW)) == 1
    assert alerts.tell_of_stale(at, NOW) == []


def test_a_table_that_used_to_come_daily_is_missed_and_a_rare_one_is_not(at: Warehouse) -> None:
    published_at(at, NOW)
    with at.connect() as connection:
        batch = 0
        for table, days in (
            ("auth_events", range(3, 12)),
            ("loyalty_events", (3, 9)),
            ("platform_events", range(9)),
            ("users", range(3, 12)),
        ):
            for day in days:
                batch += 1
                connection.execute(
                    "insert into raw.landed_files by name select ? as path, ? as table_name,"
                    " 'landed' as status, 5 as lines, ? as landed_at, ? as _batch",
                    [
                        f"{table}/{day}",
                        table,
                        NOW.replace(tzinfo=None) - timedelta(days=day),
                        batch,
                    ],
                )
    assert [one.name for one in alerts.stale(at, NOW)] == ["raw.auth_events"]
