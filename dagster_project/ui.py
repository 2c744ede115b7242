"""`python -m dagster_project.ui`: Dagster's web UI and daemon on this machine's loopback.

Belongs here: what has to be in place before the UI starts. Does not belong here: what it shows.

The web server knows no sign-in: it listens on 127.0.0.1 and nowhere else; who wants it elsewhere
puts a proxy with sign-in in front.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dagster_project import dbt_runner
from dagster_project.run import prepare_instance
from dagster_project.warehouse import CHECKOUT, ConfigurationError, Warehouse


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare, then become the server; returns only when that fails."""
    parser = argparse.ArgumentParser(prog="python -m dagster_project.ui", description=__doc__)
    parser.add_argument("--port", type=int, default=3000)
    port = parser.parse_args(arguments).port
    try:
        warehouse = Warehouse.from_environment()
        warehouse.prepare_folders()
    except ConfigurationError as error:
        print(f"rollcall: {error}", file=sys.stderr)  # noqa: T201
        return 2
    prepare_instance(warehouse)
    dbt_runner.prepare_manifests(warehouse)
    print(f"http://127.0.0.1:{port}  (Ctrl-C ends; runs and schedules stop with it)", flush=True)  # noqa: T201
    become_server(port)
    return 1


def become_server(port: int) -> None:
    """Replace this process by `dg dev`; dagster.yaml is read from DAGSTER_HOME alone."""
    # In the checkout itself Dagster would warn of the dagster.yaml there, which it does not read.
    os.chdir(CHECKOUT / "dagster_project")
    os.environ["VIRTUAL_ENV"] = sys.prefix
    executable = str(Path(sys.executable).with_name("dg"))
    listen = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    os.execv(executable, [executable, "dev", *listen])


if __name__ == "__main__":
    sys.exit(main())
