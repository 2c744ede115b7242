"""One more day after 30 and after 300 days of history of the same daily size, landing to published.

`make run`, whole, with a day's files new in the landing folder: 300,000 events (EVENTS_PER_DAY),
with the people who joined. The days of the two homes alternate; the next five of each are measured.
What each model read comes from the run report, and those that read more after the longer history
are named: they grow unseen.

A history is filled in by SQL and built and published once by the job (steady.py); homes are kept in
the working folder (BENCH_CACHE) until measured days have made them a tenth longer.
"""

import json
import os
import shutil
import statistics
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from benchmarks.frame import Measurement, Size
from benchmarks.processes import Ran, run_job
from benchmarks.steady import fill_history, write_day
from landing.contract import TABLES
from landing.schema import BOOKKEEPING, stored_columns

HISTORIES = (30, 300)
DEFAULT_EVENTS_A_DAY = 300_000
# a model that reads fewer rows than this costs nothing that anyone waits for
ROWS_WORTH_NAMING = 10_000
MORE_BY = 1.15
VERSION = 3

Costs = dict[tuple[str, str, str], int]


@dataclass
class Days:
    """What the measured days of one home took: runs, rows read by (schema, model, part), steps."""

    runs: list[Ran] = field(default_factory=list)
    rows_read: list[Costs] = field(default_factory=list)
    steps: list[dict[str, float]] = field(default_factory=list)


def measure(size: Size) -> list[Measurement]:
    """Seconds and rows read of a day after the long history, against one after the short one."""
    cache = Path(os.environ.get("BENCH_CACHE", "").strip() or size.folder)
    events = int(os.environ.get("EVENTS_PER_DAY", "").strip() or DEFAULT_EVENTS_A_DAY)
    homes = {days: prepare(cache, days, events) for days in HISTORIES}
    measured = {days: Days() for days in HISTORIES}
    for turn in range(size.runs):
        for days in HISTORIES if turn % 2 else reversed(HISTORIES):
            one_day(homes[days], events, measured[days])
    short, long = (measured[days] for days in HISTORIES)
    against = f"after {HISTORIES[0]} days"
    name = f"a day after {HISTORIES[1]} days"
    return [
        Measurement(
            name,
            [ran.seconds for ran in long.runs],
            [ran.seconds for ran in short.runs],
            against,
            "s",
            target=MORE_BY,
            note=f"{events:,} events a day. {describe_steps(short, long)}",
            is_floor=True,
        ),
        Measurement(
            f"{name}, CPU",
            [ran.cpu for ran in long.runs],
            [ran.cpu for ran in short.runs],
            against,
            "CPU s",
            target=MORE_BY,
            note="all processes of the run",
            is_floor=True,
        ),
        Measurement(
            f"{name}, rows read",
            [float(sum(costs.values())) for costs in long.rows_read],
            [float(sum(costs.values())) for costs in short.rows_read],
            against,
            "rows",
            target=MORE_BY,
            note=describe_growth(short.rows_read, long.rows_read),
            is_floor=True,
        ),
    ]


def prepare(cache: Path, days: int, events_a_day: int) -> Path:
    """A home with `days` days landed, built and published by the code as it is now."""
    home = cache / f"days-{days}-{events_a_day}"
    stamp = home / "filled.json"
    wanted = {
        "version": VERSION,
        "raw": str([*map(stored_columns, TABLES.values()), *BOOKKEEPING.items()]),
    }
    found = json.loads(stamp.read_text()) if stamp.exists() else {}
    is_same = all(found.get(key) == value for key, value in wanted.items())
    if not is_same or found["next_day"] - days > days // 10:
        shutil.rmtree(home, ignore_errors=True)
        (home / "extracts").mkdir(parents=True)
        with duckdb.connect(str(home / "warehouse.duckdb"), config={"threads": 2}) as connection:
            fill_history(connection, days, events_a_day)
        stamp.write_text(json.dumps({**wanted, "next_day": days}))
    run_job(home, home / "extracts")
    return home


def one_day(home: Path, events_a_day: int, measured: Days) -> None:
    """Land the next day's files and build and publish; raises RuntimeError when a line is lost."""
    stamp = home / "filled.json"
    state = json.loads(stamp.read_text())
    extracts = home / "extracts"
    shutil.rmtree(extracts)
    lines = write_day(state["next_day"], events_a_day, extracts)
    # not on the bill of the run that reads them next
    os.sync()
    ran = run_job(home, extracts)
    state["next_day"] += 1
    stamp.write_text(json.dumps(state))
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        run_id, landed = connection.execute(
            "select run_id, sum(accepted)::bigint from raw.landed_files"
            " group by run_id order by max(_batch) desc limit 1"
        ).fetchall()[0]
        costs = connection.execute(
            "select schema_name, model, part, rows_read from orchestration.model_costs"
            " where build_id = ?",
            [run_id],
        ).fetchall()
    if landed != lines or not costs:
        raise RuntimeError(f"{home}: {landed} rows landed of {lines}, {len(costs)} models built")
    measured.runs.append(ran)
    measured.rows_read.append({(schema, model, part): rows for schema, model, part, rows in costs})
    measured.steps.append(seconds_by_step(home, run_id))


def seconds_by_step(home: Path, run_id: str) -> dict[str, float]:
    """How long each step of a run took, from Dagster's storage; checks as one."""
    import dagster as dg  # noqa: PLC0415

    seconds: dict[str, float] = {}
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        for step in instance.get_run_step_stats(run_id):
            if step.start_time and step.end_time:
                name = step.step_key.split("_")[0]
                name = name if name in ("land", "build", "publish") else "check"
                seconds[name] = seconds.get(name, 0) + step.end_time - step.start_time
    return seconds


def describe_steps(short: Days, long: Days) -> str:
    """Median seconds of each kind of step after both histories."""
    names = sorted({name for step in short.steps + long.steps for name in step})
    pairs = [
        tuple(statistics.median(step.get(name, 0) for step in days.steps) for days in (short, long))
        for name in names
    ]
    said = [f"{name} {a:.1f} → {b:.1f} s" for name, (a, b) in zip(names, pairs, strict=True)]
    return ", ".join(said)


def describe_growth(short: list[Costs], long: list[Costs]) -> str:
    """What read over 15 % more rows after the longer history, most first."""
    grown = []
    for key in sorted({key for costs in short + long for key in costs}):
        before, after = (
            statistics.median(costs.get(key, 0) for costs in days) for days in (short, long)
        )
        if after >= ROWS_WORTH_NAMING and after > MORE_BY * before:
            schema, model, part = key
            name = f"{schema}.{model}" + ("" if part == "model" else f" ({part}s)")
            grown.append((after - before, f"{name} {before:,.0f} → {after:,.0f}"))
    if not grown:
        return "no model reads over 15 % more"
    return "over 15 % more: " + ", ".join(text for _, text in sorted(grown, reverse=True))
