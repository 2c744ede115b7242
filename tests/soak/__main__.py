"""`python -m tests.soak [NAME …] [--count N] [--seed S]`: all soaks, or those named.

Belongs here: the command. Does not belong here: what a soak does (the other modules).

Each prints its figures as a line of JSON and ends with exit code 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.soak import consumers, fuzz, growth, kills, limits, readers

Soak = Callable[[Path, int, int], dict[str, Any]]

# name → (soak, how often by default)
SOAKS: dict[str, tuple[Soak, int]] = {
    "readers": (readers.soak, 100),
    "fuzz": (fuzz.soak, 10_000),
    "limits": (limits.soak, 1),
    "growth": (growth.soak, 60),
    "kills": (kills.soak, 200),
    # of events, of which there are this many in the demo extracts
    "consumers": (consumers.soak, 4_000),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SOAKS))
    parser.add_argument("--count", type=int, help="how often, instead of the default of each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it there")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(SOAKS):
        parser.error(f"no such soak: {', '.join(sorted(unknown))}. There are: {', '.join(SOAKS)}")
    is_broken = False
    for name in chosen.names or SOAKS:
        soak, count = SOAKS[name]
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"rollcall-soak-{name}-") as temporary:
            folder = chosen.keep / name if chosen.keep else Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            found = soak(folder, chosen.count or count, chosen.seed)
        found = {"soak": name, **found, "seconds": round(time.monotonic() - started, 1)}
        print(json.dumps(found, default=str), flush=True)
        is_broken |= bool(found["broken"])
    return 1 if is_broken else 0


if __name__ == "__main__":
    sys.exit(main())
