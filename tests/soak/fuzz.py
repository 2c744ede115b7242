"""Mutated files of every format and packing: the books of each add up, none stops the others."""

from __future__ import annotations

import logging
import multiprocessing
import random
import resource
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.audits import account_for_every_line
from landing import TABLES
from tests.landing_cases import Warehouse, event, lines, pack
from tests.test_landing_properties import as_csv

FORMATS = (
    *(f"{kind}{packing}" for kind in ("jsonl", "csv") for packing in ("", ".gz", ".zst")),
    "parquet",
)
PIECES = (b"\0", b"\r", b'"', b"\xff", b"\n", b"{", b"}", b"[" * 70, b"\\u0000", b"\\ud800", b"NaN")
A_TIME = 250
COUNTED = ("files", "lines", "accepted", "rejected", "failed")


def soak(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Land `count` mutated files of each format, some hundred at a time, each lot in a new home."""
    jobs = [(folder, format_, count, seed) for format_ in FORMATS]
    if count > A_TIME:
        # a process a core; a format is not divided, or its files would depend on the machine
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            found = list(pool.map(soak_format, *zip(*jobs, strict=True)))
    else:
        found = [soak_format(*job) for job in jobs]
    totals = {name: sum(one[name] for one in found) for name in COUNTED}
    peak = max(one["peak_mb"] for one in found)
    broken = [fault for one in found for fault in one["broken"]]
    return {"formats": len(FORMATS), **totals, "peak_mb": peak, "broken": broken}


def soak_format(folder: Path, format_: str, count: int, seed: int) -> dict[str, Any]:
    """Land `count` mutated files of one format."""
    broken: list[str] = []
    totals = dict.fromkeys(COUNTED, 0)
    place = folder / format_
    place.mkdir()
    content = seed_files(place)[format_]
    # a line for each file that fails, thousands of them
    logging.getLogger("landing").setLevel(logging.CRITICAL)
    chance = random.Random(f"{seed} {format_}")
    for first in range(0, count, A_TIME):
        warehouse = Warehouse(place / str(first))
        warehouse.connection.execute("set threads = 1")
        for number in range(first, min(first + A_TIME, count)):
            # one file in four has ids that were there before: what meets takes twice the time
            ids = b"%03dx" % (number % 1000) if number % 4 else b"evt_"
            mutant = mutated(content.replace(b"evt_", ids), format_, chance)
            warehouse.write(f"auth_events/{number:06d}.{format_}", mutant)
        warehouse.write("auth_events/neighbour.jsonl", lines([event(id="neighbour")]))
        broken += land_and_look(warehouse, totals, format_)
        warehouse.connection.close()
        shutil.rmtree(place / str(first))
    # of this process, which landed them all
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**totals, "peak_mb": round(peak), "broken": broken}


def land_and_look(warehouse: Warehouse, totals: dict[str, int], name: str) -> list[str]:
    try:
        report = warehouse.land()
    except Exception as error:
        return [f"{name}: {type(error).__name__}: {error}"[:300]]
    for result in report.files:
        totals["files"] += 1
        totals["lines"] += result.lines
        totals["accepted"] += result.accepted
        totals["rejected"] += result.rejected
        totals["failed"] += result.status == "failed"
    found = account_for_every_line(warehouse.connection, sorted(TABLES))
    broken = [f"{name}: {one.table} {dict(one.numbers)}" for one in found if not one.is_passed]
    if warehouse.rows("select count(*) from raw.auth_events where id = 'neighbour'") != [(1,)]:
        broken.append(f"{name}: the neighbour did not land")
    return broken


def seed_files(folder: Path) -> dict[str, bytes]:
    """A good file of each format, unpacked where it is packed afterwards."""
    sent = [event(id=f"evt_{n}", user_agent="é" * n, trace_id=f"t{n}") for n in range(8)]
    made = {"jsonl": lines(sent), "csv": as_csv(sent)}
    source = folder / "seed.jsonl"
    source.write_bytes(made["jsonl"])
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (from read_json('{source}')) to '{folder}/seed.parquet' (format parquet)"
        )
    parquet = (folder / "seed.parquet").read_bytes()
    return {name: made.get(name.split(".")[0], parquet) for name in FORMATS}


def mutated(content: bytes, format_: str, chance: random.Random) -> bytes:
    """Up to eight changes before packing, and often some of the packed bytes."""
    packing = format_.partition(".")[2]
    changed = change(bytearray(content), chance, chance.randint(0, 8))
    packed = pack(bytes(changed), f".{packing}") if packing else bytes(changed)
    if packing and chance.random() < 0.5:
        packed = bytes(change(bytearray(packed), chance, chance.randint(1, 3)))
    return packed


def change(content: bytearray, chance: random.Random, times: int) -> bytearray:
    for _ in range(times):
        content = content or bytearray(b"x")
        at = chance.randrange(len(content))
        kind = chance.choice(("flip", "cut", "double", "insert", "truncate", "swap"))
        if kind == "flip":
            content[at] ^= 1 << chance.randrange(8)
        elif kind == "cut":
            del content[at : at + chance.randint(1, 60)]
        elif kind == "double":
            content[at:at] = content[at : at + 80]
        elif kind == "insert":
            content[at:at] = chance.choice(PIECES)
        elif kind == "truncate" and chance.random() < 0.2:
            del content[at:]
        else:
            other = chance.randrange(len(content))
            content[at], content[other] = content[other], content[at]
    return content
