"""What every benchmark shares: its size, its measurements, how seconds are taken and shown.

Belongs here: types, clocks, the alternation of contenders, the table of results. Does not belong
here: any contender, any data (events.py makes those).

A ratio is taken of two runs that followed each other, and the figure is the median of such ratios:
on a machine that does other work too, both halves of a pair see about the same load, where two
medians taken apart need not.
"""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")

COLUMNS = ("benchmark", "ours", "against", "theirs", "unit", "ratio", "target", "holds")


class NotEqualError(Exception):
    """Two contenders gave different rows, so that their times can't be compared."""


class Seconds(NamedTuple):
    """Time that something took: by the clock, and of the CPUs (this process and its children)."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Size:
    """How much to measure: events in all, runs of each contender, a folder to work in.

    The folder may keep what is dear to make (events) from one run to the next.
    """

    events: int
    runs: int
    folder: Path


@dataclass(frozen=True)
class Measurement:
    """Ours beside a rival or a floor: one figure a run in `unit`, run i of both as one pair.

    Beside a rival the ratio is theirs ÷ ours and holds from `target` up. Beside a
    floor (`is_floor`: the least that any solution must do) it is ours ÷ floor and holds up to
    `target`.
    """

    name: str
    ours: list[float]
    floor_or_rival: list[float]
    rival: str
    unit: str
    target: float
    note: str
    is_floor: bool = False

    @property
    def ratio(self) -> float:
        """Median of the pairwise ratios."""
        pairs = zip(self.ours, self.floor_or_rival, strict=True)
        return statistics.median(
            ours / other if self.is_floor else other / ours for ours, other in pairs
        )

    @property
    def holds(self) -> bool:
        """Whether the ratio is on the right side of the target."""
        return self.ratio <= self.target if self.is_floor else self.ratio >= self.target

    def row(self) -> tuple[str, ...]:
        """The line of the table, see COLUMNS."""
        return (
            self.name,
            f"{statistics.median(self.ours):.3g}",
            self.rival,
            f"{statistics.median(self.floor_or_rival):.3g}",
            self.unit,
            f"{self.ratio:.2f}",
            f"{'≤' if self.is_floor else '≥'} {self.target:g}",
            "yes" if self.holds else "no",
        )

    def document(self) -> dict[str, Any]:
        """The measurement as JSON."""
        return {**asdict(self), "ratio": self.ratio, "holds": self.holds}


def timed(action: Callable[[], object]) -> Seconds:
    """Seconds that `action` takes, by the clock and of the CPUs."""
    cpu, wall = _cpu_seconds(), time.perf_counter()
    action()
    return Seconds(time.perf_counter() - wall, _cpu_seconds() - cpu)


def in_own_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a module's function in a new process and return what it returns.

    A contender neither inherits the other's allocator and thread pools nor its warm caches; the
    file cache stays warm for all. What starting and importing cost is the caller's to leave out:
    the function takes its own times. Raises what the function raises.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def alternate(runs: int, contenders: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Run every contender `runs` times, in turns that begin with another one each time.

    Returns the figures by contender; those of one turn belong together.
    """
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(runs):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            figures[name].append(contenders[name]())
    return figures


def table(measurements: Sequence[Measurement]) -> str:
    """The measurements as lines of text, columns aligned, the notes below."""
    rows = [COLUMNS, *(measurement.row() for measurement in measurements)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes = [f"{item.name}, {item.rival}: {item.note}" for item in measurements if item.note]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
