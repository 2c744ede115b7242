"""Programs of the project run as a user runs them: seconds, CPU and memory of all their processes.

Belongs here: starting, waiting, reading /proc (Linux). Does not belong here: what is run.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dagster_project.dbt_runner import DBT_EXECUTABLE
from dagster_project.warehouse import CHECKOUT, DBT_PROJECT

SAMPLES_A_SECOND = 10
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Ran:
    """A program that ended well: seconds by the clock, seconds of CPU of it and its children.

    `peak_gib` is the most memory that all its processes held resident at once, ten looks a second.
    """

    seconds: float
    cpu: float
    peak_gib: float


def run(command: Sequence[str], home: Path, **settings: str) -> Ran:
    """Run a program on a home, with `settings` as environment variables besides.

    Raises RuntimeError with the end of its output when it fails.
    """
    environment = {**os.environ, "ROLLCALL_HOME": str(home), "DO_NOT_TRACK": "1", **settings}
    log = home / "benchmark.log"
    with log.open("w") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        peak = _Peak(process.pid)
        with peak:
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text()[-2000:]}")
    largest = max(peak.bytes, usage.ru_maxrss * 1024)
    return Ran(seconds, usage.ru_utime + usage.ru_stime, largest / 2**30)


def run_job(home: Path, landing: Path, **settings: str) -> Ran:
    """`make run`."""
    command = [sys.executable, "-m", "dagster_project.run"]
    return run(command, home, ROLLCALL_LANDING=str(landing), **settings)


def run_dbt(home: Path, environment: str, *arguments: str, **settings: str) -> Ran:
    """dbt on one environment, as a command of its own; it keeps its parse between runs."""
    target = home / "dbt" / f"{environment}-alone"
    for folder in (target, home / "marts", home / "spill"):
        folder.mkdir(parents=True, exist_ok=True)
    command = [str(DBT_EXECUTABLE), "--quiet", *arguments, "--target", environment]
    places = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    outputs = ["--target-path", str(target), "--log-path", str(target)]
    return run([*command, *places, *outputs], home, **settings)


class _Peak:
    """Looks at the memory of a process and its descendants until it is left."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(1 / SAMPLES_A_SECOND):
            self.bytes = max(self.bytes, sum(map(_resident, _family(self._pid))))


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0
