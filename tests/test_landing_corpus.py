"""Whatever is broken in a file: what is wrong is named, and the good lines beside it land."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from backports import zstd

from landing.contract import MAX_LINE_BYTES
from landing.reasons import Reason, explanations
from tests.landing_cases import Warehouse, audit, entity, event, lines, pack

GOOD = [event(id="good_1"), event(id="good_2")]


class BadLine(NamedTuple):
    """A line between two good ones, and the verdict on it."""

    name: str
    line: Any
    reason: Reason
    field: str | None = None
    table: str = "auth_events"


def without(record: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in keys}


def text(**changes: Any) -> str:
    return json.dumps(event(**changes), separators=(",", ":"))


def data(**changes: Any) -> dict[str, Any]:
    return event(data={**event()["data"], **changes})


def of(table: str, **changes: Any) -> dict[str, Any]:
    record = event(table)
    return {**record, "data": {**record["data"], **changes}}


BAD_LINES = [
    BadLine("not json", "hello", Reason.INVALID_JSON),
    BadLine("cut off", text()[:-7], Reason.INVALID_JSON),
    BadLine("single quotes", "{'id': 1}", Reason.INVALID_JSON),
    BadLine("trailing comma", text()[:-1] + ",}", Reason.INVALID_JSON),
    BadLine("raw tab in a string", text(id="a\tb").replace("\\t", "\t"), Reason.INVALID_JSON),
    BadLine("control character 1", text(id="ab").replace("ab", "a\x01b"), Reason.INVALID_JSON),
    BadLine("array", "[1, 2]", Reason.NOT_AN_OBJECT),
    BadLine("bare number", "5", Reason.NOT_AN_OBJECT),
    BadLine("bare null", "null", Reason.NOT_AN_OBJECT),
    BadLine("two objects", text() + text(id="b"), Reason.SEVERAL_VALUES),
    BadLine("two objects, blank between", text() + " " + text(id="b"), Reason.SEVERAL_VALUES),
    BadLine("carriage return between", text() + "\r" + text(id="b"), Reason.SEVERAL_VALUES),
    BadLine("duplicate key", text()[:-1] + ',"id":"other"}', Reason.DUPLICATE_KEY, "id"),
    BadLine("duplicate key, spaced", text()[:-1] + ',"id" : "x"}', Reason.DUPLICATE_KEY, "id"),
    BadLine("duplicate key, escaped", text()[:-1] + ',"i\\u0064":"x"}', Reason.DUPLICATE_KEY, "id"),
    BadLine(
        "duplicate key in data",
        text().replace('"outcome":"success"', '"outcome":"success","outcome":"failure"'),
        Reason.DUPLICATE_KEY,
        "outcome",
    ),
    BadLine(
        "duplicate key deep down",
        text()[:-1] + ',"more":{"list":[{"a":1,"a":2}]}}',
        Reason.DUPLICATE_KEY,
        "a",
    ),
    BadLine("NaN", text()[:-1] + ',"x":NaN}', Reason.NOT_A_NUMBER),
    BadLine("Infinity", text()[:-1] + ',"x":-Infinity}', Reason.NOT_A_NUMBER),
    BadLine("1e999", text()[:-1] + ',"x":1e999}', Reason.NOT_A_NUMBER),
    BadLine("invalid utf-8", text(id="ab").encode().replace(b"ab", b"a\xff"), Reason.INVALID_UTF8),
    BadLine("latin-1", text(id="ab").encode().replace(b"ab", b"\xe9t\xe9"), Reason.INVALID_UTF8),
    BadLine("raw NUL", text(id="ab").encode().replace(b"ab", b"a\0"), Reason.NUL_CHARACTER),
    BadLine("escaped NUL", text(user_id="a\0b"), Reason.NUL_CHARACTER),
    BadLine("escaped NUL in a key", data(**{"a\0b": 1}), Reason.NUL_CHARACTER),
    BadLine("lone surrogate", text(id="ab").replace("ab", "\\ud800"), Reason.LONE_SURROGATE),
    BadLine("lone low surrogate", text(id="ab").replace("ab", "\\udc00x"), Reason.LONE_SURROGATE),
    BadLine("long line", data(x="a" * MAX_LINE_BYTES), Reason.LINE_TOO_LONG),
    BadLine("very long line", b"x" * (5 * MAX_LINE_BYTES), Reason.LINE_TOO_LONG),
    BadLine("nesting", text()[:-1] + ',"x":' + "[" * 65 + "]" * 65 + "}", Reason.TOO_DEEP),
    BadLine("nesting bomb", "[" * 50_000 + "]" * 50_000, Reason.TOO_DEEP),
    BadLine("open nesting bomb", '{"a":' * 50_000, Reason.TOO_DEEP),
    BadLine("no id", without(event(), "id"), Reason.MISSING_FIELD, "id"),
    BadLine("null id", event(id=None), Reason.MISSING_FIELD, "id"),
    BadLine("empty id", event(id=""), Reason.MISSING_FIELD, "id"),
    BadLine("no type", without(event(), "type"), Reason.MISSING_FIELD, "type"),
    BadLine("no time", without(event(), "occurred_at"), Reason.MISSING_FIELD, "occurred_at"),
    BadLine("no workspace", without(event(), "workspace_id"), Reason.MISSING_FIELD, "workspace_id"),
    BadLine("no project", event(project_id=""), Reason.MISSING_FIELD, "project_id"),
    BadLine("no data where needed", without(event(), "data"), Reason.MISSING_FIELD, "data.outcome"),
    BadLine("no outcome", data(outcome=None), Reason.MISSING_FIELD, "data.outcome"),
    BadLine("number as id", event(id=7), Reason.WRONG_TYPE, "id"),
    BadLine("number as user", event(user_id=7), Reason.WRONG_TYPE, "user_id"),
    BadLine("object as user", event(user_id={"id": "u"}), Reason.WRONG_TYPE, "user_id"),
    BadLine("text as is_test", event(is_test="true"), Reason.WRONG_TYPE, "is_test"),
    BadLine("number as is_test", event(is_test=1), Reason.WRONG_TYPE, "is_test"),
    BadLine("data a list", event(data=[1]), Reason.WRONG_TYPE, "data"),
    BadLine("data a text", event(data="{}"), Reason.WRONG_TYPE, "data"),
    BadLine("provider a number", data(provider=3), Reason.WRONG_TYPE, "data.provider"),
    BadLine("unknown type", event(type="login.maybe"), Reason.UNKNOWN_TYPE, "type"),
    BadLine(
        "prefix alone",
        event("session_events", type="custom."),
        Reason.UNKNOWN_TYPE,
        "type",
        "session_events",
    ),
    BadLine("type of another table", event(type="api.request"), Reason.UNKNOWN_TYPE, "type"),
    BadLine("staging", event(environment="staging"), Reason.UNKNOWN_ENVIRONMENT, "environment"),
    BadLine(
        "PRODUCTION", event(environment="PRODUCTION"), Reason.UNKNOWN_ENVIRONMENT, "environment"
    ),
    BadLine("other outcome", data(outcome="ok"), Reason.UNKNOWN_VALUE, "data.outcome"),
    BadLine(
        "offset of 518 hours",
        event(occurred_at="2011-08-29T06:50:23+518:00"),
        Reason.INVALID_TIME,
        "occurred_at",
    ),
    BadLine(
        "offset of 24 hours",
        event(occurred_at="2025-01-31T10:00:00+24:00"),
        Reason.INVALID_TIME,
        "occurred_at",
    ),
    BadLine(
        "month 13", event(occurred_at="2025-13-01T00:00:00Z"), Reason.INVALID_TIME, "occurred_at"
    ),
    BadLine(
        "30 February", event(occurred_at="2025-02-30T00:00:00Z"), Reason.INVALID_TIME, "occurred_at"
    ),
    BadLine(
        "hour 24", event(occurred_at="2025-01-30T24:00:00Z"), Reason.INVALID_TIME, "occurred_at"
    ),
    BadLine(
        "second 60", event(occurred_at="2025-01-30T23:59:60Z"), Reason.INVALID_TIME, "occurred_at"
    ),
    BadLine("bad received time", event(received_at="soon"), Reason.INVALID_TIME, "received_at"),
    BadLine("epoch number", event(occurred_at=1738317600), Reason.WRONG_TYPE, "occurred_at"),
    BadLine(
        "no offset",
        event(occurred_at="2025-01-31T10:00:00"),
        Reason.TIME_WITHOUT_OFFSET,
        "occurred_at",
    ),
    BadLine("date only", event(occurred_at="2025-01-31"), Reason.DATE_WITHOUT_TIME, "occurred_at"),
    BadLine(
        "received in 2099",
        event(received_at="2099-01-01T00:00:00Z"),
        Reason.TIME_IN_FUTURE,
        "received_at",
    ),
    BadLine(
        "occurred in 2099",
        without(event(occurred_at="2099-01-01T00:00:00Z"), "received_at"),
        Reason.TIME_IN_FUTURE,
        "occurred_at",
    ),
    BadLine("secret as id", event(id="ghp_" + "a1B2" * 9), Reason.SECRET_IN_KEY, "id"),
    BadLine(
        "attempt 0",
        of("webhook_deliveries", attempt=0),
        Reason.OUT_OF_RANGE,
        "data.attempt",
        "webhook_deliveries",
    ),
    BadLine(
        "attempt one and a half",
        of("webhook_deliveries", attempt=1.5),
        Reason.WRONG_TYPE,
        "data.attempt",
        "webhook_deliveries",
    ),
    BadLine(
        "no endpoint",
        of("webhook_deliveries", endpoint_id=""),
        Reason.MISSING_FIELD,
        "data.endpoint_id",
        "webhook_deliveries",
    ),
    BadLine(
        "delivery maybe",
        of("webhook_deliveries", outcome="success"),
        Reason.UNKNOWN_VALUE,
        "data.outcome",
        "webhook_deliveries",
    ),
    BadLine(
        "negative points",
        of("loyalty_events", points=-1),
        Reason.OUT_OF_RANGE,
        "data.points",
        "loyalty_events",
    ),
    BadLine(
        "points as text",
        of("loyalty_events", points="10"),
        Reason.WRONG_TYPE,
        "data.points",
        "loyalty_events",
    ),
    BadLine(
        "points beyond 64 bits",
        of("loyalty_events", points=2**63),
        Reason.WRONG_TYPE,
        "data.points",
        "loyalty_events",
    ),
    BadLine(
        "no message",
        of("campaign_events", message_id=None),
        Reason.MISSING_FIELD,
        "data.message_id",
        "campaign_events",
    ),
    BadLine(
        "no notification",
        of("notification_events", notification_id=None),
        Reason.MISSING_FIELD,
        "data.notification_id",
        "notification_events",
    ),
    BadLine(
        "journey without id",
        event("session_events", type="journey.begun"),
        Reason.MISSING_FIELD,
        "data.journey_id",
        "session_events",
    ),
    BadLine(
        "metric without value",
        event("session_events", type="metric.logged", data={"name": "csat"}),
        Reason.MISSING_FIELD,
        "data.value",
        "session_events",
    ),
    BadLine(
        "metric value a list",
        event("session_events", type="metric.logged", data={"name": "csat", "value": [1]}),
        Reason.WRONG_TYPE,
        "data.value",
        "session_events",
    ),
    BadLine(
        "latency as text",
        of("platform_events", latency_ms="12"),
        Reason.WRONG_TYPE,
        "data.latency_ms",
        "platform_events",
    ),
    BadLine(
        "audit without project", audit(targets=[]), Reason.MISSING_FIELD, "targets", "audit_events"
    ),
    BadLine(
        "audit without organization",
        audit(targets=[{"type": "project", "id": "p"}]),
        Reason.MISSING_FIELD,
        "targets.metadata.organization_id",
        "audit_events",
    ),
    BadLine(
        "audit without actor",
        without(audit(), "actor"),
        Reason.MISSING_FIELD,
        "actor",
        "audit_events",
    ),
    BadLine(
        "audit without time",
        without(audit(), "occurredAt"),
        Reason.MISSING_FIELD,
        "occurredAt",
        "audit_events",
    ),
    BadLine(
        "service without UUID", entity("services", id="web"), Reason.INVALID_UUID, "id", "services"
    ),
    BadLine(
        "user of another kind", entity("users", kind="robot"), Reason.UNKNOWN_VALUE, "kind", "users"
    ),
    BadLine(
        "member of another role",
        entity("members", role="boss"),
        Reason.UNKNOWN_VALUE,
        "role",
        "members",
    ),
    BadLine(
        "entity from 2099",
        entity("users", updated_at="2099-01-01T00:00:00Z"),
        Reason.TIME_IN_FUTURE,
        "updated_at",
        "users",
    ),
    BadLine(
        "entity without version",
        without(entity("users"), "updated_at"),
        Reason.MISSING_FIELD,
        "updated_at",
        "users",
    ),
]


def good_pair(table: str) -> list[dict[str, Any]]:
    if table == "audit_events":
        return [audit(action="good_1"), audit(action="good_2")]
    if table == "services":
        ids = ("11111111-e29b-41d4-a716-446655440000", "22222222-e29b-41d4-a716-446655440000")
        return [entity(table, id=i) for i in ids]
    if table == "members":
        return [entity(table, user_id="good_1"), entity(table, user_id="good_2")]
    if table in ("users", "projects", "workspaces"):
        return [entity(table, id="good_1"), entity(table, id="good_2")]
    return [event(table, id="good_1"), event(table, id="good_2")]


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
@pytest.mark.parametrize("way", ["python", "sql"])
def test_every_bad_line_is_quarantined_with_its_reason_and_its_neighbours_land(
    tmp_path, monkeypatch, compression, way
):
    monkeypatch.setattr("landing.lander.FAST_FROM_BYTES", 0 if way == "sql" else 1 << 40)
    warehouse = Warehouse(tmp_path)
    tables = sorted({case.table for case in BAD_LINES})
    for table in tables:
        first, last = good_pair(table)
        cases = [case for case in BAD_LINES if case.table == table]
        content = lines([first, *(case.line for case in cases), "", last])
        warehouse.write(f"{table}/all.jsonl{compression}", pack(content, compression))
    report = warehouse.land()
    assert [(f.table_name, f.status) for f in report.files] == [(t, "landed") for t in tables]
    for table in tables:
        cases = [case for case in BAD_LINES if case.table == table]
        expected = [
            (number, str(case.reason), case.field) for number, case in enumerate(cases, start=2)
        ]
        found = warehouse.rows(
            "select _line, reason, field from raw.rejected_records where table_name = ? order by 1",
            table,
        )
        names = {number: case.name for number, case in enumerate(cases, start=2)}
        assert [(names[n], n, r, f) for n, r, f in found] == [
            (names[n], n, r, f) for n, r, f in expected
        ]
        kept = warehouse.rows(f"select _line from raw.{table} order by 1")
        assert kept == [(1,), (len(cases) + 3,)]


class BadFile(NamedTuple):
    """A file that cannot be landed as a whole, and why."""

    name: str
    path: str
    content: bytes
    reason: Reason


PLAIN = lines(GOOD)
GZIP, ZSTD = pack(PLAIN, ".gz"), pack(PLAIN, ".zst")


def flipped(packed: bytes, position: int) -> bytes:
    return packed[:position] + bytes([packed[position] ^ 0xFF]) + packed[position + 1 :]


BAD_FILES = [
    BadFile("unknown table", "logins/a.jsonl", PLAIN, Reason.FILE_UNKNOWN_TABLE),
    BadFile("table in capitals", "AUTH_EVENTS/a.jsonl", PLAIN, Reason.FILE_UNKNOWN_TABLE),
    BadFile("no table", "a.jsonl", PLAIN, Reason.FILE_UNKNOWN_TABLE),
    BadFile("unknown extension", "auth_events/a.json", PLAIN, Reason.FILE_UNKNOWN_FORMAT),
    BadFile("no extension", "auth_events/part-0001", PLAIN, Reason.FILE_UNKNOWN_FORMAT),
    BadFile("other compression", "auth_events/a.jsonl.bz2", PLAIN, Reason.FILE_UNKNOWN_FORMAT),
    BadFile("packed parquet", "auth_events/a.parquet.gz", GZIP, Reason.FILE_UNKNOWN_FORMAT),
    BadFile("gz that is none", "auth_events/a.jsonl.gz", PLAIN, Reason.FILE_WRONG_MAGIC),
    BadFile("zst that is none", "auth_events/a.jsonl.zst", PLAIN, Reason.FILE_WRONG_MAGIC),
    BadFile("zst in gz", "auth_events/a.jsonl.gz", ZSTD, Reason.FILE_WRONG_MAGIC),
    BadFile("gz without extension", "auth_events/a.jsonl", GZIP, Reason.FILE_WRONG_MAGIC),
    BadFile("zst without extension", "auth_events/a.csv", ZSTD, Reason.FILE_WRONG_MAGIC),
    BadFile("gz in gz", "auth_events/a.jsonl.gz", gzip.compress(GZIP), Reason.FILE_WRONG_MAGIC),
    BadFile("empty gz", "auth_events/a.jsonl.gz", b"", Reason.FILE_TRUNCATED),
    BadFile("empty zst", "auth_events/a.jsonl.zst", b"", Reason.FILE_TRUNCATED),
    BadFile("gz of one byte", "auth_events/a.jsonl.gz", GZIP[:1], Reason.FILE_TRUNCATED),
    BadFile("header of a gz", "auth_events/a.jsonl.gz", GZIP[:10], Reason.FILE_TRUNCATED),
    BadFile("truncated gz", "auth_events/a.jsonl.gz", GZIP[:-20], Reason.FILE_TRUNCATED),
    BadFile("gz without checksum", "auth_events/a.jsonl.gz", GZIP[:-8], Reason.FILE_TRUNCATED),
    BadFile("gz without length", "auth_events/a.jsonl.gz", GZIP[:-3], Reason.FILE_TRUNCATED),
    BadFile("truncated zst", "auth_events/a.jsonl.zst", ZSTD[:-20], Reason.FILE_TRUNCATED),
    BadFile("zst without checksum", "auth_events/a.jsonl.zst", ZSTD[:-4], Reason.FILE_TRUNCATED),
    BadFile("bad gz checksum", "auth_events/a.jsonl.gz", flipped(GZIP, -6), Reason.FILE_CORRUPT),
    BadFile("bad gz data", "auth_events/a.jsonl.gz", flipped(GZIP, 40), Reason.FILE_CORRUPT),
    BadFile("bad zst checksum", "auth_events/a.jsonl.zst", flipped(ZSTD, -2), Reason.FILE_CORRUPT),
    BadFile(
        "garbage behind gz",
        "auth_events/a.jsonl.gz",
        GZIP + b"garbage",
        Reason.FILE_TRAILING_GARBAGE,
    ),
    BadFile(
        "zeros behind gz", "auth_events/a.jsonl.gz", GZIP + bytes(512), Reason.FILE_TRAILING_GARBAGE
    ),
    BadFile(
        "garbage behind zst",
        "auth_events/a.jsonl.zst",
        ZSTD + b"garbage",
        Reason.FILE_TRAILING_GARBAGE,
    ),
    BadFile("second member cut", "auth_events/a.jsonl.gz", GZIP + GZIP[:-9], Reason.FILE_TRUNCATED),
    BadFile("parquet that is none", "auth_events/a.parquet", PLAIN, Reason.FILE_WRONG_MAGIC),
    BadFile("empty parquet", "auth_events/a.parquet", b"", Reason.FILE_TRUNCATED),
    BadFile("cut parquet", "auth_events/a.parquet", b"PAR1" + b"x" * 50, Reason.FILE_TRUNCATED),
    BadFile(
        "hollow parquet",
        "auth_events/a.parquet",
        b"PAR1" + b"x" * 50 + b"PAR1",
        Reason.FILE_UNREADABLE_PARQUET,
    ),
    BadFile(
        "csv without header", "auth_events/a.csv", b"evt_1,login,2025\n", Reason.FILE_CSV_HEADER
    ),
    BadFile("csv header twice", "auth_events/a.csv", b"id,type,id\n", Reason.FILE_CSV_HEADER),
    BadFile("csv header unclosed", "auth_events/a.csv", b'id,"type\n', Reason.FILE_CSV_HEADER),
    BadFile("csv header not utf-8", "auth_events/a.csv", b"id,\xff\n", Reason.FILE_CSV_HEADER),
]


def test_every_bad_file_fails_with_its_reason_and_the_others_land(tmp_path):
    for number, case in enumerate(BAD_FILES):
        warehouse = Warehouse(tmp_path / str(number))
        warehouse.write("auth_events/0_good.jsonl", [event(id="a")])
        warehouse.write(case.path, case.content)
        warehouse.write("auth_events/z_good.jsonl", [event(id="z")])
        results = {f.path: f for f in warehouse.land().files}
        assert len(results) == 3, case.name
        bad = results.pop(case.path)
        assert (case.name, bad.status, bad.reason, bad.lines) == (
            case.name,
            "failed",
            case.reason,
            0,
        )
        assert bad.message and case.path in bad.message
        assert {f.status for f in results.values()} == {"landed"}
        assert warehouse.rows("select id from raw.auth_events order by 1") == [("a",), ("z",)]
        assert warehouse.rows("select count(*) from raw.rejected_records") == [(0,)]


GOOD_FILES = {
    "empty": ("auth_events/a.jsonl", b"", 0),
    "empty csv": ("auth_events/a.csv", b"", 0),
    "packed empty": ("auth_events/a.jsonl.gz", gzip.compress(b""), 0),
    "packed empty zst": ("auth_events/a.jsonl.zst", zstd.compress(b""), 0),
    "blank lines only": ("auth_events/a.jsonl", b"\n \n\t\n\r\n", 0),
    "csv header only": ("auth_events/a.csv", b"id,type\n", 0),
    "no newline at the end": ("auth_events/a.jsonl", PLAIN.rstrip(b"\n"), 2),
    "CRLF": ("auth_events/a.jsonl", PLAIN.replace(b"\n", b"\r\n"), 2),
    "byte order mark": ("auth_events/a.ndjson", b"\xef\xbb\xbf" + PLAIN, 2),
    "two gz members": (
        "auth_events/a.jsonl.gz",
        gzip.compress(lines(GOOD[:1])) + gzip.compress(lines(GOOD[1:])),
        2,
    ),
    "two zst frames": (
        "auth_events/a.jsonl.zst",
        zstd.compress(lines(GOOD[:1])) + zstd.compress(lines(GOOD[1:])),
        2,
    ),
    "member cut in a line": (
        "auth_events/a.jsonl.gz",
        gzip.compress(PLAIN[:100]) + gzip.compress(PLAIN[100:]),
        2,
    ),
    "blank around": ("auth_events/a.jsonl", b"  " + PLAIN.replace(b"\n", b" \n\n"), 2),
    "return inside a record": ("auth_events/a.jsonl", PLAIN.replace(b'"type"', b'\r"type"'), 2),
    "sub-folders": ("auth_events/2025/01/x=y/a.jsonl", PLAIN, 2),
    "lower-case time": (
        "auth_events/a.jsonl",
        lines([event(occurred_at="2025-01-31t10:00:00.123456789z")]),
        1,
    ),
}


@pytest.mark.parametrize("name", GOOD_FILES)
def test_what_is_unusual_but_right_lands(tmp_path, name):
    path, content, expected = GOOD_FILES[name]
    result = Warehouse(tmp_path).land_one(path, content)
    assert (result.status, result.accepted, result.rejected) == ("landed", expected, 0)


CSV_CASES = [
    ("unclosed quote", b'"b', Reason.CSV_QUOTE),
    ("too few cells", b"b,login", Reason.CSV_CELL_COUNT),
    ("too many cells", b"b,login,2025-01-31T10:00:00Z,production,w,p,{},x", Reason.CSV_CELL_COUNT),
    ("quote inside", b'b"x"y,login,2025-01-31T10:00:00Z,production,w,p,""x""', Reason.CSV_SYNTAX),
    ("broken json cell", b"b,login,2025-01-31T10:00:00Z,production,w,p,{", Reason.INVALID_JSON),
    (
        "json cell that closes",
        b'b,login,2025-01-31T10:00:00Z,production,w,p,"{},""user_id"":""u"""',
        Reason.INVALID_JSON,
    ),
    ("not utf-8", b"b\xff,login,2025-01-31T10:00:00Z,production,w,p,{}", Reason.INVALID_UTF8),
    ("NUL", b"b\0,login,2025-01-31T10:00:00Z,production,w,p,{}", Reason.NUL_CHARACTER),
    ("long", b"b" * (MAX_LINE_BYTES + 9) + b",login,,,,,", Reason.LINE_TOO_LONG),
    ("no environment", b"b,logout,2025-01-31T10:00:00Z,,w,p,{}", Reason.MISSING_FIELD),
]


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
@pytest.mark.parametrize("case", CSV_CASES, ids=[case[0] for case in CSV_CASES])
def test_a_bad_csv_record_leaves_its_neighbours(tmp_path, case, compression):
    _, bad, reason = case
    good = b'%s,logout,2025-01-31T10:00:00Z,production,w,p,"{""x"":\n1}"\r\n'
    header = b"id,type,occurred_at,environment,workspace_id,project_id,data\r\n"
    content = header + good % b"a" + bad + b"\n" + good % b"c" + b"\n" + good % b"d"
    warehouse = Warehouse(tmp_path)
    result = warehouse.land_one(f"auth_events/a.csv{compression}", pack(content, compression))
    assert (result.status, result.lines, result.accepted) == ("landed", 4, 3)
    assert warehouse.rows("select id, _line from raw.auth_events order by 1") == [
        ("a", 2),
        ("c", 5),
        ("d", 8),
    ]
    assert warehouse.rows("select _line, reason from raw.rejected_records") == [(4, reason)]


def test_an_unpacking_bomb_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("landing.prescan.RATIO_FROM_BYTES", 1 << 20)
    bomb = gzip.compress(b" " * (4 << 20))
    assert len(bomb) * 200 < 4 << 20
    result = Warehouse(tmp_path).land_one("auth_events/a.jsonl.gz", bomb)
    assert (result.status, result.reason) == ("failed", Reason.FILE_UNPACKED_TOO_LARGE)


def test_the_corpus_is_large_and_every_reason_code_is_explained():
    assert len(BAD_LINES) + len(BAD_FILES) + len(CSV_CASES) >= 40
    assert set(explanations()) == {str(reason) for reason in Reason}
    for meaning, remedy in explanations().values():
        assert meaning and remedy


IN_TOKYO = """
import sys
from pathlib import Path
import duckdb
from landing import TABLES
from landing.tabular import parquet_slices

folder = Path(sys.argv[1])
with duckdb.connect() as connection:
    connection.execute(
        "copy (select {'at': timestamptz '2025-01-31 10:00:00+00'} as data)"
        f" to '{folder}/a.parquet' (format parquet)"
    )
for part in parquet_slices(folder / "a.parquet", TABLES["auth_events"], folder, "1GB"):
    print(part.path.read_text())
"""


def test_times_inside_of_a_parquet_object_are_told_in_utc_whatever_the_machines_zone(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", IN_TOKYO, str(tmp_path)],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"data": {"at": "2025-01-31 10:00:00+00"}}
