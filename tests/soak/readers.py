"""Three readers at full speed while versions are published: no error, no mixture, never back."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.published import open_home, publish_number

READERS = 3
DAYS = [date(2025, 1, 1) + timedelta(days=n) for n in range(8)]

# A reader on its own: no module of ours. It opens, looks at a small mart, at one of many parts and
# at what the version says of itself.
READER = """
import json, sys, time, duckdb
path, until = sys.argv[1], int(sys.argv[2])
last, looks, errors, mixed, back, slowest = 0, 0, [], 0, 0, 0.0
print("reading", flush=True)
while last < until and len(errors) < 10:
    began = time.perf_counter()
    try:
        connection = duckdb.connect(path, read_only=True)
        seen = {n for (n,) in connection.execute(
            "select number from production.dim_numbers"
            " union select number from production.fct_events"
            " union select version from published.version").fetchall()}
        connection.close()
    except duckdb.Error as error:
        errors.append(str(error)[:300])
        continue
    slowest = max(slowest, time.perf_counter() - began)
    looks += 1
    mixed += len(seen) != 1
    back += min(seen) < last
    last = max(seen)
print(json.dumps({"looks": looks, "errors": errors, "mixed": mixed, "back": back,
                  "slowest_ms": round(slowest * 1000, 1)}))
"""


def soak(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Publish `count` versions, each of which rewrites every day."""

    at = open_home(folder)
    publish_number(at, 1, DAYS)
    command = [sys.executable, "-c", READER, str(at.latest("production")), str(count)]
    readers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(READERS)
    ]
    for reader in readers:
        assert reader.stdout is not None
        reader.stdout.readline()
    for number in range(2, count + 1):
        publish_number(at, number, DAYS)
    found, broken = [], []
    for reader in readers:
        output, problem = reader.communicate(timeout=120)
        if reader.returncode:
            broken.append(problem[-500:])
            continue
        told = json.loads(output)
        found.append(told)
        broken += told["errors"]
        broken += [f"{told[name]} {name}" for name in ("mixed", "back") if told[name]]
    return {
        "publishes": count,
        "looks": sum(told["looks"] for told in found),
        "slowest_ms": max((told["slowest_ms"] for told in found), default=None),
        "broken": broken,
    }
