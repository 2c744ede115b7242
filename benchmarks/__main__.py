"""`make bench`: run the benchmarks that were asked for, print the table, write benchmarks.json.

Settings are environment variables: ONLY (names of benchmarks, by commas; default all), RUNS (of
each contender, default 5), EVENTS (default 20,000,000), OUT (folder of benchmarks.json, default
ROLLCALL_HOME). Exit codes: 0 measured, whatever the figures; 1 a benchmark failed, or contenders
disagreed about the rows; 2 usage.
"""

import importlib
import json
import os
import pkgutil
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

import benchmarks
from benchmarks.frame import Measurement, Size, table
from dagster_project.warehouse import ConfigurationError, Warehouse

DEFAULT_EVENTS = 20_000_000
DEFAULT_RUNS = 5


def available() -> list[str]:
    """Names of the benchmarks: the modules of this package that have a `measure`."""
    names = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return [
        name
        for name in names
        if name != "__main__"
        and "\ndef measure(" in (Path(benchmarks.__path__[0]) / f"{name}.py").read_text()
    ]


def chosen(environ: Mapping[str, str]) -> list[str]:
    """The benchmarks that ONLY names, else all. Raises ConfigurationError for an unknown name."""
    only = [name.strip() for name in environ.get("ONLY", "").split(",") if name.strip()]
    if unknown := sorted(set(only) - set(available())):
        raise ConfigurationError(
            f"ONLY names {', '.join(unknown)}; there are {', '.join(available())}"
        )
    return only or available()


def number(environ: Mapping[str, str], name: str, default: int) -> int:
    """A setting that has to be a whole number from 1 up. Raises ConfigurationError."""
    text = environ.get(name, "").strip().replace(",", "").replace("_", "")
    if text and (not text.isdecimal() or int(text) < 1):
        raise ConfigurationError(f"{name} is {text!r}: a whole number from 1 up is needed")
    return int(text) if text else default


def main(environ: Mapping[str, str]) -> int:
    """Measure and report; returns the exit code."""
    try:
        warehouse = Warehouse.from_environment(environ)
        names = chosen(environ)
        size = Size(
            events=number(environ, "EVENTS", DEFAULT_EVENTS),
            runs=number(environ, "RUNS", DEFAULT_RUNS),
            folder=warehouse.home / "benchmarks",
        )
    except ConfigurationError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    out = Path(environ.get("OUT", "").strip() or warehouse.home)
    out.mkdir(parents=True, exist_ok=True)
    size.folder.mkdir(parents=True, exist_ok=True)

    measurements: list[Measurement] = []
    failed: list[str] = []
    for name in names:
        sys.stderr.write(f"bench: {name}\n")
        try:
            measurements += importlib.import_module(f"benchmarks.{name}").measure(size)
        except Exception:
            # the other benchmarks' figures are worth having
            traceback.print_exc()
            failed.append(name)
        # after each one: who stops a long run keeps what was measured
        document = {
            "events": size.events,
            "runs": size.runs,
            "cpus": len(os.sched_getaffinity(0)),
            "failed": failed,
            "measurements": [measurement.document() for measurement in measurements],
        }
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (out / "benchmarks.json").write_text(text)
    sys.stdout.write(table(measurements) + "\n")
    if failed:
        sys.stderr.write(f"bench: failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
