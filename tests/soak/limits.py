"""A disk that is full at each stage: what is said, what still stands, and the run after.

The stages work in a file system of 24 MB, mounted in a namespace of its own, of which a file takes
all but a little; then the file goes, and an ordinary run follows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from dagster_project import erasures
from landing import land
from tests.soak import work

ROOT = Path(__file__).resolve().parent.parent.parent
SIZE = 24 << 20
# what is left at each stage: enough to begin, too little to end
LEFT = {"land": 24 << 10, "take out": 300 << 10, "publish": 24 << 10}
NAMESPACE = ("unshare", "--map-root-user", "--mount")


def can_mount() -> bool:
    """Whether this machine lets us mount a file system in a namespace of our own."""
    try:
        probe = [*NAMESPACE, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def soak(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Fill the disk at each stage, `count` times."""
    if not can_mount():
        return {"skipped": "a file system can't be mounted here", "stages": [], "broken": []}
    stages: list[dict[str, Any]] = []
    broken: list[str] = []
    for _ in range(count):
        for stage in LEFT:
            place = folder / stage.replace(" ", "_")
            place.mkdir(parents=True, exist_ok=True)
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
                broken.append(f"{stage}: {done.stderr[-800:]}")
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            stages.append(found)
            broken += found.pop("broken")
    return {"stages": stages, "broken": broken}


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
    at = work.prepare(place)
    before = at.published_version("production")
    if stage != "land":
        with at.connect() as connection:
            land(connection, at.landing, run_id="run", clock=work.CLOCK)
    if stage == "publish":
        erasures.carry_out(at, "run", work.CLOCK, lambda run_id: None)
    ballast = fill(place, LEFT[stage])
    said = ""
    try:
        if stage == "land":
            with at.connect() as connection:
                land(connection, at.landing, run_id="run", clock=work.CLOCK)
        elif stage == "take out":
            erasures.carry_out(at, "run", work.CLOCK, lambda run_id: None)
        else:
            work.publish_what_stands(at)
    except (OSError, duckdb.Error) as error:
        said = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    broken = []
    if "space" not in said.lower():
        broken.append(f"{stage}: a full disk was not said to be one: {said!r}")
    if at.published_version("production") != before:
        broken.append(f"{stage}: another version was published")
    with at.connect_published("production") as connection:
        connection.execute("select count(*) from production.fct_events").fetchall()
    ballast.unlink()
    work.carry_out(at)
    broken += [f"{stage}: {fault}" for fault in work.faults(at)]
    print(json.dumps({"stage": stage, "said": said[:200], "broken": broken}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
