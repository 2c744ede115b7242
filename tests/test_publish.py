"""Write, audit, publish: readers see one whole audited version after the other, never less.

The switch of files, the gates in front of it, and what is decided from what was built.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project import audits, builds, snapshots
from dagster_project.builds import Build, Inputs
from dagster_project.defs.checks import required_gates
from dagster_project.defs.publish import publish_version
from dagster_project.snapshots import DAYS_KEPT, VERSIONS_KEPT, Version
from dagster_project.warehouse import Warehouse

DIGEST = "0123456789ab"
INPUTS = Inputs("a warehouse", 7, "code", "logic")
COMPLETE = Build("b1", "complete", INPUTS.digest, "logic")
GATES = required_gates("production")
OPEN = dict.fromkeys(GATES, True)

VERSIONS = st.builds(
    Version,
    st.integers(1, 10**8),
    st.integers(0, 10**12),
    st.text("0123456789abcdef", min_size=12, max_size=12),
)


@pytest.fixture
def at(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "home", tmp_path / "landing", lock_seconds=0)
    warehouse.prepare_folders()
    return warehouse


def build_marts(at: Warehouse, number: int, rows: int = 1) -> None:
    """What dbt would do: all marts of production say the same number."""
    with at.connect_marts("production") as connection:
        connection.execute("create schema if not exists production")
        for mart in ("dim_one", "fct_two"):
            connection.execute(
                f"create or replace table production.{mart} as"
                f" select {number} as n from range({rows})"
            )


def publish(at: Warehouse, number: int) -> Path:
    build_marts(at, number)
    inputs = Inputs("a warehouse", number, "code", "logic")
    return publish_version(at, "production", inputs, ["dim_one", "fct_two"]).path


# names and what is kept


@given(VERSIONS)
def test_a_name_says_what_the_version_is(version: Version) -> None:
    assert snapshots.parse_version(version.file_name) == version


@pytest.mark.parametrize("name", ["latest.duckdb", "v1_b1_0123456789ab.duckdb", "v000001.duckdb"])
def test_other_names_are_no_versions(name: str) -> None:
    assert snapshots.parse_version(name) is None


MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2025, 4, 30))


@st.composite
def histories(draw: st.DrawFn) -> dict[Version, datetime]:
    """Versions, each published later than those with a smaller number."""
    versions = draw(st.lists(VERSIONS, min_size=1, max_size=60, unique_by=lambda v: v.number))
    moments = draw(st.lists(MOMENTS, min_size=len(versions), max_size=len(versions)))
    return dict(zip(sorted(versions), sorted(moments), strict=True))


@given(histories(), st.data())
def test_the_newest_versions_and_the_last_of_each_day_are_kept_and_none_from_the_future(
    published: dict[Version, datetime], data: st.DataObject
) -> None:
    current = data.draw(st.sampled_from(sorted(published)))
    deleted = set(snapshots.superfluous(published, current))
    kept = set(published) - deleted
    known = sorted(version for version in published if version <= current)
    assert current in kept
    assert max(kept) == current
    assert kept >= set(known[-VERSIONS_KEPT:])
    days = sorted({published[version].date() for version in known})
    for day in days:
        [*_, last] = [version for version in known if published[version].date() == day]
        assert (last in kept) == (day in days[-DAYS_KEPT:] or last in known[-VERSIONS_KEPT:])
    assert len(kept) <= DAYS_KEPT + VERSIONS_KEPT - 1
    assert snapshots.next_version(published, 1, DIGEST) > max(published)


def test_of_many_days_with_a_version_or_two_the_newest_thirty_are_kept() -> None:
    published = {
        Version(number, number, DIGEST): datetime(2025, 1, 1) + timedelta(days=number // 2)
        for number in range(2 * DAYS_KEPT + 20)
    }
    old = snapshots.superfluous(published, max(published))
    kept = [version.number for version in sorted(set(published) - set(old))]
    lasts = [number for number in range(2 * DAYS_KEPT + 20) if number % 2][-DAYS_KEPT:]
    assert kept == sorted({*lasts, lasts[-1] - 1})
    assert len(kept) == DAYS_KEPT + 1


@given(histories(), st.data())
def test_as_of_a_day_is_the_last_version_published_by_its_end(
    published: dict[Version, datetime], data: st.DataObject
) -> None:
    current = data.draw(st.sampled_from(sorted(published)))
    day = data.draw(MOMENTS).date()
    found = snapshots.published_by(published, day, current)
    candidates = [v for v in published if v <= current and published[v].date() <= day]
    assert found == (max(candidates) if candidates else None)


# files


def test_a_published_file_holds_the_marts_and_nothing_else(at: Warehouse) -> None:
    build_marts(at, 1, rows=3)
    with at.connect_marts("production") as connection:
        connection.execute("create table production.fct_two__dbt_tmp as select 1")
        connection.execute("create view production.removed_model as select 1")
        connection.execute("create table main.stray as select 1")
    report = publish_version(at, "production", INPUTS, ["dim_one", "fct_two"])
    path = report.path
    assert report.rows == {"dim_one": 3, "fct_two": 3}
    assert os.readlink(at.latest("production")) == path.name  # noqa: PTH115
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["latest.duckdb", path.name]
    with at.connect_published("production") as connection:
        tables = "select table_schema, table_name from information_schema.tables order by all"
        assert connection.execute(tables).fetchall() == [
            ("explained", "measures"),
            ("production", "dim_one"),
            ("production", "fct_two"),
            ("published", "batches"),
            ("published", "parts"),
            ("published", "version"),
        ]


def test_a_copy_that_lacks_a_mart_is_not_switched_to(at: Warehouse) -> None:
    first = publish(at, 1)
    with pytest.raises(Exception, match="lacks fct_three"):
        publish_version(at, "production", INPUTS, ["dim_one", "fct_two", "fct_three"])
    assert at.published_version("production") == first


def test_old_versions_go_when_enough_newer_ones_stand(at: Warehouse) -> None:
    paths = [publish(at, number) for number in range(1, VERSIONS_KEPT + 3)]
    standing = sorted(path.name for path in at.published_folder("production").glob("v*"))
    assert standing == [path.name for path in paths[-VERSIONS_KEPT:]]


READER = """
import sys, duckdb
path, last, looks = sys.argv[1], 0, 0
print("reading", flush=True)
while last < int(sys.argv[2]):
    connection = duckdb.connect(path, read_only=True)
    one = connection.execute("select n from production.dim_one").fetchall()[0][0]
    two = connection.execute("select n from production.fct_two").fetchall()[0][0]
    connection.close()
    assert one == two, f"mixed: {one} and {two}"
    assert one >= last, f"backwards: {last} then {one}"
    last, looks = one, looks + 1
print(looks)
"""


def test_a_reader_never_waits_fails_or_goes_back_while_versions_are_published(
    at: Warehouse,
) -> None:
    publish(at, 1)
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(at.latest("production")), "15"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    for number in range(2, 16):
        publish(at, number)
    looks, errors = reader.communicate(timeout=60)
    assert reader.returncode == 0, errors
    assert int(looks) > 1


def test_a_copy_is_the_same_bytes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(3_000_001))
    target.write_bytes(b"longer than nothing")
    snapshots.copy_bytes(source, target)
    assert target.read_bytes() == source.read_bytes()


def test_a_copy_between_file_systems_is_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # some file systems copy a part before they refuse
    whole, calls = os.copy_file_range, []

    def refuse(source: int, target: int, count: int) -> int:
        calls.append(count)
        if len(calls) > 1:
            raise OSError("not on this file system")
        return whole(source, target, 1000)

    monkeypatch.setattr(os, "copy_file_range", refuse)
    test_a_copy_is_the_same_bytes(tmp_path)
    assert len(calls) == 2


# decisions


@pytest.mark.parametrize(
    ("build", "gates", "reason"),
    [
        (COMPLETE, OPEN, None),
        (None, OPEN, "absent"),
        (Build("b1", "building", INPUTS.digest, "logic"), OPEN, "building"),
        (Build("b1", "partial", INPUTS.digest, "logic"), OPEN, "partial"),
        (Build("b1", "complete", "of other inputs", "logic"), OPEN, "after the last build"),
        (COMPLETE, {**OPEN, GATES[0]: False}, f"failed: {GATES[0]}"),
        (COMPLETE, {GATES[0]: True}, f"not checked since the last build: {GATES[1]}"),
        (COMPLETE, {}, "not checked"),
    ],
)
def test_only_a_complete_build_that_passed_every_gate_is_published(
    build: Build | None, gates: dict[str, bool], reason: str | None
) -> None:
    refusal = builds.reason_not_to_publish(build, INPUTS, gates, GATES)
    assert (refusal is None) == (reason is None)
    assert (reason or "") in (refusal or "")


@pytest.mark.parametrize(
    "changed",
    [
        Inputs("another warehouse", 7, "code", "logic"),
        Inputs("a warehouse", 8, "code", "logic"),
        Inputs("a warehouse", 7, "other code", "logic"),
    ],
)
def test_a_build_is_needed_whenever_an_input_changed(changed: Inputs) -> None:
    assert not builds.needs_build(INPUTS.digest, INPUTS, marts_exist=True)
    assert builds.needs_build(INPUTS.digest, changed, marts_exist=True)
    assert builds.needs_build(INPUTS.digest, INPUTS, marts_exist=False)
    assert builds.needs_build(None, INPUTS, marts_exist=True)


def test_everything_is_computed_anew_when_what_decides_rows_changed() -> None:
    assert not builds.needs_full_refresh(None, INPUTS)
    assert not builds.needs_full_refresh(COMPLETE, INPUTS)
    assert builds.needs_full_refresh(Build("b0", "building", "x", "older logic"), INPUTS)


def test_fingerprints_tell_logic_from_words(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name in ("models/m.sql", "models/_m.yml", "tests/t.sql", "seeds/s.csv", "target/x.sql"):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    code, logic = builds.fingerprints([project])

    def after(name: str) -> tuple[bool, bool]:
        """Whether (code, logic) differ once a file says something else."""
        path = project / name
        path.write_text("2")
        now = builds.fingerprints([project])
        path.write_text("1")
        return now[0] != code, now[1] != logic

    assert after("models/m.sql") == (True, True)
    assert after("seeds/s.csv") == (True, True)
    assert after("models/_m.yml") == (True, False)
    assert after("tests/t.sql") == (True, False)
    assert after("target/x.sql") == (False, False)


def test_gates_of_an_earlier_build_do_not_open_for_a_later_one() -> None:
    with duckdb.connect() as connection:
        builds.create_bookkeeping(connection)
        builds.create_bookkeeping(connection)
        builds.begin_build(connection, "production", "b1", INPUTS)
        builds.end_build(connection, "production", "complete", INPUTS)
        builds.note_gates(connection, "production", OPEN)
        assert builds.read_build(connection, "production") == COMPLETE
        assert builds.read_gates(connection, "production") == OPEN
        assert builds.read_gates(connection, "sandbox") == {}
        builds.begin_build(connection, "production", "b2", INPUTS)
        assert builds.read_gates(connection, "production") == {}
        assert builds.read_build(connection, "production") == Build(
            "b2", "building", INPUTS.digest, "logic"
        )


# gates


@pytest.fixture
def raw() -> duckdb.DuckDBPyConnection:
    """Three events of production and one of sandbox, landed, staged and in a mart."""
    connection = duckdb.connect()
    connection.execute(
        """
        create schema raw; create schema production_staging;
        attach ':memory:' as production_marts; create schema production_marts.production;
        create table raw.auth_events (
            workspace_id varchar, id varchar, environment varchar, _batch bigint default 2
        );
        insert into raw.auth_events (workspace_id, id, environment) values
            ('w', 'a', 'production'), ('w', 'b', 'production'), ('v', 'a', 'production'),
            ('w', 'c', 'sandbox');
        create table raw.landed_files (
            table_name varchar, lines bigint, accepted bigint, duplicates bigint,
            conflicts bigint, rejected bigint, path varchar, _batch bigint
        );
        insert into raw.landed_files values
            ('auth_events', 10, 6, 2, 1, 1, 'a.jsonl', 2), (null, 0, 0, 0, 0, 0, 'b', 3);
        create table raw.received_lines (
            _file varchar, line_count bigint, rejected_count bigint, _batch bigint
        );
        insert into raw.received_lines values ('a.jsonl', 7, 1, 2), ('a.jsonl', 3, 0, 2);
        create table raw.superseded_records (table_name varchar, is_same_content boolean);
        insert into raw.superseded_records values ('auth_events', false);
        create table raw.rejected_records (table_name varchar);
        insert into raw.rejected_records values ('auth_events');
        create table raw.purged_records (
            table_name varchar, accepted_count bigint, superseded_count bigint
        );
        insert into raw.purged_records values ('auth_events', 1, 0);
        create schema production_state;
        create table production_state.build as
            select 2 as built_batch, 1 as checked_batch, 2 as batch;
        create table production_staging.stg_auth_events (
            workspace_id varchar, event_id varchar, _batch bigint default 2
        );
        insert into production_staging.stg_auth_events
            select workspace_id, id, _batch from raw.auth_events where environment = 'production';
        create table production_marts.production.fct_auth as
            select environment from raw.auth_events where environment = 'production';
        """
    )
    return connection


def verdicts(connection: duckdb.DuckDBPyConnection) -> tuple[bool, bool, bool]:
    """Ledger, staging, wall."""
    [ledger] = audits.account_for_every_line(connection, ["auth_events"])
    [staged] = audits.compare_staged_with_raw(connection, "production", ["auth_events"])
    [wall] = audits.find_strangers(connection, "production", ["fct_auth"])
    return ledger.is_passed, staged.is_passed, wall.is_passed


def test_gates_pass_what_is_right(raw: duckdb.DuckDBPyConnection) -> None:
    assert verdicts(raw) == (True, True, True)
    [ledger] = audits.account_for_every_line(raw, ["auth_events"])
    assert ledger.numbers["lines"] == 10
    assert ledger.numbers["rows"] == 4
    [empty] = audits.account_for_every_line(
        raw.execute("create table raw.users (id varchar)"), ["users"]
    )
    assert empty.is_passed


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("delete from raw.auth_events where id = 'c'", (False, True, True)),
        ("insert into raw.auth_events values ('w', 'd', 'sandbox', 2)", (False, True, True)),
        ("update raw.landed_files set rejected = 2", (False, True, True)),
        ("update raw.landed_files set lines = null", (False, True, True)),
        ("delete from raw.rejected_records", (False, True, True)),
        ("delete from raw.purged_records", (False, True, True)),
        ("update raw.received_lines set line_count = 4", (False, True, True)),
        ("delete from raw.received_lines where rejected_count = 1", (False, True, True)),
        ("update raw.auth_events set environment = 'test' where id = 'c'", (True, False, True)),
        ("update raw.auth_events set environment = null where id = 'c'", (True, False, True)),
        (
            "update raw.auth_events set environment = 'sandbox' where id = 'b'",
            (True, False, True),
        ),
        (
            "delete from production_staging.stg_auth_events where event_id = 'b'",
            (True, False, True),
        ),
        (
            "insert into production_staging.stg_auth_events values ('w', 'b', 2)",
            (True, False, True),
        ),
        (
            "update production_staging.stg_auth_events set event_id = 'c' where event_id = 'b'",
            (True, False, True),
        ),
        (
            "update production_staging.stg_auth_events set workspace_id = 'v' where event_id = 'b'",
            (True, False, True),
        ),
        (
            "insert into production_marts.production.fct_auth values ('sandbox')",
            (True, True, False),
        ),
        ("insert into production_marts.production.fct_auth values (null)", (True, True, False)),
    ],
)
def test_gates_stop_every_fault(
    raw: duckdb.DuckDBPyConnection, fault: str, expected: tuple[bool, bool, bool]
) -> None:
    raw.execute(fault)
    assert verdicts(raw) == expected
