"""A file is landed once, whole or not at all, and what changes afterwards is refused."""

import hashlib
import os
from datetime import date
from pathlib import Path

import duckdb
import pytest

import landing
from landing import LandingError, Reason, create_raw_schema, land
from landing.contract import TABLES
from landing.discover import days_named
from landing.fastpath import content_hash, key_hash
from landing.schema import BOOKKEEPING
from tests.landing_cases import CLOCK, Warehouse, audit, event, lines, pack


def statuses(warehouse: Warehouse) -> list[tuple[str, str]]:
    return warehouse.rows("select path, status from raw.landed_files order by _batch")


def test_a_second_run_lands_nothing(tmp_path):
    warehouse = Warehouse(tmp_path)
    warehouse.write("auth_events/a.jsonl", [event()])
    warehouse.write("auth_events/broken.jsonl.gz", b"no")
    assert len(warehouse.land().files) == 2
    before = warehouse.rows("select * from raw.landed_files")
    assert warehouse.land().files == []
    assert warehouse.rows("select * from raw.landed_files") == before


def test_the_ledger_row_says_what_happened(tmp_path):
    warehouse = Warehouse(tmp_path)
    path = warehouse.write("auth_events/a.jsonl", [event(), event(), event(user_id="x"), "oops"])
    (result,) = warehouse.land().files
    row = warehouse.rows("""
        select path, table_name, format, status, reason, bytes, mtime_ns, lines, accepted,
            duplicates, conflicts, rejected, covers_from, covers_to, run_id, _batch
        from raw.landed_files
    """)
    status = path.stat()
    day = date(2025, 1, 31)
    assert row == [
        (
            "auth_events/a.jsonl",
            "auth_events",
            "jsonl",
            "landed",
            None,
            status.st_size,
            status.st_mtime_ns,
            4,
            1,
            1,
            1,
            1,
            day,
            day,
            "run_1",
            1,
        )
    ]
    assert (result.batch, result.lines, result.seconds > 0) == (1, 4, True)
    assert warehouse.rows("select _file, _line, _batch from raw.auth_events")[0][0] == row[0][0]
    assert warehouse.rows("select * exclude (_batch) from raw.duplicate_records") == [
        ("auth_events", "auth_events/a.jsonl", 1)
    ]


def test_the_same_bytes_under_another_name_are_recognised_per_table(tmp_path):
    warehouse = Warehouse(tmp_path)
    content = lines([event(), "oops"])
    warehouse.land_one("auth_events/a.jsonl", content)
    copy = warehouse.land_one("auth_events/copy.jsonl", content)
    assert (copy.status, copy.lines, copy.duplicates) == ("same_content", 2, 2)
    elsewhere = warehouse.land_one("session_events/a.jsonl", content)
    assert (elsewhere.status, elsewhere.rejected) == ("landed", 2)
    assert warehouse.rows(
        "select covers_from from raw.landed_files where status = 'same_content'"
    ) == [(date(2025, 1, 31),)]
    assert warehouse.land().files == []


def test_other_bytes_in_a_landed_file_are_refused_and_land_as_a_new_file(tmp_path):
    warehouse = Warehouse(tmp_path)
    warehouse.land_one("auth_events/a.jsonl", [event(id="a")])
    grown = [event(id="a"), event(id="b")]
    changed = warehouse.land_one("auth_events/a.jsonl", grown)
    assert (changed.status, changed.reason, changed.lines) == ("changed", Reason.FILE_CHANGED, 0)
    assert warehouse.rows("select id from raw.auth_events") == [("a",)]
    assert warehouse.land().files == []
    other = warehouse.land_one("auth_events/b.jsonl", grown)
    assert (other.status, other.accepted, other.duplicates) == ("landed", 1, 1)
    assert statuses(warehouse) == [
        ("auth_events/a.jsonl", "landed"),
        ("auth_events/a.jsonl", "changed"),
        ("auth_events/b.jsonl", "landed"),
    ]
    again = warehouse.land_one("auth_events/a.jsonl", [*grown, event(id="c")])
    assert again.status == "changed"
    assert len(statuses(warehouse)) == 3


def test_a_touched_file_with_the_same_bytes_is_not_changed(tmp_path):
    warehouse = Warehouse(tmp_path)
    path = warehouse.write("auth_events/a.jsonl", [event()])
    warehouse.land()
    os.utime(path, ns=(1, 1))
    assert warehouse.land().files == []
    assert warehouse.rows("select status, mtime_ns from raw.landed_files") == [("landed", 1)]


def test_a_failed_file_is_read_anew_when_it_changes(tmp_path):
    warehouse = Warehouse(tmp_path)
    packed = pack(lines([event()]), ".gz")
    assert warehouse.land_one("auth_events/a.jsonl.gz", packed[:-9]).status == "failed"
    assert warehouse.land().files == []
    healed = warehouse.land_one("auth_events/a.jsonl.gz", packed)
    assert (healed.status, healed.accepted) == ("landed", 1)
    assert statuses(warehouse) == [("auth_events/a.jsonl.gz", "landed")]


def test_a_file_that_cannot_be_read_is_tried_in_every_run(tmp_path, monkeypatch):
    warehouse = Warehouse(tmp_path)
    path = warehouse.write("auth_events/a.jsonl", [event()])
    really_open = Path.open

    def refuse(self, *args, **options):
        if self.name == path.name:
            raise PermissionError(13, "Permission denied")
        return really_open(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        (refused,) = warehouse.land().files
    assert (refused.status, refused.reason) == ("failed", Reason.FILE_UNREADABLE)
    (read,) = warehouse.land().files
    assert (read.status, read.accepted) == ("landed", 1)


def test_a_full_disk_is_not_the_files_fault(tmp_path, monkeypatch):
    warehouse = Warehouse(tmp_path)
    warehouse.write("auth_events/a.jsonl", [event()])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("landing.store.FileRows.insert_examined", full)
        with pytest.raises(OSError, match="No space left"):
            warehouse.land()
    assert statuses(warehouse) == []
    assert warehouse.land().files[0].accepted == 1


@pytest.mark.parametrize(
    "name",
    ["a.jsonl.tmp", "a.jsonl.part", ".a.jsonl", "_a.jsonl", ".hidden/a.jsonl", "_tmp/a.jsonl"],
)
def test_what_is_still_being_written_is_left_alone(tmp_path, name):
    warehouse = Warehouse(tmp_path)
    warehouse.write(f"auth_events/{name}", [event()])
    assert warehouse.land().files == []


def test_a_file_that_grows_while_it_is_read_waits_for_the_next_run(tmp_path, monkeypatch):
    warehouse = Warehouse(tmp_path)
    path = warehouse.write("auth_events/a.jsonl", [event(id="a")])
    balance = landing.lander.check_balance

    def grow(*args):
        with path.open("ab") as file:
            file.write(lines([event(id="b")]))
        return balance(*args)

    with monkeypatch.context() as patch:
        patch.setattr("landing.lander.check_balance", grow)
        assert warehouse.land().files == []
    assert warehouse.rows("select count(*) from raw.auth_events") == [(0,)]
    (result,) = warehouse.land().files
    assert (result.status, result.accepted, result.batch) == ("landed", 2, 1)


def test_links_and_odd_files(tmp_path):
    warehouse = Warehouse(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.jsonl").write_bytes(lines([event(id="outside")]))
    inside = warehouse.write("auth_events/real.jsonl", [event(id="inside")])
    folder = inside.parent
    (folder / "linked.jsonl").symlink_to(inside)
    (folder / "leaving.jsonl").symlink_to(outside / "a.jsonl")
    (folder / "folder_link").symlink_to(outside)
    (folder / "dangling.jsonl").symlink_to(folder / "nothing.jsonl")
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "folder.jsonl").mkdir()
    (folder / "folder.jsonl" / "b.jsonl").write_bytes(lines([event(id="b")]))
    found = {Path(f.path).name: (f.status, f.reason) for f in warehouse.land().files}
    assert found == {
        "real.jsonl": ("same_content", None),
        "linked.jsonl": ("landed", None),
        "leaving.jsonl": ("failed", Reason.FILE_LINK),
        "folder_link": ("failed", Reason.FILE_LINK),
        "dangling.jsonl": ("failed", Reason.FILE_UNREADABLE),
        "pipe.jsonl": ("failed", Reason.FILE_NOT_REGULAR),
        "b.jsonl": ("landed", None),
    }
    assert warehouse.rows("select id from raw.auth_events order by 1") == [("b",), ("inside",)]


def test_a_file_name_that_is_not_utf8_is_no_obstacle(tmp_path):
    warehouse = Warehouse(tmp_path)
    folder = warehouse.folder / "auth_events"
    folder.mkdir()
    (folder / os.fsdecode(b"\xff.jsonl")).write_bytes(lines([event()]))
    assert warehouse.land().files[0].path == "auth_events/\\xff.jsonl"
    assert warehouse.land().files == []


def test_a_missing_landing_folder_is_named_with_a_remedy(tmp_path):
    with pytest.raises(LandingError, match=r"nowhere does not exist.*ROLLCALL_LANDING"):
        land(duckdb.connect(), tmp_path / "nowhere", run_id="r", clock=CLOCK)


STEPS = [
    "landing.store.FileRows.insert_examined",
    "landing.lander.check_balance",
    "landing.store.FileRows.insert_rejected",
    "landing.store.FileRows.finish",
    "landing.store.FileRows._settle_ids",
    "landing.ledger.Ledger.write",
    "landing.ledger.Ledger.commit",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_keeps_nothing_of_the_file(tmp_path, monkeypatch, step):
    warehouse = Warehouse(tmp_path, str(tmp_path / "w.duckdb"))
    first = [event(received_at="2025-01-31T10:00:05Z")]
    warehouse.land_one("auth_events/1.jsonl", first)
    second = [event(user_id="x"), event(id="b"), "oops", event(id="b")]
    warehouse.write("auth_events/2.jsonl", second)
    tables = [*TABLES, *BOOKKEEPING]
    before = {name: warehouse.rows(f"select * from raw.{name}") for name in tables}

    class Crash(BaseException):
        pass

    def crash(*_, **__):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(step, crash)
        with pytest.raises(Crash):
            warehouse.land()
    warehouse.connection.close()
    warehouse.connection = duckdb.connect(str(tmp_path / "w.duckdb"))
    assert {name: warehouse.rows(f"select * from raw.{name}") for name in tables} == before

    (result,) = warehouse.land().files
    assert (result.accepted, result.duplicates, result.rejected) == (2, 1, 1)
    assert result.batch == 2


def test_a_file_whose_lines_do_not_add_up_is_not_committed(tmp_path, monkeypatch):
    warehouse = Warehouse(tmp_path)
    warehouse.write("auth_events/a.jsonl", [event(), "oops"])
    with monkeypatch.context() as patch:
        patch.setattr("landing.store.FileRows.insert_rejected", lambda *_: None)
        with pytest.raises(LandingError, match="2 lines read but 1 accounted for"):
            warehouse.land()
    assert warehouse.rows("select count(*) from raw.auth_events") == [(0,)]


def test_batches_grow_by_one_a_transaction(tmp_path):
    warehouse = Warehouse(tmp_path)
    seen = []
    for n in range(3):
        warehouse.write(f"auth_events/{n}.jsonl", [event(id=str(n))])
        warehouse.write(f"auth_events/{n}.txt", b"")
    land(warehouse.connection, warehouse.folder, run_id="r", clock=CLOCK, on_file=seen.append)
    assert [result.batch for result in seen] == [1, 2, 3, 4, 5, 6]
    assert warehouse.land_one("auth_events/9.jsonl", [event(id="9")]).batch == 7


def test_temporary_files_are_gone_after_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    warehouse = Warehouse(tmp_path)
    warehouse.write("auth_events/a.jsonl.gz", pack(lines([event()]), ".gz"))
    warehouse.write("auth_events/b.csv", b"id\n1\n")
    warehouse.write("auth_events/c.jsonl.gz", b"no")
    assert len(warehouse.land().files) == 3
    assert list((tmp_path / "tmp").iterdir()) == []


def test_unknown_fields_are_kept_and_reported_as_drift(tmp_path):
    warehouse = Warehouse(tmp_path)
    data = event()["data"]
    warehouse.land_one(
        "auth_events/a.jsonl",
        [
            event(id="1", colour="red"),
            event(id="2", colour=5),
            event(id="3", colour="blue"),
            event(id="4", data={**data, "foo": {"bar": 1}}),
            event(id="5", nothing=None),
        ],
    )
    assert warehouse.rows("select * exclude (_batch) from raw.schema_drift order by all") == [
        ("auth_events", "colour", "number", 1, "auth_events/a.jsonl", 2),
        ("auth_events", "colour", "string", 2, "auth_events/a.jsonl", 1),
        ("auth_events", "data.foo", "object", 1, "auth_events/a.jsonl", 4),
    ]
    assert warehouse.rows("select payload ->> '$.colour' from raw.auth_events order by id") == [
        ("red",),
        ("5",),
        ("blue",),
        (None,),
        (None,),
    ]
    free = event("session_events", type="custom.checkout", data={"cart": 7, "name": 5, "unit": "x"})
    assert warehouse.land_one("session_events/a.jsonl", [free]).accepted == 1
    assert warehouse.rows("select name, unit from raw.session_events") == [(None, "x")]
    assert warehouse.rows("select count(*) from raw.schema_drift") == [(3,)]


def test_agents_are_classified_once(tmp_path):
    warehouse = Warehouse(tmp_path)
    warehouse.land_one(
        "auth_events/a.jsonl",
        [event(id="1", user_agent="curl/8.5.0"), event(id="2", user_agent="curl/8.5.0")],
    )
    warehouse.land_one("audit_events/a.jsonl", [audit()])
    assert warehouse.rows("select * from raw.user_agents") == [("curl/8.5.0", "Robot", 1)]


@pytest.mark.parametrize(
    ("path", "days"),
    [
        ("auth_events/2025-01-31.jsonl", ("2025-01-31", "2025-01-31")),
        ("auth_events/20250131.jsonl.gz", ("2025-01-31", "2025-01-31")),
        ("auth_events/20250131T0500.jsonl.gz", ("2025-01-31", "2025-01-31")),
        ("auth_events/2025-01-31T05.jsonl", ("2025-01-31", "2025-01-31")),
        ("auth_events/dt=2025-01-31/part-0.jsonl", ("2025-01-31", "2025-01-31")),
        ("auth_events/2025-02.jsonl", ("2025-02-01", "2025-02-28")),
        ("auth_events/2024-12/all.jsonl", ("2024-12-01", "2024-12-31")),
        ("auth_events/2025-01/2025-01-31.jsonl", ("2025-01-31", "2025-01-31")),
        ("auth_events/2025-01-01_2025-01-07.jsonl", ("2025-01-01", "2025-01-07")),
        ("auth_events/all.jsonl", None),
        ("auth_events/2025-02-30.jsonl", None),
        ("auth_events/2025-13.jsonl", None),
        ("auth_events/550e8400-e29b-41d4-a716-446655440000.jsonl", None),
        ("auth_events/123456789012.jsonl", None),
    ],
)
def test_a_path_names_days(path, days):
    found = days_named(path)
    assert (found and tuple(map(str, found))) == days


def test_coverage_is_the_named_day_or_the_received_days(tmp_path):
    warehouse = Warehouse(tmp_path)
    warehouse.write("auth_events/2025-01-05.jsonl", b"")
    warehouse.write("auth_events/empty.jsonl", b"\n")
    warehouse.write(
        "auth_events/days.jsonl",
        [
            event(
                id="1", received_at="2025-01-10T23:30:00-02:00", occurred_at="2024-01-01T00:00:00Z"
            ),
            event(id="2", received_at="2025-01-08T00:00:00Z"),
        ],
    )
    warehouse.write("auth_events/zz_2025-01-06.jsonl.gz", b"broken")
    warehouse.land()
    assert warehouse.rows(
        "select path, covers_from::varchar, covers_to::varchar from raw.landed_files order by 1"
    ) == [
        ("auth_events/2025-01-05.jsonl", "2025-01-05", "2025-01-05"),
        ("auth_events/days.jsonl", "2025-01-08", "2025-01-11"),
        ("auth_events/empty.jsonl", None, None),
        ("auth_events/zz_2025-01-06.jsonl.gz", None, None),
    ]


def test_what_the_same_content_covers_is_not_told_by_the_name_that_landed_first(tmp_path):
    content = lines([event()])
    covered = []
    for names in (("2025-01-05", "copy"), ("copy", "2025-01-05")):
        warehouse = Warehouse(tmp_path / names[0])
        for name in names:
            warehouse.land_one(f"auth_events/{name}.jsonl", content)
        covered.append(
            warehouse.rows("select path, covers_from, covers_to from raw.landed_files order by 1")
        )
    assert covered[0] == covered[1]
    assert [row[1].day for row in covered[0]] == [5, 31]


def test_duplicates_cover_their_days_too(tmp_path):
    warehouse = Warehouse(tmp_path)
    warehouse.land_one("auth_events/a.jsonl", [event(id="1")])
    warehouse.land_one("auth_events/b.jsonl", [event(id="1"), "oops"])
    assert warehouse.rows("select distinct covers_to::varchar from raw.landed_files") == [
        ("2025-01-31",)
    ]


def test_the_schema_is_made_once_and_holds_the_contracts_columns(tmp_path):
    connection = duckdb.connect()
    create_raw_schema(connection)
    create_raw_schema(connection)
    columns = [c for (c, *_) in connection.execute("describe raw.session_events").fetchall()]
    assert columns == [
        "id",
        "type",
        "occurred_at",
        "received_at",
        "environment",
        "workspace_id",
        "project_id",
        "user_id",
        "session_id",
        "service_id",
        "trace_id",
        "api_key_id",
        "anonymous_id",
        "impersonator_id",
        "is_test",
        "ip",
        "user_agent",
        "reason",
        "revoked_by_kind",
        "name",
        "numeric_value",
        "text_value",
        "unit",
        "journey_id",
        "journey_name",
        "step",
        "action_name",
        "_activity_date",
        "_is_clock_skewed",
        "_extras_hash",
        "payload",
        "_key_hash",
        "_file",
        "_line",
        "_landed_at",
        "_batch",
    ]
    days = connection.execute("""
        select table_name, any_value(data_type) from duckdb_columns()
        where schema_name = 'raw' and column_name = '_activity_date' group by all order by 1
    """).fetchall()
    dated = [name for name, table in TABLES.items() if table.family != "entity"]
    assert days == [(name, "DATE") for name in sorted([*dated, "superseded_records"])]
    kinds = connection.execute("""
        select distinct data_type from duckdb_columns()
        where schema_name = 'raw' and data_type like 'TIMESTAMP%'
    """).fetchall()
    assert kinds == [("TIMESTAMP",)]


def test_metrics_keep_numbers_and_text_apart(tmp_path):
    warehouse = Warehouse(tmp_path)
    metric = [
        event("session_events", id=str(n), type="metric.logged", data={"name": "m", "value": v})
        for n, v in enumerate([5, "5", 2.5, ""])
    ]
    warehouse.land_one("session_events/a.jsonl", metric)
    assert warehouse.rows(
        "select numeric_value, text_value from raw.session_events order by id"
    ) == [(5.0, None), (None, "5"), (2.5, None), (None, "")]


def test_content_hashes_stay_the_same():
    """They are stored for ever: a change would turn every copy into a conflict."""
    connection = duckdb.connect()
    hashed, key = connection.execute(f"""
        select {content_hash(TABLES["platform_events"].columns)},
            {key_hash(("workspace_id", "environment", "id"))}
        from (
            select 'a' as id, 'api.request' as type, timestamp '2025-01-31 10:00:00.5' as
                occurred_at, null::timestamp as received_at, 'production' as environment,
                'w' as workspace_id, 'p' as project_id, null as user_id, null as session_id,
                null as service_id, null as trace_id, null as api_key_id, null as anonymous_id,
                null as impersonator_id, false as is_test, 'é' as ip, null as user_agent,
                'GET' as method, null as route, 200::bigint as status_code,
                0.1::double as latency_ms, null::boolean as safety_flagged,
                null as safety_category, null::varchar as _extras_hash
        )
    """).fetchall()[0]
    text = "".join(
        f"\x1e{part}"
        for part in [
            "type=api.request",
            "occurred_at=1738317600500000",
            "environment=production",
            "workspace_id=w",
            "project_id=p",
            "is_test=false",
            "ip=é",
            "method=GET",
            "status_code=200",
            "latency_ms=0.1",
        ]
    )
    assert hashed == hashlib.md5(text.encode()).hexdigest()
    digest = hashlib.md5(b"w\x1fproduction\x1fa").digest()
    assert key == int.from_bytes(digest[8:], "little")


def test_a_warehouse_draws_its_own_key_once(tmp_path):
    keys = []
    for name in ("one", "other"):
        warehouse = Warehouse(tmp_path / name)
        # as an earlier version made it
        warehouse.connection.execute(
            "create schema raw; create table raw.pseudonym_keys (key text)"
        )
        warehouse.land()
        keys.append(warehouse.rows("from raw.pseudonym_keys"))
        warehouse.land()
        assert warehouse.rows("from raw.pseudonym_keys") == keys[-1]
    [(first_id, inner, outer)], [(other_id, other_inner, _)] = keys
    assert (first_id, other_id, len(inner), len(outer)) == ("p1", "p1", 64, 64)
    assert inner != other_inner
    # the second half of a block is padding: RFC 2104
    assert (set(inner[32:]), set(outer[32:])) == ({0x36}, {0x5C})


def test_lines_are_noted_by_the_day_they_were_received(tmp_path):
    warehouse = Warehouse(tmp_path)
    good = [event(id="a"), event(id="a"), event(id="b", received_at="2025-02-01T00:00:00Z")]
    bad = [event(type="no_such_type", received_at="2025-01-20T00:00:00Z"), "oops"]
    sandbox = [event(environment="sandbox", received_at="2025-02-01T06:00:00Z")]
    warehouse.write("auth_events/1.jsonl", [*good, *bad, *sandbox])
    warehouse.write("auth_events/2-2025-03-01.jsonl", [*good, *bad, *sandbox])  # the same content
    warehouse.write("users/1.jsonl", ["oops"])  # entities are received on no day
    warehouse.land()
    day = event()["occurred_at"][:10]
    expected = [
        (None, "2025-02-01", 1, 1),
        ("production", "2025-01-20", 1, 1),
        ("production", day, 2, 0),
        ("production", "2025-02-01", 1, 0),
        ("sandbox", "2025-02-01", 1, 0),
    ]
    columns = "environment, received_date::varchar, line_count, rejected_count"
    for number, rejected in (("1", 1), ("2", 0)):
        assert warehouse.rows(
            f"select {columns} from raw.received_lines where _file like 'auth_events/{number}%'"
            " order by environment nulls first, received_date"
        ) == [(*row[:3], row[3] * rejected) for row in expected]
    assert warehouse.rows("select distinct table_name from raw.received_lines") == [
        ("auth_events",)
    ]
