"""The demo extracts are deterministic, of the asked size, as imperfect as meant, and the answer
key agrees with a plain-Python reading of the same files.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from backports import zstd

import simulator
from simulator.__main__ import main
from simulator.randomness import MACROS, mix
from simulator.world import Parameters, day_budgets

ROOT = Path(__file__).parent.parent
EVENTS, DAYS, UNTIL, SEED = 20_000, 35, date(2026, 3, 15), 7
EVENT_TABLES = (
    "auth_events",
    "session_events",
    "platform_events",
    "membership_events",
    "webhook_deliveries",
    "campaign_events",
    "loyalty_events",
    "notification_events",
)
# written down on DuckDB 2.0.0: another version must give the same
PINNED_MIX = [0, 3747309705, 3199652115, 4062810414, 4266380363, 2851301224]
# the first half of a SHA-256
PINNED_FILES = {
    "auth_events/2026-03-01.jsonl": "8bc1787ec4200777173527cab91071c1",
    "session_events/2026-03-01.jsonl": "bf5dfe5cd5f85d594f3be71f60f9ee94",
    "platform_events/2026-03-01.jsonl": "484edc49f0069e65d0559f6779800013",
    "loyalty_events/2026-02.jsonl": "4aabe8da50c1b715c864c532b1cbcfc7",
    "audit_events/2026-02.jsonl": "7510cf8e65d3b5cb02531e292c7eabf3",
    "membership_events/2026-02.csv": "c6aa0477b8f160f0441616e51274b9aa",
    "users/2026-02.jsonl": "c5983cb2edfeaccab40c46bb5dc7c4d6",
}
HALF_HOUR = timedelta(minutes=30)


def run(out: Path, **changes: Any) -> simulator.GenerationReport:
    arguments: dict[str, Any] = {"events": EVENTS, "days": DAYS, "until": UNTIL, "seed": SEED}
    return simulator.generate(out, **(arguments | changes))


@pytest.fixture(scope="module")
def extracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("extracts")
    run(out)
    return out


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def answer(extracts: Path, name: str, query: str = "from answer") -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        path = extracts / "_answer_key" / f"{name}.parquet"
        connection.execute(f"create view answer as from '{path}'")
        return connection.execute(query).fetchall()


# ---- reading the extracts, without any of the product's or the simulator's code


def records(path: Path) -> Iterator[dict[str, Any] | None]:
    """Yield each record of a file; None for a line that is no JSON."""
    if path.suffix == ".parquet":
        with duckdb.connect() as connection:
            cursor = connection.execute(f"from '{path}'")
            names = [column[0] for column in cursor.description or ()]
            for row in cursor.fetchall():
                record = dict(zip(names, row, strict=True))
                yield record | {"data": json.loads(record["data"])}
        return
    if path.suffix == ".csv":
        with path.open(newline="") as lines:
            for cells in csv.DictReader(lines):
                record = {name: cell or None for name, cell in cells.items()}
                record["is_test"] = record["is_test"] == "true"
                yield record | {"data": json.loads(record["data"] or "{}")}
        return
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    if path.suffix == ".zst":
        content = zstd.decompress(content)
    for line in content.decode().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            yield None


def files(extracts: Path, table: str) -> list[Path]:
    return [
        path
        for path in sorted((extracts / table).rglob("*"))
        if path.is_file() and path.suffix != ".tmp" and not path.name.startswith("copy-of-")
    ]


def catalogue() -> dict[str, list[str]]:
    types = defaultdict(list)
    with (ROOT / "seeds" / "event_catalog.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            types[row["table_name"]].append(row["type"])
    return types


def is_known(event_type: str, known: list[str]) -> bool:
    return any(
        event_type == name or (name.endswith("*") and event_type.startswith(name[:-1]))
        for name in known
    )


def fault(record: dict[str, Any] | None, known: list[str]) -> str | None:
    """Return the reason code of a broken record, by the landing contract; None for a good one."""
    if record is None:
        return "invalid_json"
    required = ("id", "type", "occurred_at", "environment", "workspace_id", "project_id")
    times = [
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d+:\d\d)?", record[name])
        for name in ("occurred_at", "received_at")
    ]
    offsets = [match[2] if match else "+999:00" for match in times]
    faults = {
        "missing_field": any(not record.get(name) for name in required),
        "unknown_type": not is_known(record["type"], known),
        "unknown_environment": record["environment"] not in ("production", "sandbox"),
        "time_without_offset": None in offsets,
        "invalid_time": any(len(offset or "") > len("+02:00") for offset in offsets),
    }
    return next((reason for reason, is_so in faults.items() if is_so), None)


def instant(text: str) -> datetime:
    whole, _, rest = text.partition(".")
    digits = re.match(r"\d*", rest)[0] if rest else ""  # type: ignore[index]
    suffix = rest[len(digits) :] if rest else ""
    normal = f"{whole}.{digits:0<6}{suffix}" if rest else text
    return datetime.fromisoformat(normal).astimezone(UTC).replace(tzinfo=None)


@pytest.fixture(scope="module")
def accepted(extracts: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what a right landing keeps: good records, of each id the one received first."""
    kept: dict[str, list[dict[str, Any]]] = {}
    types = catalogue()
    for table in EVENT_TABLES:
        first: dict[tuple[str, str, str], dict[str, Any]] = {}
        for path in files(extracts, table):
            for record in records(path):
                if record is None or fault(record, types[table]):
                    continue
                received = instant(record["received_at"])
                happened = instant(record["occurred_at"])
                if happened > received + timedelta(minutes=5):
                    happened = received
                record |= {"received": received, "at": happened}
                key = (record["workspace_id"], record["environment"], record["id"])
                if key not in first or received < first[key]["received"]:
                    first[key] = record
        kept[table] = list(first.values())
    return kept


@pytest.fixture(scope="module")
def survivors(extracts: Path) -> dict[str, tuple[str, str]]:
    """Return (surviving id, its kind) of each user with a row."""
    newest: dict[str, dict[str, Any]] = {}
    for path in files(extracts, "users"):
        for row in records(path):
            assert row is not None
            if row["id"] not in newest or row["updated_at"] > newest[row["id"]]["updated_at"]:
                newest[row["id"]] = row

    def last(user_id: str) -> str:
        row = newest.get(user_id)
        return last(row["merged_into"]) if row and row["merged_into"] else user_id

    return {
        user_id: (
            last(user_id),
            newest[last(user_id)]["kind"] if last(user_id) in newest else "human",
        )
        for user_id in newest
    }


# ---- determinism


def test_mixer_is_the_same_in_python_and_in_sql_and_is_pinned() -> None:
    with duckdb.connect() as connection:
        connection.execute(MACROS)
        numbers = [0, 1, 2, 12345, 2**31, 2**32 - 1]
        mixed = [
            connection.execute(f"select mix({number}::ubigint)").fetchall()[0][0]
            for number in numbers
        ]
    assert mixed == [mix(number) for number in numbers]
    assert mixed == PINNED_MIX


def test_draws_are_even_and_unrelated() -> None:
    with duckdb.connect() as connection:
        connection.execute(MACROS)
        low, high, related = connection.execute(
            """
            with drawn as (
                select share(mix(i::ubigint), 1) as one, share(mix(i::ubigint), 2) as other
                from range(200000) as numbers(i)
            )
            select
                (select min(n) from (select count(*) as n from drawn group by floor(one * 100))),
                (select max(n) from (select count(*) as n from drawn group by floor(one * 100))),
                abs(corr(one, other))
            from drawn
            """
        ).fetchall()[0]
    # 2,000 a bin: five standard deviations are 223
    assert low > 1777
    assert high < 2223
    assert related < 0.01


def test_same_arguments_give_the_same_bytes(extracts: Path, tmp_path: Path) -> None:
    run(tmp_path / "again")
    assert digests(tmp_path / "again") == digests(extracts)


def test_bytes_are_pinned(extracts: Path) -> None:
    found = digests(extracts)
    for path, digest in PINNED_FILES.items():
        assert found[path].startswith(digest), path


def test_another_seed_gives_other_bytes(extracts: Path, tmp_path: Path) -> None:
    run(tmp_path / "other", seed=SEED + 1, only=UNTIL)
    name = f"auth_events/{UNTIL}.jsonl"
    assert digests(tmp_path / "other")[name] != digests(extracts)[name]


@pytest.mark.parametrize("day", [date(2026, 2, 9), date(2026, 2, 26), date(2026, 3, 15)])
def test_a_day_alone_has_the_bytes_it_has_in_a_range(
    extracts: Path, tmp_path: Path, day: date
) -> None:
    run(tmp_path / "alone", only=day)
    alone, whole = digests(tmp_path / "alone"), digests(extracts)
    assert {"auth_events", "session_events", "users"} <= {name.split("/")[0] for name in alone}
    assert alone == {name: whole[name] for name in alone}


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_formats_hold_the_same_events(extracts: Path, tmp_path: Path, file_format: str) -> None:
    run(tmp_path / "out", only=UNTIL, file_format=file_format, with_answer_key=False)

    def ids(folder: Path) -> set[str]:
        return {
            record["id"]
            for path in (folder / "auth_events").glob(f"{UNTIL}.*")
            if path.suffix != ".tmp"
            for record in records(path)
            if record and record.get("id") and not record["id"].startswith("bad_")
        }

    assert ids(tmp_path / "out") == ids(extracts)
    assert ids(extracts)


# ---- size and usage


def test_budgets_add_up_and_weekends_are_quiet() -> None:
    parameters = Parameters(EVENTS, DAYS, UNTIL, SEED)
    budgets = day_budgets(parameters)
    assert sum(budgets) == EVENTS
    saturday = [n for n in range(DAYS) if (parameters.first + timedelta(days=n)).weekday() == 5]
    assert all(budgets[n] < 0.7 * budgets[n - 1] for n in saturday)


@pytest.mark.parametrize(("events", "days"), [(20_000, 35), (50_000, 42), (60_000, 5)])
def test_size_is_honoured(tmp_path: Path, events: int, days: int) -> None:
    report = run(tmp_path / "out", events=events, days=days, with_answer_key=False)
    assert abs(report.events - events) < 0.05 * events
    assert report.files <= 250


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--out", "{new}", "--events", "0"],
        ["--out", "{new}", "--events", "many"],
        ["--out", "{new}", "--days", "0"],
        ["--out", "{new}", "--until", "2026-02-30"],
        ["--out", "{new}", "--format", "xml"],
        ["--out", "{new}", "--only", "2020-01-01"],
        ["--out", "{full}"],
        ["--out", "{file}"],
    ],
)
def test_usage_errors_exit_with_2_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "something").touch()
    places = {"new": tmp_path / "new", "full": full, "file": full / "something"}
    filled = [argument.format(**places) for argument in arguments]
    try:
        code = main(filled)
    except SystemExit as exit_request:
        code = int(exit_request.code or 0)
    assert code == 2
    assert capsys.readouterr().err
    assert not places["new"].exists()
    assert list(full.iterdir()) == [full / "something"]


def test_command_line_writes_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["--out", str(out), "--events", "2000", "--days", "3"]) == 0
    printed = capsys.readouterr().out
    assert "answer key written" in printed and "events in" in printed
    assert (out / "auth_events" / "2026-09-30.jsonl").is_file()


# ---- what is in the extracts


def test_every_event_type_occurs_in_production(accepted: dict[str, list[dict[str, Any]]]) -> None:
    types = catalogue()
    for table in EVENT_TABLES:
        seen = {row["type"] for row in accepted[table] if row["environment"] == "production"}
        for name in types[table]:
            assert any(is_known(event_type, [name]) for event_type in seen), (table, name)


def test_broken_lines_are_those_that_were_meant(extracts: Path) -> None:
    types = catalogue()
    found = Counter(
        (table, reason)
        for table in EVENT_TABLES
        for path in files(extracts, table)
        for record in records(path)
        if (reason := fault(record, types[table]))
    )
    assert dict(found) == {(t, r): n for t, r, n in answer(extracts, "rejections")}
    assert {reason for _, reason in found} == {
        "invalid_json",
        "missing_field",
        "unknown_type",
        "unknown_environment",
        "invalid_time",
        "time_without_offset",
    }
    lines = sum(row[1] for row in answer(extracts, "landing"))
    assert 0.002 < found.total() / lines < 0.01


def test_landing_counts_add_up_and_match_the_files(
    extracts: Path, accepted: dict[str, list[dict[str, Any]]]
) -> None:
    counts = {row[0]: row[1:] for row in answer(extracts, "landing")}
    for lines, kept, duplicates, conflicts, rejected in counts.values():
        assert lines == kept + duplicates + conflicts + rejected
    for table in EVENT_TABLES:
        assert counts[table][1] == len(accepted[table])
        copies = list((extracts / table).rglob("copy-of-*"))
        lines = sum(1 for path in [*files(extracts, table), *copies] for _ in records(path))
        assert counts[table][0] == lines
    assert sum(row[3] for row in counts.values()) > 10
    assert sum(row[2] for row in counts.values()) > 100


def test_oddities_are_there(extracts: Path) -> None:
    names = {path.name for path in extracts.rglob("*") if path.is_file()}
    assert any(name.endswith(".tmp") for name in names)
    for suffix in (".csv", ".parquet", ".gz", ".zst"):
        assert any(name.endswith(suffix) for name in names)
    assert (extracts / "webhook_deliveries" / f"{UNTIL}.jsonl").stat().st_size == 0
    copies = list((extracts / "auth_events" / "redelivered").glob("copy-of-*"))
    original = copies[0].name.removeprefix("copy-of-")
    assert copies[0].read_bytes() == (extracts / "auth_events" / original).read_bytes()


def test_late_skewed_test_and_impersonated_events_occur(
    accepted: dict[str, list[dict[str, Any]]],
) -> None:
    rows = [row for table in EVENT_TABLES for row in accepted[table]]
    assert sum(row["received"] - row["at"] > timedelta(days=1) for row in rows) > 20
    assert sum(row["at"] < instant(row["occurred_at"]) for row in rows) > 3
    assert sum(bool(row.get("impersonator_id")) for row in rows) > 3
    assert any(row.get("is_test") for row in accepted["campaign_events"])
    times = [row["at"] for row in rows]
    assert min(times).date() == UNTIL - timedelta(days=DAYS - 1)
    assert max(times).date() == UNTIL
    assert max(row["received"] for row in rows).date() == UNTIL


def test_byte_identical_audit_twins_stand_in_one_file(extracts: Path) -> None:
    twins = 0
    for path in (extracts / "audit_events").glob("*.jsonl"):
        repeated = Counter(path.read_text().splitlines())
        twins += sum(count == 2 for count in repeated.values())
        assert max(repeated.values()) == 2
    assert twins > 5


def test_secrets_are_planted_as_listed(extracts: Path) -> None:
    text = "".join(
        path.read_text() for table in EVENT_TABLES for path in (extracts / table).glob("*.jsonl")
    )
    for (secret,) in answer(extracts, "planted_secrets"):
        assert secret in text


# ---- the answer key against a naive reading of the files

QUALIFYING = {
    "login",
    "signup",
    "token_refresh",
    "token_exchange",
    "mfa_verification",
    "session.started",
    "session.activity",
    "metric.logged",
    "journey.begun",
    "journey.step",
    "journey.completed",
    "api.request",
}


def test_active_users_by_hand(
    extracts: Path,
    accepted: dict[str, list[dict[str, Any]]],
    survivors: dict[str, tuple[str, str]],
) -> None:
    active: dict[tuple[str, str], set[tuple[str, date]]] = defaultdict(set)
    for table in ("auth_events", "session_events", "platform_events"):
        for row in accepted[table]:
            user_id, kind = survivors.get(row.get("user_id") or "", (row.get("user_id"), "human"))
            if (
                row["type"] in QUALIFYING
                and user_id
                and kind == "human"
                and not row.get("is_test")
                and not row.get("impersonator_id")
                and row["data"].get("outcome") != "failure"
            ):
                place = (row["environment"], row["workspace_id"])
                active[place].add((user_id, row["at"].date()))
    rows = answer(
        extracts,
        "active_users_daily",
        "select environment, workspace_id, activity_date, users_1d, users_7d, users_28d,"
        " users_30d, users_90d from answer where scope = 'workspace'",
    )
    found = {row[:3]: row[3:] for row in rows}
    expected = {}
    for (environment, workspace), user_days in active.items():
        for number in range(DAYS):
            day = UNTIL - timedelta(days=number)
            figures = tuple(
                len({u for u, d in user_days if day - timedelta(days=n) < d <= day})
                for n in (1, 7, 28, 30, 90)
            )
            if any(figures):
                expected[environment, workspace, day] = figures
    assert found == expected
    assert {environment for environment, _, _ in found} == {"production", "sandbox"}


def test_sessions_without_an_id_by_the_gap_rule(
    extracts: Path,
    accepted: dict[str, list[dict[str, Any]]],
    survivors: dict[str, tuple[str, str]],
) -> None:
    streams: dict[tuple[str, ...], list[datetime]] = defaultdict(list)
    for row in accepted["session_events"]:
        if row.get("session_id") or row["type"] in ("session.ended", "session.revoked"):
            continue
        user_id = row.get("user_id")
        if user_id is None:
            user_id = row["anonymous_id"]
        elif user_id in survivors:
            user_id = survivors[user_id][0]
        streams[row["environment"], row["project_id"], user_id].append(row["at"])
    starts, gaps = Counter(), set()
    for (environment, project, _), times in streams.items():
        times.sort()
        starts[environment, project, times[0]] += 1
        for before, after in pairwise(times):
            gaps.add(after - before)
            if after - before > HALF_HOUR:
                starts[environment, project, after] += 1
    rows = answer(
        extracts,
        "sessions",
        "select environment, project_id, started_at from answer where session_id is null",
    )
    assert Counter(rows) == starts
    assert HALF_HOUR in gaps
    assert HALF_HOUR + timedelta(microseconds=1) in gaps


def test_auth_by_hand(extracts: Path, accepted: dict[str, list[dict[str, Any]]]) -> None:
    expected: Counter[tuple[Any, ...]] = Counter()
    for row in accepted["auth_events"]:
        attempt = row["type"] in ("login", "signup", "mfa_verification", "password_reset")
        if attempt and not row.get("is_test"):
            key = (row["environment"], row["project_id"], row["at"].date())
            expected[*key, row["data"]["outcome"]] += 1
    rows = answer(
        extracts,
        "auth_daily",
        "select environment, project_id, activity_date, success_count, failure_count,"
        " attempt_count from answer",
    )
    found: Counter[tuple[Any, ...]] = Counter()
    for *key, successes, failures, attempts in rows:
        assert attempts == successes + failures
        found[*key, "success"] += successes
        found[*key, "failure"] += failures
    assert +found == +expected


def test_balances_by_hand(extracts: Path, accepted: dict[str, list[dict[str, Any]]]) -> None:
    balances: Counter[tuple[str, ...]] = Counter()
    signs = {"points.earned": 1, "points.adjusted": 1, "points.redeemed": -1, "points.expired": -1}
    for row in accepted["loyalty_events"]:
        if not row.get("is_test"):
            key = (row["environment"], row["project_id"], row["user_id"])
            balances[key] += signs.get(row["type"], 0) * row["data"].get("points", 0)
    rows = answer(
        extracts,
        "loyalty_balances",
        "select environment, project_id, user_id, balance from answer",
    )
    assert {row[:3]: row[3] for row in rows} == dict(balances)


def test_answers_agree_among_themselves(extracts: Path) -> None:
    wider = answer(
        extracts,
        "active_users_daily",
        """
        select count(*) from answer as workspaces inner join answer as projects
            using (environment, workspace_id, activity_date)
        where workspaces.scope = 'workspace' and projects.scope = 'project'
            and workspaces.users_30d < projects.users_30d
        """,
    )
    assert wider == [(0,)]
    shrinking = answer(
        extracts,
        "active_users_daily",
        "select count(*) from answer where not (users_1d <= users_7d and users_7d <= users_28d"
        " and users_28d <= users_30d and users_30d <= users_90d)",
    )
    assert shrinking == [(0,)]
    daily = answer(extracts, "auth_daily", "select sum(columns('.*_count')) from answer")
    detail = answer(extracts, "auth_daily_detail", "select sum(columns('.*_count')) from answer")
    assert daily == detail
    sessions = answer(
        extracts,
        "sessions",
        "select count(*), count(*) filter (is_engaged), count(*) filter (is_revoked) from answer"
        " where not is_test",
    )
    by_day = answer(
        extracts,
        "sessions_daily",
        "select sum(started_count), sum(engaged_count), sum(revoked_count) from answer",
    )
    assert sessions == by_day
    states = answer(
        extracts, "journeys", "select state, count(*) from answer group by state order by state"
    )
    assert [state for state, _ in states] == ["abandoned", "completed", "in_progress"]
    outcomes = answer(extracts, "webhooks", "select distinct outcome from answer order by outcome")
    assert outcomes == [("delivered",), ("exhausted",), ("pending",)]
    attack = answer(extracts, "failure_hours")
    assert len(attack) == 1 and attack[0][5] > 0.9 * attack[0][4]


def test_journeys_by_hand(extracts: Path, accepted: dict[str, list[dict[str, Any]]]) -> None:
    events = defaultdict(list)
    for row in accepted["session_events"]:
        if row["type"].startswith("journey."):
            key = (row["environment"], row["project_id"], row["data"]["journey_id"])
            events[key].append((row["at"], row["type"]))
    midnight = datetime.combine(UNTIL, datetime.min.time()) + timedelta(days=1)
    expected = {}
    for key, steps in events.items():
        begun = [at for at, event_type in steps if event_type == "journey.begun"]
        if not begun:
            continue
        done = [at for at, event_type in steps if event_type == "journey.completed"]
        if any(at >= min(begun) for at in done):
            expected[key] = "completed"
        elif midnight - max(steps)[0] >= timedelta(days=1):
            expected[key] = "abandoned"
        else:
            expected[key] = "in_progress"
    rows = answer(
        extracts, "journeys", "select environment, project_id, journey_id, state from answer"
    )
    assert {row[:3]: row[3] for row in rows} == expected
    assert len(expected) < len(events)


def test_members_by_hand(extracts: Path, accepted: dict[str, list[dict[str, Any]]]) -> None:
    latest: dict[tuple[str, ...], tuple[datetime, str]] = {}
    for row in accepted["membership_events"]:
        if not row.get("is_test"):
            key = (row["environment"], row["project_id"], row["user_id"])
            latest[key] = max(latest.get(key, (datetime.min, "")), (row["at"], row["type"]))
    expected = Counter(
        key[:2]
        for key, (_, event_type) in latest.items()
        if event_type in ("membership.added", "membership.role_changed")
    )
    rows = answer(
        extracts,
        "memberships_daily",
        "select environment, project_id, member_count_at_end from answer"
        f" where activity_date = '{UNTIL}' and member_count_at_end > 0",
    )
    assert {row[:2]: row[2] for row in rows} == dict(expected)
    assert any(event_type == "membership.removed" for _, event_type in latest.values())


def test_webhook_outcomes_by_hand(
    extracts: Path, accepted: dict[str, list[dict[str, Any]]]
) -> None:
    attempts = defaultdict(list)
    for row in accepted["webhook_deliveries"]:
        data = row["data"]
        key = (row["environment"], row["workspace_id"], data["delivery_id"], data["endpoint_id"])
        attempts[key].append((data["attempt"], data["outcome"], data.get("will_retry", False)))
    expected = {}
    for key, tries in attempts.items():
        _, _, will_retry = max(tries)
        delivered = any(outcome == "delivered" for _, outcome, _ in tries)
        outcome = "delivered" if delivered else "pending" if will_retry else "exhausted"
        expected[key] = (outcome, len(tries))
    rows = answer(
        extracts,
        "webhooks",
        "select environment, workspace_id, delivery_id, endpoint_id, outcome, attempt_count"
        " from answer",
    )
    assert {row[:4]: row[4:] for row in rows} == expected


@pytest.mark.parametrize(
    ("table", "name", "identity"),
    [
        ("campaign_events", "campaign_messages", ("message_id",)),
        ("notification_events", "notifications", ("notification_id", "channel")),
    ],
)
def test_message_states_by_hand(
    extracts: Path,
    accepted: dict[str, list[dict[str, Any]]],
    table: str,
    name: str,
    identity: tuple[str, ...],
) -> None:
    ranks = {"queued": 1, "sent": 2, "delivered": 3, "bounced": 4, "failed": 4, "complained": 4}
    states = defaultdict(list)
    for row in accepted[table]:
        state = row["type"].partition(".")[2]
        if state in ranks:
            key = (row["environment"], row["workspace_id"], *(row["data"][i] for i in identity))
            states[key].append((row["at"], ranks[state], state))
    rows = answer(
        extracts,
        name,
        f"select environment, workspace_id, {', '.join(identity)}, delivery_state from answer",
    )
    assert {row[:-1]: row[-1] for row in rows} == {key: max(s)[2] for key, s in states.items()}


def test_page_views_by_hand(extracts: Path) -> None:
    views: Counter[tuple[Any, ...]] = Counter()
    lines = [
        json.loads(line)
        for path in sorted((extracts / "audit_events").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    for line in lines:
        if line["action"] == "analytics.view":
            # views of one person and range are minutes apart; parts of one, milliseconds
            views[
                line["actor"]["id"],
                line["targets"][0]["id"],
                line["metadata"]["source"],
                line["metadata"]["start_date"],
                line["occurredAt"][:16],
            ] += 1
    rows = answer(
        extracts,
        "analytics_views",
        "select event_count, is_incomplete_triple, source from answer",
    )
    assert Counter(row[0] for row in rows) == Counter(views.values())
    for event_count, is_incomplete, source in rows:
        assert is_incomplete == (event_count < 3 and not source.startswith("/api/"))
    assert {row[0] for row in rows} == {1, 2, 3}
