"""Daily runs with retention and erasure: the build file over a compact copy of itself."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from dagster_project import builds, erasures, purges
from dagster_project.warehouse import Policy, Warehouse
from landing import land
from tests.landing_cases import entity, event, write

FIRST = date(2025, 1, 1)
EVENTS_A_DAY, USERS = 4_000, 500
ERASED_EVERY = 10
RETENTION = Policy(days=20)


def soak(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Land a day, carry out erasures and purges, replace the days of a table, `count` times.

    The table stands for the models: delete and insert of the changed days, as they do it.
    """
    at = Warehouse(folder / "home", folder / "extracts", lock_seconds=5, retention=RETENTION)
    at.prepare_folders()
    at.landing.mkdir()
    chance = random.Random(seed)
    ratios, rewrites = [], 0
    for number in range(count):
        rewrites += run_a_day(at, FIRST + timedelta(days=number), chance)
        ratios.append(round(at.build_file.stat().st_size / compact_size(at, folder), 3))
    return {
        "days": count,
        "rewrites": rewrites,
        "bytes": at.build_file.stat().st_size,
        "over_compact_at_end": ratios[-1],
        "over_compact_at_most": max(ratios),
        # reliability.md: at most 1.2 after a year; what is below 8 MB is mostly empty blocks
        "broken": [f"{ratios[-1]} times a compact copy"] if ratios[-1] > 1.45 else [],
    }


def run_a_day(at: Warehouse, day: date, chance: random.Random) -> int:
    clock = datetime(day.year, day.month, day.day, 23, 30, tzinfo=UTC)
    moments = [
        f"{day}T{chance.randrange(23):02d}:{chance.randrange(60):02d}:00Z"
        for _ in range(EVENTS_A_DAY)
    ]
    records = [
        event(
            id=f"{day}_{n}",
            occurred_at=moment,
            received_at=moment,
            user_id=f"usr_{chance.randrange(USERS)}",
            session_id=f"ses_{day}_{n // 6}",
        )
        for n, moment in enumerate(moments)
    ]
    write(at.landing, f"auth_events/{day}.jsonl", records)
    if day.day % ERASED_EVERY == 0:
        asked = entity("erasures", user_id=f"usr_{chance.randrange(USERS)}")
        write(at.landing, f"erasures/{day}.jsonl", [asked])
    with at.connect() as connection:
        land(connection, at.landing, run_id=str(day), clock=clock)
        before = builds.read_inputs(connection).generation
    purges.carry_out(at, clock)
    erasures.carry_out(at, str(day), clock, lambda run_id: None)
    with at.connect() as connection:
        connection.execute(
            """
            create schema if not exists production_intermediate;
            create table if not exists production_intermediate.days as
                select *, _activity_date as activity_date from raw.auth_events where false;
            """
        )
        days = "(select distinct _activity_date from raw.auth_events where _activity_date > ?)"
        since = day - timedelta(days=3)
        connection.execute(
            f"delete from production_intermediate.days where activity_date in {days}", [since]
        )
        connection.execute(
            "insert into production_intermediate.days select *, _activity_date from raw.auth_events"
            f" where _activity_date in {days}",
            [since],
        )
        connection.execute("checkpoint")
        return builds.read_inputs(connection).generation - before


def compact_size(at: Warehouse, folder: Path) -> int:
    copy = folder / "compact.duckdb"
    copy.unlink(missing_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"attach '{at.build_file}' as build (read_only)")
        connection.execute(f"attach '{copy}' as compact")
        connection.execute("copy from database build to compact")
        connection.execute("detach compact")
    return copy.stat().st_size
