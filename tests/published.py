"""A warehouse of one event table, small enough to be published a hundred times in a test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path

import duckdb

from dagster_project.builds import Inputs
from dagster_project.defs.publish import Report, publish_version
from dagster_project.parts import DailyMart
from dagster_project.warehouse import Warehouse
from landing.schema import create_raw_schema

MARTS = ["dim_numbers", "fct_days", "fct_events"]
DAILY = [DailyMart("fct_events", "happened_on", "int_days_changed", "auth_events", ("event_id",))]


def open_home(folder: Path) -> Warehouse:
    at = Warehouse(folder / "home", folder / "landing", lock_seconds=0)
    at.prepare_folders()
    return at


def inputs_at(batch: int, logic: str = "logic", warehouse: str = "a warehouse") -> Inputs:
    return Inputs(warehouse, batch, "code", logic)


def build(
    at: Warehouse,
    number: int,
    events: Mapping[str, date | None],
    changed: Iterable[date | None] = (),
) -> None:
    """What landing and dbt would leave behind: all marts as of batch `number`.

    `events`: id → day. `changed`: the days that the log gets with this batch.
    """
    with at.connect() as connection:
        create_raw_schema(connection)
        connection.execute(
            f"attach if not exists '{at.marts_file('production')}' as production_marts"
            " (storage_version 'v1.2.0')"
        )
        connection.execute(
            """
            create schema if not exists production_intermediate;
            create schema if not exists production_marts.production;
            create table if not exists production_intermediate.int_days_changed (
                source_table varchar, activity_date date, _batch bigint
            );
            create or replace table production_intermediate.events (
                event_id varchar, happened_on date, number bigint
            );
            create or replace view production_marts.production.fct_events as
                select event_id, happened_on, number, 'production' as environment
                from "warehouse"."production_intermediate"."events";
            """
        )
        connection.execute(
            "insert into production_intermediate.events"
            " select unnest($1::varchar[]), unnest($2::date[]), $3",
            [list(events), list(events.values()), number],
        )
        for day in changed:
            connection.execute(
                "insert into production_intermediate.int_days_changed values"
                " ('auth_events', $1, $2), ('others', date '1999-09-09', $2)",
                [day, number],
            )
        connection.execute(
            f"""
            create or replace table production_marts.production.dim_numbers as
                select {number} as number;
            create or replace table production_marts.production.fct_days as
                select happened_on as activity_date, count(*) as event_count
                from production_intermediate.events group by all;
            """
        )


def publish(
    at: Warehouse, inputs: Inputs, daily: list[DailyMart] = DAILY, now: datetime | None = None
) -> Report:
    return publish_version(at, "production", inputs, MARTS, daily=daily, now=now)


def read_events(connection: duckdb.DuckDBPyConnection) -> dict[str, date | None]:
    return dict(
        connection.execute("select event_id, happened_on from production.fct_events").fetchall()
    )


def publish_number(at: Warehouse, number: int, days: Iterable[date]) -> None:
    """A version in which every mart says the same number: all days changed."""
    listed = list(days)
    build(at, number, {f"e{n}": day for n, day in enumerate(listed)}, listed)
    publish(at, inputs_at(number))


def numbers_seen(at: Warehouse) -> set[int]:
    """Every number that a reader of the newest version meets."""
    with at.connect_published("production") as connection:
        rows = connection.execute(
            "select number from production.dim_numbers"
            " union all select number from production.fct_events"
            " union all select version from published.version"
        ).fetchall()
        listed = connection.execute("select sum(row_count) from published.parts").fetchall()
        assert connection.execute("select count(*) from production.fct_events").fetchall() == listed
    return {number for (number,) in rows}
