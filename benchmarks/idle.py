"""A run with nothing to do, against one bare `dbt build` of production: seconds of CPU.

The home is that of the demo extracts. `make run` finds that every file is in the ledger and that
all is published; what it costs is starting Python, Dagster and one look.
"""

import sys

from benchmarks.frame import Measurement, Size, alternate
from benchmarks.processes import run, run_dbt, run_job

ENVIRONMENT = "production"


def measure(size: Size) -> list[Measurement]:
    """CPU seconds of all processes, ours and dbt's in turns."""
    home = size.folder / "idle"
    landing = home / "extracts"
    if not landing.exists():
        home.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-m", "simulator", "--quiet", "--out", str(landing)], home)
    # twice: the first builds, whatever the code was when the home was made
    for _ in range(2):
        run_job(home, landing)
    build = ("build", "--exclude-resource-type", "unit_test")
    run_dbt(home, ENVIRONMENT, *build)
    figures = alternate(
        size.runs,
        {
            "ours": lambda: run_job(home, landing).cpu,
            "dbt": lambda: run_dbt(home, ENVIRONMENT, *build).cpu,
        },
    )
    note = "`make run` on demo extracts that are landed, built and published"
    return [
        Measurement(
            "idle", figures["ours"], figures["dbt"], "dbt build", "CPU s", target=1, note=note
        )
    ]
