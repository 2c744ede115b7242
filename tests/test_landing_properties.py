"""What lands is a function of the records alone: not of order, files, format or code path."""

import csv
import io
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landing.contract import TABLES, event_types
from landing.fastpath import content_hash, stage_sql
from landing.secrets import load_rules
from tests.landing_cases import Warehouse, audit, entity, event, lines, pack

EVENT_TABLES = [name for name, table in TABLES.items() if table.family == "event"]
SQL, PYTHON = 0, 1 << 40
LATER = "2025-02-01T08:00:00Z"
HASH = content_hash(TABLES["auth_events"].columns)
quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def landed(files: list[tuple[str, bytes]], fast_from: int = PYTHON, slice_bytes: int = 1 << 26):
    """A warehouse in which the files landed one after the other, and its reports."""
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setattr("landing.lander.FAST_FROM_BYTES", fast_from)
        patch.setattr("landing.prescan.SLICE_BYTES", slice_bytes)
        patch.setattr("landing.tabular.SLICE_BYTES", slice_bytes)
        warehouse = Warehouse(Path(home))
        for path, content in files:
            warehouse.write(path, content)
            warehouse.land()
        return warehouse


# values as extracts hold them, good and bad
texts = st.sampled_from(
    [
        "",
        "a",
        "é\u2028",
        'say "hi"',
        "a\\b",
        "tab\there",
        "\x1e",
        "password",
        "curl/8.5.0",
        " ",
        "x" * 300,
    ]
)
times = st.sampled_from(
    [
        "2025-01-31T10:00:00Z",
        "2025-01-31T12:00:00+02:00",
        "2025-01-31T10:00:00.1Z",
        "2025-01-31T10:00:00.123456789-05:30",
        "2025-01-31t10:00:00z",
        "1899-12-31T00:00:00Z",
        "2025-01-31 10:00:00Z",
        "2025-02-30T10:00:00Z",
        "2025-02-02T11:59:59Z",
        "2025-02-02T12:00:01Z",
        "2025-02-02T12:04:00+00:00",
        "2099-01-01T00:00:00Z",
        "2025-01-31",
        "",
        7,
    ]
)
numbers = st.sampled_from(
    [0, 1, -1, -0.0, 2.5, 200.0, 1e300, 5e-324, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64, 1e19]
)
anything = st.one_of(
    st.none(), st.booleans(), numbers, texts, st.just([1]), st.just({"a": None}), st.just([])
)


@st.composite
def records(draw: st.DrawFn, table_name: str) -> dict[str, Any]:
    table = TABLES[table_name]
    types = [t if not t.endswith("*") else t[:-1] + "x" for t in event_types()[table_name]]
    record = event(table_name, type=draw(st.sampled_from([*types, "nosuch"])))
    record["id"] = draw(st.sampled_from(["a", "b", "c", "d", "e"]))
    for item in draw(st.lists(st.sampled_from(table.fields), max_size=3)):
        record[item.name] = draw(times if item.kind == "time" else st.one_of(texts, anything))
    data = dict(record["data"])
    for item in draw(st.lists(st.sampled_from(table.data_fields), max_size=3)):
        data[item.name] = draw(st.one_of(texts, numbers, anything))
    if draw(st.integers(0, 5)) == 0:
        data[draw(st.sampled_from(["extra", "token", "é", "data", "id"]))] = draw(anything)
    record["data"] = draw(st.sampled_from([data, data, data, data, None, [], "x"]))
    if draw(st.integers(0, 5)) == 0:
        record[draw(st.sampled_from(["extra", "api_secret", "data.outcome"]))] = draw(anything)
    return record


def everything(warehouse: Warehouse) -> list[Any]:
    """All rows of all tables, but for the times of landing."""
    tables = [
        name
        for (name,) in warehouse.rows(
            "select table_name from duckdb_tables() where schema_name = 'raw'"
            " and table_name <> 'pseudonym_keys' order by 1"
        )
    ]
    varying = {"_landed_at", "landed_at", "mtime_ns", "run_id"}
    state = []
    for name in tables:
        columns = [c for (c, *_) in warehouse.rows(f"describe raw.{name}") if c not in varying]
        rows = warehouse.rows(f"select {', '.join(columns)} from raw.{name} order by all")
        state += [(name, dict(zip(columns, row, strict=True))) for row in rows]
    return state


@pytest.mark.parametrize("table", EVENT_TABLES)
@settings(quick, max_examples=10)
@given(data=st.data())
def test_the_sql_path_and_the_python_path_store_the_same(table, data):
    sent = data.draw(st.lists(records(table), min_size=1, max_size=40))
    content = lines(sent)
    path = f"{table}/a.jsonl"
    by_python = landed([(path, content)], PYTHON)
    by_sql = landed([(path, content)], SQL)
    assert everything(by_sql) == everything(by_python)


def test_the_sql_path_takes_plain_lines_in_all_tables(tmp_path, monkeypatch):
    """Else the property above would compare Python with Python."""
    monkeypatch.setattr("landing.lander.FAST_FROM_BYTES", SQL)
    monkeypatch.setattr("landing.lander._FileReader._examine", None)
    warehouse = Warehouse(tmp_path)
    for table in EVENT_TABLES:
        full = event(
            table, is_test=True, ip="::1", occurred_at="2025-01-31T10:00:00.5+01:00", trace_id=None
        )
        assert warehouse.land_one(f"{table}/a.jsonl", [full]).accepted == 1


ACTIVITY = [
    # occurred, received, day, skewed
    ("2025-01-31T10:00:00Z", None, "2025-01-31", False),
    ("2025-01-31T00:04:59Z", "2025-01-30T23:59:59Z", "2025-01-31", False),
    ("2025-01-31T00:04:59.000001Z", "2025-01-30T23:59:59Z", "2025-01-30", True),
    ("2025-01-31T00:04:59.000001+00:00", "2025-01-31T01:59:59+02:00", "2025-01-30", True),
    ("2025-01-31T23:59:59.999999Z", "2025-02-01T00:00:00Z", "2025-01-31", False),
    ("2025-01-31T23:30:00-01:00", "2025-02-01T11:00:00Z", "2025-02-01", False),
    ("2024-02-29T12:00:00Z", "2025-01-31T00:00:00Z", "2024-02-29", False),
    ("2099-01-01T00:00:00Z", "2025-01-31T00:00:00Z", "2025-01-31", True),
    ("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "1969-12-31", False),
]


@pytest.mark.parametrize("way", [SQL, PYTHON])
@pytest.mark.parametrize("table", [*EVENT_TABLES, "audit_events"])
def test_a_record_counts_for_the_day_it_occurred_unless_the_clock_ran_ahead(table, way):
    sent = []
    for n, (occurred, received, *_) in enumerate(ACTIVITY):
        times = {"occurred_at": occurred, "received_at": received}
        if table == "audit_events":
            times = {"occurredAt": occurred, "received_at": received}
            sent.append(audit(id=str(n), **times))
        else:
            sent.append(event(table, id=str(n), **times))
    warehouse = landed([(f"{table}/a.jsonl", lines(sent))], way)
    assert warehouse.rows(
        f"select _activity_date::varchar, _is_clock_skewed from raw.{table} order by _line"
    ) == [(day, is_skewed) for _, _, day, is_skewed in ACTIVITY]


def edits(table: str) -> list[tuple[str, str]]:
    """(what stands in a plain line, what to put there) such that faults could cancel out."""
    number = {"platform_events": '"status_code":200', "loyalty_events": '"points":10'}
    found = [
        ('"user_id":"usr_1"', '"user_id":7'),
        ('"user_id":"usr_1"', '"user_id" : 7'),
        ('"user_id":"usr_1"', '"user_id":7,"extra":5'),
        ('"user_id":"usr_1"', '"user_id":null,"user_id":"usr_1"'),
        ('"user_id":"usr_1"', '"user_id":"usr_1","user_id":null'),
        ('"user_id":"usr_1"', '"user_id":"usr_1","user_id":"usr_1"'),
        ('"user_id":"usr_1"', '"user_id":null'),
        ('"user_id":"usr_1"', '"user_id":null,"nothing":null'),
        ('"user_id":"usr_1"', '"user_id":nan'),
        ('"user_id":"usr_1"', '"user_id":NaN'),
        ('"user_id":"usr_1"', '"user_id":["usr_1"]'),
        ('"user_id":"usr_1"', '"user_id":{"user_id":"usr_1"}'),
        ('"user_id":"usr_1"', '"USER_ID":"usr_1"'),
        ('"user_id":"usr_1"', '"user_id":"usr_1","USER_ID":"usr_2"'),
        ('"user_id":"usr_1"', '"user_id":"usr_1":"usr_2"'),
        ('"user_id":"usr_1"', '"user_id":":null"'),
        ('"user_id":"usr_1"', '"user_id":"data\'s"'),
        ('"user_id":"usr_1"', '"is_test":true,"is_test":false'),
        ('"user_id":"usr_1"', '"is_test":"true"'),
        ('"user_id":"usr_1"', '"is_test":nan'),
        ('"user_id":"usr_1"', '"is_test": true , "user_id" : "usr_1"'),
        ('"data":{', '"data":null,"data":{'),
        ('"data":{', '"data":{"data":null,'),
        ('"data":{', '"data":{"user_id":"usr_2",'),
        ('"data":{', '"outcome":"success","data":{'),
        ('"data":{', '"data":[],"date":{'),
        ('"data":{', '"data":"x","date":{'),
        ('"data":{', '"data":nan,"date":{'),
        ('"id":', '"id":"evt_0","id":'),
        ('"id":', '"iD":'),
        ('"production"', '"production" '),
        ("}}", "}},"),
        ("}}", ",}}"),
        ("}}", "}} {}"),
    ]
    if table in number:
        name = number[table].rpartition(":")[0]
        values = ["2e2", "200.0", "-0", '"200"', "1.5", "-", "--1", "007", "-nan", "-Infinity"]
        values += ["9223372036854775807", "9223372036854775808", "null", "true", "[1]", "1" * 400]
        found += [(number[table], f"{name}:{value}") for value in values]
    if table == "platform_events":
        values = [
            "1e999",
            "-1e999",
            "nan",
            "-inf",
            "1E5",
            "-0.0",
            "5e-324",
            '"1"',
            "1" * 30,
            "null",
        ]
        found += [('"latency_ms":12.5', f'"latency_ms":{value}') for value in values]
    return found


@pytest.mark.parametrize("table", EVENT_TABLES)
def test_faults_that_could_cancel_out_do_not(table):
    plain = lines([event(table)]).decode()
    sent = []
    for n, (there, instead) in enumerate(edits(table)):
        assert there in plain
        sent.append(plain.replace(there, instead).replace("evt_1", f"evt_{n}").rstrip("\n"))
    sent += [event(table, id=f"d{d}", data=d) for d in ([], [1], [{}], "x", "", 5, True, {})]
    content = lines(sent)
    by_python = landed([(f"{table}/a.jsonl", content)], PYTHON)
    by_sql = landed([(f"{table}/a.jsonl", content)], SQL)
    assert everything(by_sql) == everything(by_python)
    assert by_sql.rows("select count(*) > 10 from raw.rejected_records") == [(True,)]


def test_explicit_nulls_stay_on_the_sql_path(tmp_path, monkeypatch):
    """Extracts that name every field are common."""
    monkeypatch.setattr("landing.lander.FAST_FROM_BYTES", SQL)
    monkeypatch.setattr("landing.lander._FileReader._examine", None)
    warehouse = Warehouse(tmp_path)
    for table in EVENT_TABLES:
        nothing = dict.fromkeys((item.name for item in TABLES[table].fields), None)
        full = {**nothing, **event(table)}
        assert warehouse.land_one(f"{table}/a.jsonl", [full]).accepted == 1
    none = event("platform_events", id="2", data=None)
    assert warehouse.land_one("platform_events/b.jsonl", [none]).accepted == 1


def test_a_row_that_comes_alone_in_its_slice_meets_those_that_wait():
    twice, filler = event(id="twice"), [event(id=str(n), ip="x" * 900) for n in range(4000)]
    content = lines([twice, twice, *filler, twice])
    warehouse = landed([("auth_events/a.jsonl", content)], SQL, slice_bytes=1)
    assert warehouse.rows("select accepted, duplicates from raw.landed_files") == [(4001, 2)]
    assert warehouse.rows("select _line from raw.auth_events where id = 'twice'") == [(1,)]


def test_rows_of_one_file_meet_across_its_slices(tmp_path, monkeypatch):
    monkeypatch.setattr("landing.lander.FAST_FROM_BYTES", SQL)
    monkeypatch.setattr("landing.prescan.SLICE_BYTES", 1)
    warehouse = Warehouse(tmp_path)
    first = [event(id=str(n)) for n in range(5000)]
    assert warehouse.land_one("auth_events/1.jsonl", first).accepted == 5000
    # slices of one block: copies and others stand in different slices than what they meet
    second = [event(id="twice"), event(id="twice")]
    second += [event(id=str(n), user_agent="x" * 500) for n in range(4990, 12_000)]
    second += [event(id="twice")]
    second += [event(id="3"), event(id="11000", user_agent="x" * 500), "oops"]
    second += [event(id="12000", user_id=user) for user in ("u1", "u2", "u1")]
    result = warehouse.land_one("auth_events/2.jsonl", second)
    ended = (result.accepted, result.duplicates, result.conflicts, result.rejected)
    assert ended == (7002, 5, 11, 1)
    assert warehouse.rows("select count(*), count(distinct id) from raw.auth_events") == [
        (12_002, 12_002)
    ]


@pytest.mark.parametrize("table", EVENT_TABLES)
def test_the_plan_of_the_sql_path_keeps_the_order_of_lines(table):
    """A join would not; the optimizer makes one of an `in` with a list."""
    warehouse = Warehouse(Path(tempfile.mkdtemp()))
    source = "select text from (values ('{}')) as t (text)"
    query = stage_sql(TABLES[table], source, event_types()[table], 0, load_rules().prefilter)
    warehouse.connection.execute("set explain_output = 'physical_only'")
    plan = "".join(row[1] for row in warehouse.rows(f"explain {query}")).lower()
    assert "projection" in plan and "join" not in plan


def test_line_numbers_hold_across_buffers_threads_and_slices(tmp_path, monkeypatch):
    monkeypatch.setattr("landing.prescan.SLICE_BYTES", 12 << 20)
    padding = "x" * 2000
    content = lines(
        ""
        if n % 7 == 0
        else event(id=f"evt_{n}", user_agent=padding, ip="\\" if n % 5 == 0 else "")
        for n in range(1, 15_001)
    )
    warehouse = Warehouse(tmp_path)
    result = warehouse.land_one("auth_events/a.jsonl", content)
    assert (result.accepted, result.rejected) == (15_000 - 15_000 // 7, 0)
    assert warehouse.rows("select count(*) from raw.auth_events where id <> 'evt_' || _line") == [
        (0,)
    ]


# ---- any order, any split, doubled


def conflicting(size: int, seed: int) -> list[dict[str, Any]]:
    """Records over few keys, contents and received times, so that all rules meet."""
    chance = random.Random(seed)
    return [
        event(
            id=chance.choice("ab"),
            environment=chance.choice(["production", "production", "sandbox"]),
            user_id=chance.choice(["u1", "u2", "u3"]),
            received_at=f"2025-01-31T10:00:0{chance.randrange(4)}Z",
        )
        for _ in range(size)
    ]


def expected_state(sent: list[dict[str, Any]]):
    """(rows, losers) by definition: per key and content the earliest copy, then the earliest
    content. A tie between contents is left out: None stands for either.
    """
    first: dict[tuple[str, str], dict[str, str]] = {}
    for record in sent:
        contents = first.setdefault((record["environment"], record["id"]), {})
        seen = contents.get(record["user_id"], "9")
        contents[record["user_id"]] = min(seen, record["received_at"])
    return first


@settings(quick, max_examples=40)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 14), data=st.data())
def test_the_order_and_the_split_of_records_change_nothing(seed, size, data):
    sent = conflicting(size, seed)
    reference = landed([("auth_events/all.jsonl", lines(sent))])
    shuffled = data.draw(st.permutations(sent + data.draw(st.sampled_from([[], sent]))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=4)))
    parts = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]
    fast_from, slice_bytes = data.draw(st.sampled_from([(PYTHON, 1 << 26), (SQL, 1)]))
    other = landed(
        [(f"auth_events/{n}.jsonl", lines(part)) for n, part in enumerate(parts)],
        fast_from,
        slice_bytes,
    )
    assert other.content("auth_events") == reference.content("auth_events")
    assert other.conflicts() == reference.conflicts()

    state = expected_state(sent)
    rows = other.rows(
        f"select environment, id, user_id, received_at::varchar, {HASH} from raw.auth_events"
    )
    assert {row[:2] for row in rows} == set(state)
    losers = dict.fromkeys(state, 0)
    hashes = dict(
        other.rows(f"select user_id, any_value({HASH}) from raw.auth_events group by all")
    )
    for environment, key, user, received, _ in rows:
        contents = state[environment, key]
        assert received == min(contents.values())[:19].replace("T", " ")
        assert contents[user] == min(contents.values())
        losers[environment, key] = len(contents) - 1
    found = other.rows("select environment, id, count(*) from raw.id_conflicts group by all")
    assert {(e, i): n for e, i, n in found} == {k: n for k, n in losers.items() if n}
    assert hashes

    # the books: what was accepted is there, or was displaced by another content later
    (accepted,) = other.rows("select sum(accepted) from raw.landed_files")[0]
    displaced = other.rows(f"""
        select count(*) from raw.superseded_records as s
        join (select *, {HASH} as content from raw.auth_events) as a
            using (environment, workspace_id, id)
        where a.content <> s._content_hash
    """)[0][0]
    assert len(rows) <= accepted <= len(rows) + displaced + len(sent)


def test_ties_between_contents_go_to_the_greater_hash():
    for order in (["u1", "u2", "u3"], ["u3", "u2", "u1"], ["u2", "u3", "u1"]):
        files = [(f"auth_events/{n}.jsonl", lines([event(user_id=u)])) for n, u in enumerate(order)]
        warehouse = landed(files)
        ((winner,),) = warehouse.rows(f"select {HASH} from raw.auth_events")
        hashes = [h for (h,) in warehouse.rows("select _content_hash from raw.id_conflicts")]
        assert len(hashes) == 2 and all(winner > loser for loser in hashes)


def test_received_earlier_but_landed_later_wins_and_is_written_down(tmp_path):
    warehouse = Warehouse(tmp_path)
    late = event(user_id="late", received_at="2025-01-31T10:00:05Z", service_id="svc", is_test=True)
    early = event(user_id="early", received_at="2025-01-31T10:00:02Z")
    assert warehouse.land_one("auth_events/1.jsonl", [late]).accepted == 1
    second = warehouse.land_one("auth_events/2.jsonl", [early])
    assert (second.accepted, second.conflicts, second.duplicates) == (1, 0, 0)
    assert warehouse.rows("select user_id, _batch from raw.auth_events") == [("early", 2)]
    assert warehouse.rows("select _file, _batch from raw.id_conflicts") == [
        ("auth_events/1.jsonl", 2)
    ]
    assert warehouse.rows(
        "select user_id, _superseded_batch, _batch from raw.superseded_records"
    ) == [("late", 1, 2)]
    ((day, service, is_test, payload),) = warehouse.rows(
        "select _activity_date::varchar, service_id, is_test, payload from raw.superseded_records"
    )
    assert (day, service, is_test) == ("2025-01-31", "svc", True)
    assert json.loads(payload) == late

    # the loser comes again, received before everything: it wins its place back
    back = {**late, "received_at": "2025-01-31T10:00:01Z"}
    third = warehouse.land_one("auth_events/3.jsonl", [back])
    assert (third.accepted, third.duplicates) == (1, 0)
    assert warehouse.rows("select user_id, _batch from raw.auth_events") == [("late", 3)]
    assert warehouse.rows("select _file from raw.id_conflicts") == [("auth_events/2.jsonl",)]

    # an earlier copy of the same content is a duplicate, yet sets received_at
    again = {**late, "received_at": "2025-01-31T10:00:00Z"}
    fourth = warehouse.land_one("auth_events/4.jsonl", [again])
    assert (fourth.accepted, fourth.duplicates, fourth.conflicts) == (0, 1, 0)
    assert warehouse.rows("select received_at::varchar, _batch from raw.auth_events") == [
        ("2025-01-31 10:00:00", 4)
    ]
    assert warehouse.rows("select count(*) from raw.superseded_records") == [(3,)]

    # audit records have no service and no test flag
    first = warehouse.land_one("audit_events/1.jsonl", [audit(id="a", receivedAt=LATER)])
    assert first.accepted == 1
    warehouse.land_one("audit_events/2.jsonl", [audit(id="a", version=2)])
    assert warehouse.rows("""
        select _activity_date::varchar, service_id, is_test, payload is not null
        from raw.superseded_records where table_name = 'audit_events'
    """) == [("2025-01-31", None, None, True)]

    # and copies of winner and loser change nothing any more
    fifth = warehouse.land_one("auth_events/5.jsonl", [early, late, back])
    assert (fifth.accepted, fifth.duplicates, fifth.conflicts) == (0, 3, 0)


def test_one_tenants_ids_do_not_touch_anothers(tmp_path):
    same = [
        event(),
        event(workspace_id="ws_2"),
        event(environment="sandbox"),
        event(user_id="other"),
    ]
    result = Warehouse(tmp_path).land_one("auth_events/a.jsonl", same)
    assert (result.accepted, result.conflicts) == (3, 1)


def test_entities_are_versions_and_copies_of_a_version_are_duplicates(tmp_path):
    warehouse = Warehouse(tmp_path)
    one, two = entity("users"), entity("users", merged_into="usr_2")
    first = warehouse.land_one("users/1.jsonl", [one, two, one])
    assert (first.accepted, first.duplicates) == (2, 1)
    reordered = dict(reversed(one.items())) | {"created_at": "2025-01-01T01:00:00+01:00"}
    second = warehouse.land_one("users/2.jsonl", [reordered, entity("users", id="usr_3")])
    assert (second.accepted, second.duplicates, second.conflicts) == (1, 1, 0)


def test_identical_audit_records_of_one_file_both_count_and_copies_elsewhere_do_not(tmp_path):
    warehouse = Warehouse(tmp_path)
    view = [audit(), audit(), audit(metadata={**audit()["metadata"], "interval": "day"})]
    first = warehouse.land_one("audit_events/1.jsonl", view)
    assert (first.accepted, first.duplicates) == (3, 0)
    second = warehouse.land_one("audit_events/2.jsonl.gz", pack(lines(view[:1]), ".gz"))
    assert (second.accepted, second.duplicates) == (0, 1)
    thrice = warehouse.land_one("audit_events/3.jsonl", [audit()] * 3)
    assert (thrice.accepted, thrice.duplicates) == (1, 2)
    row = warehouse.rows("""
        select action, environment, workspace_id, project_id, version, actor_type, actor_id,
            impersonator_email, source, range_end_at::varchar, view_interval, ip, user_agent
        from raw.audit_events where view_interval = '' limit 1
    """)[0]
    assert row == (
        "analytics.view",
        "production",
        "ws_1",
        "prj_1",
        1,
        "user",
        "usr_1",
        None,
        "/projects/prj_1/analytics",
        "2025-01-31 23:59:59.999",
        "",
        "203.0.113.1",
        "curl/8.5.0",
    )


# ---- formats


def as_csv(sent: list[dict[str, Any]]) -> bytes:
    names = sorted({key for record in sent for key in record})
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    for record in sent:
        cells = []
        for name in names:
            value = record.get(name)
            if value is None:
                cells.append("")
            elif isinstance(value, bool):
                cells.append("true" if value else "false")
            elif isinstance(value, dict | list):
                cells.append(json.dumps(value, indent=1))
            else:
                cells.append(str(value))
        writer.writerow(cells)
    return out.getvalue().encode()


STRUCT = """struct(
    outcome varchar, provider varchar, method varchar, failure_reason varchar, extra bigint
)"""


def as_parquet(sent: list[dict[str, Any]], home: Path, *, struct: bool, zoned: bool) -> bytes:
    source, target = home / "in.jsonl", home / "out.parquet"
    source.write_bytes(lines(sent))
    kinds = {name: "varchar" for record in sent for name in record}
    kinds |= {"is_test": "boolean", "data": STRUCT if struct else "json"}
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in kinds.items())
    time = "timestamptz" if zoned else "varchar"
    data = "data" if struct else "data::varchar"
    Warehouse(home).connection.execute(f"""
        copy (
            select * replace (
                {data} as data,
                occurred_at::{time} as occurred_at,
                received_at::{time} as received_at
            )
            from read_json('{source}', format = 'newline_delimited', columns = {{{columns}}})
        ) to '{target}' (format parquet)
    """)
    return target.read_bytes()


plain_records = st.lists(
    st.builds(
        lambda n, user, agent, test, extra, outcome: event(
            id=f"evt_{n}",
            user_id=user,
            user_agent=agent,
            is_test=test,
            occurred_at=f"2025-01-31T10:00:{n:02d}.25+01:00",
            data={"outcome": outcome, "provider": None, "extra": extra},
        ),
        st.integers(0, 59),
        st.sampled_from([None, "usr_1", "usr,2", 'usr "3"', "usr\n4", "é"]),
        st.sampled_from([None, "curl/8.5.0", "a, b; c"]),
        st.sampled_from([None, True, False]),
        st.sampled_from([None, 1, -7]),
        st.sampled_from(["success", "failure", "maybe"]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda record: record["id"],
)


@quick
@given(sent=plain_records)
def test_csv_json_lines_and_parquet_land_as_the_same_content(sent):
    by_json = landed([("auth_events/a.jsonl", lines(sent))])
    others = [landed([("auth_events/a.csv", as_csv(sent))])]
    for struct in (True, False):
        for zoned in (True, False):
            with tempfile.TemporaryDirectory() as home:
                content = as_parquet(sent, Path(home), struct=struct, zoned=zoned)
            others.append(landed([("auth_events/a.parquet", content)]))
    for other in others:
        assert other.content("auth_events") == by_json.content("auth_events")
        assert other.rows("select reason, field from raw.rejected_records order by all") == (
            by_json.rows("select reason, field from raw.rejected_records order by all")
        )


def test_the_other_formats_are_copies_of_the_same_records(tmp_path):
    sent = [event(id="a", data={"outcome": "success", "x": {"b": 1, "a": None}}), event(id="b")]
    warehouse = Warehouse(tmp_path)
    assert warehouse.land_one("auth_events/1.jsonl", sent).accepted == 2
    assert warehouse.land_one("auth_events/2.csv", as_csv(sent)).duplicates == 2
    shuffled = [dict(sorted(record.items())) for record in reversed(sent)]
    assert warehouse.land_one("auth_events/3.ndjson", shuffled).duplicates == 2


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("timestamp '2025-01-31 10:00:00'", "time_without_offset"),
        ("timestamp_ns '2025-01-31 10:00:00'", "time_without_offset"),
        ("date '2025-01-31'", "date_without_time"),
        ("1738317600", "wrong_type"),
        ("'2025-01-31T10:00:00'", "time_without_offset"),
    ],
)
def test_a_parquet_time_without_zone_is_rejected(tmp_path, column, reason):
    warehouse = Warehouse(tmp_path)
    path = warehouse.folder / "auth_events" / "a.parquet"
    path.parent.mkdir()
    warehouse.connection.execute(f"""
        copy (
            select 'a' as id, 'logout' as type, {column} as occurred_at,
                'production' as environment, 'w' as workspace_id, 'p' as project_id
        ) to '{path}'
    """)
    (result,) = warehouse.land().files
    assert (result.status, result.rejected) == ("landed", 1)
    assert warehouse.rows("select _line, reason, field from raw.rejected_records") == [
        (1, reason, "occurred_at")
    ]


def test_parquet_numbers_are_not_guessed_into_text(tmp_path):
    warehouse = Warehouse(tmp_path)
    path = warehouse.folder / "platform_events" / "a.parquet"
    path.parent.mkdir()
    warehouse.connection.execute(f"""
        copy (
            select i::varchar as id, 'api.request' as type, '2025-01-31T10:00:00Z' as occurred_at,
                'production' as environment, 'w' as workspace_id, 'p' as project_id,
                if(i = 3, 5, null) as user_id,
                {{'status_code': 200, 'latency_ms': if(i = 2, 'nan'::double, 1.5)}} as data
            from range(1, 4) as t (i)
        ) to '{path}'
    """)
    warehouse.land()
    assert warehouse.rows("select id, status_code, latency_ms from raw.platform_events") == [
        ("1", 200, 1.5)
    ]
    assert [r for (r,) in warehouse.rows("select _line from raw.rejected_records order by 1")] == [
        2,
        3,
    ]


# ---- whatever the bytes, the books balance


@settings(quick, max_examples=60)
@given(data=st.data())
def test_a_mutated_file_is_accounted_for_to_the_line(data):
    compression = data.draw(st.sampled_from(["", ".gz", ".zst"]))
    extension = data.draw(st.sampled_from(["jsonl", "csv"]))
    sent = [event(id=f"evt_{n}", user_agent="é" * n) for n in range(6)]
    content = bytearray(lines(sent) if extension == "jsonl" else as_csv(sent))
    for _ in range(data.draw(st.integers(0, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "double", "insert", "newline"]))
        if kind == "flip":
            content[position] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del content[position : position + data.draw(st.integers(1, 40))]
        elif kind == "double":
            content[position:position] = content[position : position + 30]
        elif kind == "insert":
            content[position:position] = data.draw(st.sampled_from([b"\0", b"\r", b'"', b"\xff"]))
        else:
            content[position:position] = b"\n"
        content = content or bytearray(b"x")
    packed = bytearray(pack(bytes(content), compression))
    if compression and data.draw(st.booleans()):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    warehouse = landed(
        [
            (f"auth_events/a.{extension}{compression}", bytes(packed)),
            ("auth_events/b.jsonl", lines([event(id="neighbour")])),
        ],
        data.draw(st.sampled_from([PYTHON, SQL])),
    )
    (status, total, accepted, duplicates, conflicts, rejected) = warehouse.rows("""
        select status, lines, accepted, duplicates, conflicts, rejected
        from raw.landed_files where path not like '%/b.jsonl'
    """)[0]
    if status == "failed":
        assert compression or extension == "csv"
        assert total == 0
    elif extension == "jsonl":
        assert total == sum(1 for line in bytes(content).split(b"\n") if line.strip())
    assert total == accepted + duplicates + conflicts + rejected
    assert warehouse.rows("select count(*) from raw.rejected_records") == [(rejected,)]
    assert warehouse.rows(
        "select coalesce(sum(duplicate_count), 0) from raw.duplicate_records"
    ) == [(duplicates,)]
    assert warehouse.rows("select count(*) from raw.id_conflicts") == [(conflicts,)]
    assert warehouse.rows("select count(*) from raw.auth_events") == [(accepted + 1,)]
