"""What was published on a date, and which batches explain the difference to now, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import build, inputs_at, open_home, publish

from dagster_project import contents, sql
from dagster_project.warehouse import ConfigurationError, Warehouse
from landing.contract import TABLES
from landing.schema import create_raw_schema, stored_columns

DAY = date(2025, 1, 10)
QUESTION = """
    select now.event_count, former.event_count
    from production.fct_days as now
    join as_of.production.fct_days as former using (activity_date)
    where activity_date = '2025-01-10'
"""
EXPLANATION = """
    from published.batches_behind(
        ['auth_events', 'users'], '2025-01-10', '2025-01-10',
        (select batch from as_of.published.version)
    )
"""


@pytest.fixture
def at(tmp_path: Path) -> Warehouse:
    return open_home(tmp_path)


def land(
    at: Warehouse,
    batch: int,
    days: Sequence[date | None],
    table: str = "auth_events",
    environment: str = "production",
) -> None:
    """A file of so many rows of one table."""
    with at.connect() as connection:
        create_raw_schema(connection)
        connection.execute(
            "insert into raw.landed_files by name select ? as path, ? as landed_at, ? as _batch",
            [f"{table}/{batch}.jsonl", datetime(2025, 2, 1), batch],
        )
        names = [name for name, _ in stored_columns(TABLES[table])]
        for number, day in enumerate(days):
            row = {"id": f"e{batch}_{number}", "_batch": batch}
            row |= {"environment": environment, "_activity_date": day}  # type: ignore[dict-item]
            row = {name: value for name, value in row.items() if name in names}
            connection.execute(
                f"insert into raw.{table} ({', '.join(row)}) values ({', '.join('?' * len(row))})",
                list(row.values()),
            )


def ask(at: Warehouse, query: str, as_of: str) -> list[tuple[object, ...]]:
    with sql.opened(at, {"AS_OF": as_of}) as connection:
        return connection.execute(query).fetchall()


def test_an_old_figure_the_new_one_and_exactly_the_batch_between_them(at: Warehouse) -> None:
    land(at, 1, [DAY, DAY])
    build(at, 1, {"a": DAY, "b": DAY}, [DAY])
    publish(at, inputs_at(1), now=datetime(2025, 2, 1, 23, 59))
    land(at, 2, [date(2025, 1, 11)])
    land(at, 3, [DAY])
    land(at, 4, [DAY], environment="sandbox")
    land(at, 5, [DAY], table="session_events")
    build(at, 5, {"a": DAY, "b": DAY, "c": DAY, "d": date(2025, 1, 11)}, [DAY, date(2025, 1, 11)])
    publish(at, inputs_at(5), now=datetime(2025, 2, 3))

    assert ask(at, QUESTION, "2025-02-02") == [(3, 2)]
    moved = (3, datetime(2025, 2, 1), "auth_events/3.jsonl", "auth_events", DAY, DAY, 1, 0)
    assert ask(at, EXPLANATION, "2025-02-02") == [moved]
    events = "select count(*) from {}production.fct_events"
    assert ask(at, events.format("as_of."), "2025-02-01") == [(2,)]
    assert ask(at, events.format(""), "2025-02-01") == [(4,)]
    # the newest version is its own past
    assert ask(at, QUESTION, "2025-02-03") == [(3, 3)]
    assert ask(at, EXPLANATION, "2025-02-03") == []


def test_a_merge_has_no_day_and_may_explain_any(at: Warehouse) -> None:
    build(at, 1, {"a": DAY}, [DAY])
    publish(at, inputs_at(1), now=datetime(2025, 2, 1))
    land(at, 2, [None], table="users")
    publish(at, inputs_at(2), now=datetime(2025, 2, 3))
    [(batch, _, path, table, first, last, accepted, displaced)] = ask(at, EXPLANATION, "2025-02-01")
    assert (batch, path, table, first, last) == (2, "users/2.jsonl", "users", None, None)
    assert (accepted, displaced) == (1, 0)


def test_a_date_before_the_oldest_kept_version_is_refused_and_told(at: Warehouse) -> None:
    build(at, 1, {"a": DAY}, [DAY])
    publish(at, inputs_at(1), now=datetime(2025, 2, 1, 7, 30))
    with pytest.raises(ConfigurationError, match=r"oldest is v000001.*2025-02-01 07:30 UTC"):
        ask(at, QUESTION, "2025-01-31")


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        ({"AS_OF": "yesterday"}, "It has to be a date"),
        ({"AS_OF": "2025-02-01", "BUILD": "1"}, "leave out BUILD"),
        ({"AS_OF": "2025-02-01", "ENVIRONMENT": "nowhere"}, "ENVIRONMENT"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(
    at: Warehouse, settings_: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        sql.opened(at, settings_)


def test_the_prompt_answers_as_of_a_day_and_refuses_to_write(
    at: Warehouse, capfd: pytest.CaptureFixture[str]
) -> None:
    build(at, 1, {"a": DAY}, [DAY])
    [part] = publish(at, inputs_at(1)).parts
    environ = {"ROLLCALL_HOME": str(at.home), "AS_OF": "2999-12-31"}
    assert sql.main({**environ, "QUERY": "select 40 + 2 from as_of.production.fct_events"}) == 0
    assert "42" in capfd.readouterr().out
    before = part.path.read_bytes()
    writing = f"copy production.dim_numbers to '{part.path}' (use_tmp_file false)"
    assert sql.main({**environ, "QUERY": writing}) == 1
    assert "nothing is written" in capfd.readouterr().err
    assert part.path.read_bytes() == before


# the table of batches


BATCHES = st.lists(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans()), min_size=1, max_size=4
    ),
    min_size=1,
    max_size=6,
)


def apply(connection: duckdb.DuckDBPyConnection, batch: int, records: object) -> None:
    """Land (id, day, is production): one received earlier displaces the row of its id."""
    for name, offset, is_production in records:  # type: ignore[attr-defined]
        environment = "production" if is_production else "sandbox"
        connection.execute(
            """
            insert into raw.superseded_records by name
            select 'auth_events' as table_name, environment, id, _activity_date,
                _batch as _superseded_batch, $2 as _batch
            from raw.auth_events where id = $1 and environment = $3
            """,
            [str(name), batch, environment],
        )
        connection.execute(
            "delete from raw.auth_events where id = $1 and environment = $2",
            [str(name), environment],
        )
        connection.execute(
            "insert into raw.auth_events by name select $1 as id, $2 as environment,"
            " date '2025-01-01' + $3::int as _activity_date, $4 as _batch",
            [str(name), environment, offset, batch],
        )


def batches_of(connection: duckdb.DuckDBPyConnection, path: Path) -> list[tuple[object, ...]]:
    connection.execute(f"attach '{path}' as version_file")
    query = "select columns(* exclude (landed_at, path)) from version_file.published.batches"
    rows = connection.execute(f"{query} order by all").fetchall()
    connection.execute("detach version_file")
    return rows


@settings(max_examples=25, deadline=None)
@given(BATCHES, st.data())
def test_batches_noted_as_they_come_are_those_noted_all_at_once(
    tmp_path_factory: pytest.TempPathFactory, batches: list[object], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("batches")
    with duckdb.connect() as connection:
        create_raw_schema(connection)

        def note(name: str, upto: int, before: Path | None, after: int) -> Path:
            path = folder / name
            connection.execute(f"attach '{path}' as candidate")
            connection.execute("create schema candidate.published")
            connection.execute(f"create table candidate.published.batches ({contents.BATCHES})")
            book = contents.Candidate(connection, "production")
            book.note_batches(inputs_at(upto), before, after)
            connection.execute("detach candidate")
            return path

        last, noted = None, 0
        moved: dict[tuple[object, ...], list[int]] = {}
        where: dict[tuple[object, ...], int] = {}
        for batch, records in enumerate(batches, start=1):
            apply(connection, batch, records)
            for name, offset, is_production in records:  # type: ignore[attr-defined]
                if is_production:
                    if name in where:
                        moved.setdefault((batch, where[name]), [0, 0])[1] += 1
                    where[name] = offset
                    moved.setdefault((batch, offset), [0, 0])[0] += 1
            if data.draw(st.booleans()):
                last = note(f"v{batch}", batch, last, noted)
                noted = batch
        last = note("last", len(batches), last, noted)
        whole = note("whole", len(batches), None, 0)
        expected = sorted(
            (batch, "auth_events", date(2025, 1, 1 + offset), accepted, displaced)
            for (batch, offset), (accepted, displaced) in moved.items()  # type: ignore[misc, operator]
        )
        assert batches_of(connection, whole) == expected
        assert batches_of(connection, last) == expected
