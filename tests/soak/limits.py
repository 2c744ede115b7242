"""Too little disk, too little memory at each stage: what is said, what stands, and the run after.

For the disk the stages work in a file system of 24 MB, mounted in a namespace of its own, of which
a file takes all but a little; then the file goes, and an ordinary run follows.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from dagster_project import erasures
from dagster_project.progress import remedy
from dagster_project.warehouse import Warehouse
from landing import land
from tests.conftest import run_job
from tests.landing_cases import event, write
from tests.soak import work

ROOT = Path(__file__).resolve().parent.parent.parent
SIZE = 24 << 20
# what is left at each stage: enough to begin, too little to end
LEFT = {"land": 24 << 10, "take out": 300 << 10, "publish": 24 << 10}
# memory in KB that is less than each stage needs of these few rows: at 20 MB two of them end well
NEEDED = {"land": 20_000, "take out": 8_000, "publish": 4_000}
NAMESPACE = ("unshare", "--map-root-user", "--mount")


def can_mount() -> bool:
    """Whether this machine lets us mount a file system in a namespace of our own."""
    try:
        probe = [*NAMESPACE, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def soak(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Take disk and memory away at each stage, `count` times, and memory from the whole job."""
    chance = random.Random(seed)
    stages = [job_short_of_memory(folder / "job")]
    for number in range(count):
        stages += short_of_memory(folder / str(number), chance)
        if can_mount():
            stages += short_of_disk(folder / str(number))
    broken = [fault for found in stages for fault in found.pop("broken")]
    skipped = [] if can_mount() else ["disk: a file system can't be mounted here"]
    return {"skipped": skipped, "stages": stages, "broken": broken}


def short_of_disk(folder: Path) -> list[dict[str, Any]]:
    """Each stage on a disk that is full; what was said, and what was wrong."""
    stages = []
    for stage in LEFT:
        place = folder / stage.replace(" ", "_")
        place.mkdir(parents=True)
        inner = (
            f"mount -t tmpfs -o size={SIZE} tmpfs '{place}'"
            f" && exec '{sys.executable}' -m tests.soak.limits '{place}' '{stage}'"
        )
        done = subprocess.run(
            [*NAMESPACE, "sh", "-c", inner],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            stages.append({"stage": stage, "broken": [f"{stage}: {done.stderr[-800:]}"]})
        else:
            stages.append(json.loads(done.stdout.splitlines()[-1]))
    return stages


def fill(place: Path, left: int) -> Path:
    """Take all the space but `left` bytes."""
    ballast = place / "ballast"
    # unbuffered: what a buffer still holds would fail once more when the file is closed
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    with ballast.open("r+b") as file:
        file.truncate(max(0, ballast.stat().st_size - left))
    return ballast


def main(place: Path, stage: str) -> None:
    at = prepare(place, stage)
    before = at.published_version("production")
    ballast = fill(place, LEFT[stage])
    said = attempt(at, stage)
    broken = []
    if "space" not in said.lower():
        broken.append(f"{stage}: a full disk was not said to be one: {said!r}")
    broken += still_stands(at, stage, before)
    ballast.unlink()
    broken += healed(at, stage)
    print(json.dumps({"stage": stage, "said": said[:200], "broken": broken}))


def prepare(place: Path, stage: str) -> Warehouse:
    """A home in which the stage comes next."""
    at = work.prepare(place)
    if stage != "land":
        with at.connect() as connection:
            land(connection, at.landing, run_id="run", clock=work.CLOCK)
    if stage == "publish":
        erasures.carry_out(at, "run", work.CLOCK, lambda run_id: None)
    return at


def attempt(at: Warehouse, stage: str) -> str:
    """Carry out a stage; what was said when it failed."""
    try:
        if stage == "land":
            with at.connect() as connection:
                land(connection, at.landing, run_id="run", clock=work.CLOCK)
        elif stage == "take out":
            erasures.carry_out(at, "run", work.CLOCK, lambda run_id: None)
        else:
            work.publish_what_stands(at)
    except (OSError, duckdb.Error) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return ""


def still_stands(at: Warehouse, stage: str, before: Path | None) -> list[str]:
    """What is wrong with what had been published; readers can still read."""
    with at.connect_published("production") as connection:
        connection.execute("select count(*) from production.fct_events").fetchall()
    is_the_same = at.published_version("production") == before
    return [] if is_the_same else [f"{stage}: another version was published"]


def healed(at: Warehouse, stage: str) -> list[str]:
    """What is wrong after an ordinary run."""
    work.carry_out(at)
    return [f"{stage}: {fault}" for fault in work.faults(at)]


def short_of_memory(folder: Path, chance: random.Random) -> list[dict[str, Any]]:
    """Each stage with less memory than it needs; what was said, and what was wrong."""
    stages = []
    for stage, enough in NEEDED.items():
        at = prepare(folder / f"memory_{stage.replace(' ', '_')}", stage)
        before = at.published_version("production")
        memory = f"{chance.randint(300, enough)}KB"
        said = attempt(replace(at, memory=memory), stage)
        broken = [] if remedy(said) else [f"{stage}: want of memory was not said: {said!r}"]
        broken += still_stands(at, stage, before)
        broken += healed(at, stage)
        stages.append({"stage": stage, "memory": memory, "said": said[:200], "broken": broken})
    return stages


def job_short_of_memory(folder: Path) -> dict[str, Any]:
    """The whole job with less memory than a build needs: what it said, and the run after."""
    at = Warehouse(folder / "home", folder / "landing")
    simulate = [sys.executable, "-m", "simulator", "--out", str(at.landing), "--quiet"]
    size = ["--events", "6000", "--days", "40"]
    subprocess.run([*simulate, *size], cwd=ROOT, check=True, capture_output=True)
    first = run_job(at.home, at.landing)
    before = at.published_version("production")
    # landed here: to read a file takes more memory than to build from this little
    write(at.landing, "auth_events/late.jsonl", [event()])
    with at.connect() as connection:
        land(connection, at.landing, run_id="run", clock=datetime.now(UTC))
    short = run_job(at.home, at.landing, ROLLCALL_MEMORY="24MB")
    is_the_same = at.published_version("production") == before
    last = run_job(at.home, at.landing)
    told = [line.strip() for line in short.stdout.splitlines() if "ROLLCALL_MEMORY is" in line]
    expected = {
        "the first run is well": first.returncode == 0,
        "the short one ends with 1": short.returncode == 1,
        "the setting is named": bool(told) and "build_production" in told[0],
        "what was published stands": is_the_same,
        "the last run is well": last.returncode == 0,
    }
    broken = [
        f"job: not {name}: {short.stdout[-900:]}" for name, held in expected.items() if not held
    ]
    return {"stage": "build", "memory": "24MB", "said": told[:1], "broken": broken}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
