"""Publishing costs what changed: which parts are written, kept, deleted, and what readers see."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from datetime import date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import duckdb
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from published import (
    DAILY,
    build,
    inputs_at,
    numbers_seen,
    open_home,
    publish,
    publish_number,
    read_events,
)

from dagster_project import contents, parts, snapshots, worklist
from dagster_project.defs.publish import still_right
from dagster_project.parts import DAYS_PAST_MONTH, NO_DAY, DailyMart, Span
from dagster_project.warehouse import Warehouse, only_reads, open_locked_down

NEW_YEAR = date(2025, 1, 1)
DAYS = st.integers(0, 400).map(lambda n: NEW_YEAR + timedelta(days=n))


@pytest.fixture
def at(tmp_path: Path) -> Warehouse:
    return open_home(tmp_path)


def days_of(span: Span) -> set[date]:
    assert span.first and span.last
    return {span.first + timedelta(days=n) for n in range((span.last - span.first).days + 1)}


# which spans


def test_a_month_becomes_one_part_when_the_newest_day_is_well_past_it() -> None:
    end = date(2024, 2, 29)
    due = end + timedelta(days=DAYS_PAST_MONTH)
    for day in (date(2024, 2, 1), date(2024, 2, 14), end):
        assert parts.span_of(day, due) == Span(date(2024, 2, 1), end)
        assert parts.span_of(day, due - timedelta(days=1)) == Span(day, day)
        assert parts.span_of(day, day) == Span(day, day)


@given(DAYS, DAYS)
def test_spans_of_days_never_overlap(day: date, other: date) -> None:
    newest = max(day, other)
    one, two = parts.span_of(day, newest), parts.span_of(other, newest)
    assert day in days_of(one)
    assert one == two or not days_of(one) & days_of(two)


@given(st.lists(st.sets(DAYS, max_size=8), min_size=1, max_size=6), st.data())
def test_exactly_what_holds_a_changed_day_is_written_and_months_that_are_due(
    batches: list[set[date]], data: st.DataObject
) -> None:
    standing: set[Span] = set()
    known: set[date] = set()
    for changed in batches:
        lost = data.draw(st.sets(st.sampled_from(sorted(standing, key=str)))) if standing else set()
        written = parts.spans_to_write(standing, changed, lost)
        kept = {span for span in standing if not parts.is_replaced(span, written)}
        known |= changed
        after = written | kept
        assert sum(len(days_of(span)) for span in after) == len(set().union(*map(days_of, after)))
        assert known <= set().union(set(), *map(days_of, after))
        assert changed <= set().union(set(), *map(days_of, written))
        assert not lost & kept
        newest = max(known, default=None)
        for span in written:
            assert newest
            is_due = parts.span_of(span.last or newest, newest) == span
            assert days_of(span) & changed or span in lost or (is_due and span not in standing)
        assert {span for span in after if span.first == span.last} <= {
            parts.span_of(day, newest) for day in known if newest
        }
        # some days become empty, and their parts with them
        standing = data.draw(st.sets(st.sampled_from(sorted(after, key=str)))) if after else set()
        known = {day for day in known if any(span.covers(day) for span in standing)}


# what is published


STEPS = st.lists(
    st.dictionaries(
        st.sampled_from([f"e{n}" for n in range(12)]),
        st.one_of(
            st.none(),
            st.sampled_from(["no day"]),
            st.sampled_from(range(0, 2 * DAYS_PAST_MONTH + 60, 9)),
        ),
        max_size=6,
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=12, deadline=None)
@given(STEPS)
def test_readers_see_all_rows_and_only_parts_of_changed_days_are_new(
    steps: list[dict[str, str | int | None]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        at = open_home(Path(folder))
        events: dict[str, date | None] = {}
        files: dict[str, bytes] = {}
        for number, step in enumerate(steps, start=1):
            changed = set()
            for name, offset in step.items():
                changed.add(events.pop(name, None))
                if offset is not None:
                    is_dated = isinstance(offset, int)
                    events[name] = NEW_YEAR + timedelta(days=offset) if is_dated else None
                    changed.add(events[name])
            changed.discard(None)
            build(at, number, events, changed)
            report = publish(at, inputs_at(number))
            with at.connect_published("production") as connection:
                assert read_events(connection) == events
            spans = [part.span for part in report.parts]
            assert sum(part.row_count for part in report.parts) == len(events)
            assert [span for span in spans if span == NO_DAY] == [NO_DAY] * (
                not events or None in events.values()
            )
            assert all(part.row_count for part in report.parts if part.span != NO_DAY)
            newest = max((day for day in {*events.values(), *changed} if day), default=None)
            for part in report.parts:
                assert part.is_whole
                touched = any(part.span.covers(day) for day in changed)
                if part.path.name in files:
                    assert part.path.read_bytes() == files[part.path.name]
                    assert not touched
                elif part.span != NO_DAY and not touched:
                    # not changed, yet new: its month has become one part
                    assert newest and part.span.first != part.span.last
                    assert parts.span_of(part.span.last, newest) == part.span  # type: ignore[arg-type]
            for path in at.published_folder("production").glob("parts/*/*"):
                files[path.name] = path.read_bytes()


def test_bytes_of_a_part_are_a_function_of_its_rows(at: Warehouse) -> None:
    events = {f"e{n}": NEW_YEAR for n in range(1000)}
    build(at, 1, events, [NEW_YEAR])
    [first] = publish(at, inputs_at(1)).parts
    build(at, 1, dict(reversed(events.items())))
    [second] = publish(at, inputs_at(1, logic="other")).parts
    assert first.path != second.path
    assert first.path.read_bytes() == second.path.read_bytes()


def test_a_mart_without_a_key_is_in_order_too(at: Warehouse) -> None:
    keyless = [DailyMart("fct_events", "happened_on", "int_days_changed")]
    build(at, 1, {"b": NEW_YEAR, "a": NEW_YEAR})
    [part] = publish(at, inputs_at(1), keyless).parts
    assert [row[0] for row in duckdb.sql(f"from '{part.path}'").fetchall()] == ["a", "b"]


@pytest.mark.parametrize(
    ("later", "daily", "is_all_new"),
    [
        (inputs_at(2), DAILY, False),
        (inputs_at(2, logic="other"), DAILY, True),
        (inputs_at(2, warehouse="other"), DAILY, True),
        (
            inputs_at(2),
            [DailyMart("fct_events", "happened_on + 0", "int_days_changed", "auth_events")],
            True,
        ),
    ],
)
def test_everything_is_written_anew_when_parts_can_not_be_trusted(
    at: Warehouse, later: contents.Inputs, daily: list[DailyMart], is_all_new: bool
) -> None:
    events = {"a": NEW_YEAR, "b": NEW_YEAR + timedelta(days=1)}
    build(at, 1, events, events.values())
    publish(at, inputs_at(1))
    build(at, 2, events, [NEW_YEAR])
    report = publish(at, later, daily)
    assert len(report.parts) == 2
    assert len(report.written) == (2 if is_all_new else 1)


def test_a_log_entry_of_another_table_or_an_earlier_batch_costs_nothing(at: Warehouse) -> None:
    events = {"a": NEW_YEAR, "b": NEW_YEAR + timedelta(days=1)}
    build(at, 3, events, events.values())
    publish(at, inputs_at(3))
    with at.connect() as connection:
        connection.execute(
            "insert into production_intermediate.int_days_changed values"
            f" ('session_events', '{NEW_YEAR}', 4), ('auth_events', '{NEW_YEAR}', 3)"
        )
    assert publish(at, inputs_at(4)).written == []
    every_table = [DailyMart("fct_events", "happened_on", "int_days_changed", None, ("event_id",))]
    publish(at, inputs_at(5), every_table)
    with at.connect() as connection:
        connection.execute(
            "insert into production_intermediate.int_days_changed values"
            f" ('session_events', '{NEW_YEAR}', 6)"
        )
    [written] = publish(at, inputs_at(6), every_table).written
    assert written.span == Span(NEW_YEAR, NEW_YEAR)


@pytest.mark.parametrize("is_cut_short", [False, True])
def test_a_lost_part_is_written_anew_and_a_run_knows_it_has_to(
    at: Warehouse, is_cut_short: bool
) -> None:
    events = {"a": NEW_YEAR, "b": NEW_YEAR + timedelta(days=1)}
    build(at, 1, events, events.values())
    first = publish(at, inputs_at(1))
    assert still_right(at, "production", inputs_at(1)) == first.path.name
    lost = first.parts[0].path
    lost.chmod(0o600)
    if is_cut_short:
        lost.write_bytes(lost.read_bytes()[:-1])
    else:
        lost.unlink()
    assert still_right(at, "production", inputs_at(1)) is None
    assert still_right(at, "production", inputs_at(2)) is None
    report = publish(at, inputs_at(1))
    assert [part.span for part in report.written] == [first.parts[0].span]
    with at.connect_published("production") as connection:
        assert read_events(connection) == events


def test_after_a_move_of_the_home_the_next_publish_finds_the_parts_by_name(
    at: Warehouse, tmp_path: Path
) -> None:
    events = {"a": NEW_YEAR, "b": NEW_YEAR + timedelta(days=1)}
    build(at, 1, events, events.values())
    publish(at, inputs_at(1))
    moved = Warehouse(tmp_path / "moved", at.landing, lock_seconds=0)
    shutil.move(at.home, moved.home)
    assert contents.lacks_parts(moved.published_folder("production"))
    assert still_right(moved, "production", inputs_at(1)) is None
    report = publish(moved, inputs_at(1))
    assert report.written == []
    assert still_right(moved, "production", inputs_at(1)) == report.path.name
    with moved.connect_published("production") as connection:
        assert read_events(connection) == events


def test_a_run_is_not_idle_while_a_part_is_missing(
    at: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worklist, "all_built", lambda *_: True)
    at.landing.mkdir()
    build(at, 1, {"a": NEW_YEAR}, [NEW_YEAR])
    [part] = publish(at, inputs_at(1)).parts
    assert worklist.is_idle(at)
    part.path.unlink()
    assert not worklist.is_idle(at)


def test_a_type_that_parquet_lacks_is_refused_before_the_switch(at: Warehouse) -> None:
    build(at, 1, {"a": NEW_YEAR}, [NEW_YEAR])
    first = publish(at, inputs_at(1))
    with at.connect() as connection:
        connection.execute(
            "alter table production_intermediate.events alter number set data type hugeint"
        )
        connection.execute(f"attach '{at.marts_file('production')}' as production_marts")
        connection.execute(
            "create or replace view production_marts.production.fct_events as select event_id,"
            ' happened_on, number from "warehouse"."production_intermediate"."events"'
        )
    with pytest.raises(ValueError, match="HUGEINT"):
        publish(at, inputs_at(2, logic="other"))
    assert at.published_version("production") == first.path


def test_files_keep_the_storage_format_that_older_clients_read(at: Warehouse) -> None:
    build(at, 1, {"a": NEW_YEAR}, [NEW_YEAR])
    path = publish(at, inputs_at(1)).path
    # the storage version stands at byte 12 of a DuckDB file: 64 and 65 are read by 1.2
    assert int.from_bytes(path.read_bytes()[12:20], "little") <= 65


# what is deleted


def test_parts_live_as_long_as_a_kept_version_lists_them(at: Warehouse) -> None:
    folder = at.published_folder("production")
    events: dict[str, date | None] = {}
    for number in range(1, 9):
        day = NEW_YEAR + timedelta(days=number % 3)
        events[f"e{number}"] = day
        build(at, number, events, [day])
        # two versions a day
        publish(at, inputs_at(number), now=datetime(2025, 3, 1 + number // 2, number))
        listed = set()
        for version in snapshots.versions(folder):
            said = contents.read(folder / version.file_name)
            assert said
            assert all(part.is_whole for part in said.parts)
            listed |= {part.path for part in said.parts}
        assert set(folder.glob("parts/*/*")) == listed
    numbers = [version.number for version in snapshots.versions(folder)]
    assert numbers == [1, 3, 5, 6, 7, 8]


def test_leftovers_go_and_nothing_goes_while_a_version_can_not_be_read(at: Warehouse) -> None:
    folder = at.published_folder("production")
    build(at, 1, {"a": NEW_YEAR}, [NEW_YEAR])
    first = publish(at, inputs_at(1))
    stray = first.parts[0].path.with_name("2020-01-01_v000009.parquet")
    unfinished = first.parts[0].path.with_name(".2020-01-01_v000009.parquet.tmp")
    removed = folder / "parts" / "fct_removed" / "2020-01-01_v000001.parquet"
    removed.parent.mkdir()
    torn = first.path.with_name("v000001_b0_0123456789ab.duckdb")
    for path in (stray, unfinished, removed, torn):
        path.write_bytes(b"left by a killed writer")
    publish(at, inputs_at(2))
    assert stray.exists()
    assert removed.exists()
    torn.unlink()
    publish(at, inputs_at(3))
    assert not any(path.exists() for path in (stray, unfinished, removed.parent))
    assert first.parts[0].path.exists()


def test_what_a_killed_writer_left_unfinished_goes_before_the_next_one_begins(
    at: Warehouse,
) -> None:
    folder = at.published_folder("production")
    (folder / "parts" / "fct_events").mkdir(parents=True)
    left = [
        folder / ".v000001_b1_0123456789ab.duckdb.tmp",
        folder / ".v000001_b1_0123456789ab.duckdb.tmp.wal",
        folder / "parts" / "fct_events" / ".2025-01-01_v000001.parquet.tmp",
    ]
    for path in left:
        path.write_text("")
    with at.writing("the next run") as found:
        assert found == ["an unfinished copy of the production marts: removed"]
    assert not any(path.exists() for path in left)


# killed


def publish_until_killed(at: Warehouse, number: int, days: list[date], step: int) -> None:
    """Publish; the process is killed in front of its `step`-th change of the file system."""
    publishing = [False]
    left = [step]
    folder = str(at.published_folder("production"))

    def stop() -> None:
        left[0] -= publishing[0]
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    flush, rename, unlink, chmod = os.fsync, os.replace, os.unlink, os.chmod

    def stopping(function):
        def call(*arguments, **named):
            if function is flush or str(arguments[0]).startswith(folder):
                stop()
            return function(*arguments, **named)

        return call

    os.fsync, os.replace, os.unlink, os.chmod = map(stopping, (flush, rename, unlink, chmod))
    build(at, number, {f"e{n}": day for n, day in enumerate(days)}, days)
    publishing[0] = True
    publish(at, inputs_at(number))


def test_a_publisher_killed_at_any_step_leaves_a_whole_version(
    at: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the server imports everything once, with the path of its own that it begins with
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    days = [NEW_YEAR, NEW_YEAR + timedelta(days=DAYS_PAST_MONTH + 40)]
    context = get_context("forkserver")
    context.set_forkserver_preload(["test_published_parts"])
    published, seen, step = 1, [], 0
    publish_number(at, published, days)
    while True:
        step += 1
        process = context.Process(target=publish_until_killed, args=(at, published + 1, days, step))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        numbers = numbers_seen(at)
        assert numbers in ({published}, {published + 1}), f"step {step}: {numbers}"
        seen.append(published + 1 in numbers)
        # the next run heals, and leaves nothing of the killed one
        published = max(v.number for v in snapshots.versions(at.published_folder("production"))) + 1
        publish_number(at, published, days)
        assert numbers_seen(at) == {published}
        folder = at.published_folder("production")
        listed = set()
        for version in snapshots.versions(folder):
            said = contents.read(folder / version.file_name)
            assert said
            listed |= {part.path for part in said.parts}
        assert set(folder.glob("parts/*/*")) == listed
        assert list(folder.rglob(".*")) == []
    # two parts (chmod, flush, rename), their folder, the copy twice, two renames with a flush of
    # the folder each, deletions: the old version up to the second rename, the new one after it
    assert len(seen) >= 13
    assert seen == sorted(seen)
    assert {True, False} == set(seen)


# the locked door


@pytest.mark.parametrize(
    "probe",
    [
        "from read_parquet('{stray}')",
        "from read_parquet('{folder}/parts/fct_events/*.parquet')",
        "from read_text('{folder}/parts/fct_events/../../../../writer.lock')",
        "from glob('{folder}/*')",
        "copy production.dim_numbers to '{folder}/parts/fct_events/new.parquet'",
        "copy production.dim_numbers to '{part}'",
        "attach '{part}'",
        "set allowed_paths = ['/']",
        "set enable_external_access = true",
        "from read_text('/etc/hostname')",
    ],
)
def test_a_reader_reaches_the_parts_of_its_version_and_no_other_file(
    at: Warehouse, probe: str
) -> None:
    build(at, 1, {"a": NEW_YEAR}, [NEW_YEAR])
    report = publish(at, inputs_at(1))
    [part] = report.parts
    stray = part.path.with_name("stray.parquet")
    shutil.copyfile(part.path, stray)
    with open_locked_down(report.path) as connection:
        assert connection.execute(f"from read_parquet('{part.path}')").fetchall()
        with pytest.raises(duckdb.Error):
            connection.execute(
                probe.format(stray=stray, part=part.path, folder=at.published_folder("production"))
            ).fetchall()
        with open_locked_down(report.path) as second:
            assert read_events(second) == {"a": NEW_YEAR}
            with pytest.raises(duckdb.Error):
                second.execute("from read_text('/etc/hostname')")
    assert part.path.stat().st_mode & 0o222 == 0


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select 1", True),
        ("from range(3); show all tables; describe select 1", True),
        ("explain analyze select 'copying'", True),
        ("pivot (select 1 as a, 2 as b) on a using sum(b)", True),
        ("set variable x = 3", True),
        ("copy (select 1) to 'part' (use_tmp_file false)", False),
        ("select 1; copy (select 1) to 'part'", False),
        ("copy (pivot (select 1 as a, 2 as b) on a using sum(b)) to 'part'", False),
        ("explain analyze copy (select 1) to 'part'", False),
        ("prepare p as copy (select 1) to 'part'", False),
        ("execute p", False),
        ("export database 'here'", False),
        ("attach 'part'", False),
    ],
)
def test_questions_are_told_from_statements_that_write(query: str, expected: bool) -> None:
    with duckdb.connect() as connection:
        assert only_reads(connection, query) is expected
