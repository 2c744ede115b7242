"""Command line of the simulator: `python -m simulator --out FOLDER`.

Here: arguments, progress lines, exit codes (0 written, 2 usage). Not here: the generation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from simulator.generation import FORMATS, UsageError, generate

DEFAULT_EVENTS = 50_000
DEFAULT_DAYS = 42
DEFAULT_UNTIL = date(2026, 9, 30)
DEFAULT_SEED = 1


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    result = argparse.ArgumentParser(prog="python -m simulator", description="Make demo extracts.")
    result.add_argument("--out", type=Path, required=True, help="new or empty folder")
    result.add_argument("--events", type=int, default=DEFAULT_EVENTS, help="events in all")
    result.add_argument("--days", type=int, default=DEFAULT_DAYS, help="whole UTC days")
    result.add_argument(
        "--until", type=date.fromisoformat, default=DEFAULT_UNTIL, help="last day, YYYY-MM-DD"
    )
    result.add_argument("--seed", type=int, default=DEFAULT_SEED, help="another company each")
    result.add_argument("--format", choices=FORMATS, default="mixed", dest="file_format")
    result.add_argument(
        "--only", type=date.fromisoformat, help="just the files that hold this day, YYYY-MM-DD"
    )
    result.add_argument(
        "--answer-key",
        action=argparse.BooleanOptionalAction,
        default=None,
        dest="with_answer_key",
        help="compute the answers too (default: up to 5,000,000 events)",
    )
    result.add_argument("--quiet", action="store_true", help="no progress lines")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = vars(parser().parse_args(arguments))
    quiet = options.pop("quiet")
    try:
        report = generate(**options, on_progress=None if quiet else show)
    except UsageError as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    show(
        f"{report.events:,} events in {report.files:,} files, {report.bytes / 1e6:,.1f} MB:"
        f" {report.out}"
    )
    return 0


def show(line: str) -> None:
    """Write a progress line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
