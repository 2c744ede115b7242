"""`python -m dagster_project.run`: the main job, once, in the foreground.

Belongs here: configuration errors, the console, the exit code. Does not belong here: what the job
does (defs/), what is printed at the end (reporting.py).

Exit codes: 0 all well, shares that were refused included; 1 a check or model failed, what had
been published stays, or a share was held back by a gate or did not reach its destination; 2 usage
or configuration, nothing was changed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from dagster_project import alerts, progress, reporting, shares, snapshots, worklist
from dagster_project.warehouse import (
    CHECKOUT,
    ENVIRONMENTS,
    ConfigurationError,
    Warehouse,
    WarehouseBusyError,
    open_locked_down,
)

Say = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dagster_project.run",
        description="Land what is new, build both environments, check, publish, share. Settings:"
        " ROLLCALL_HOME, ROLLCALL_LANDING, ROLLCALL_SHARES, ROLLCALL_ENGINE,"
        " ROLLCALL_LOCK_SECONDS, ROLLCALL_MEMORY.",
    )
    parser.parse_args(arguments)
    try:
        warehouse = Warehouse.from_environment()
        shares.read(warehouse)
        with warehouse.writing("make run") as found:
            log = warehouse.home / "run.log"
            with console(log) as say:
                for sentence in found:
                    say(f"! {sentence}")
                return run_reporting_failures(warehouse, say, log)
    except (ConfigurationError, WarehouseBusyError) as error:
        print(f"rollcall: {error}", file=sys.stderr)  # noqa: T201
        return 2


@contextmanager
def console(log: Path) -> Iterator[Say]:
    """Keep the terminal for our lines; what libraries and dbt print goes to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace") as terminal:

        def say(line: str) -> None:
            terminal.write(line + "\n")
            terminal.flush()

        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        try:
            yield say
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)


def run_reporting_failures(warehouse: Warehouse, say: Say, log: Path) -> int:
    """Run; an error that nobody foresaw becomes one line here and its traceback in the log."""
    try:
        return run(warehouse, say, log)
    except (ConfigurationError, WarehouseBusyError):
        raise
    except Exception as error:
        traceback.print_exc()
        said = f"{str(error).splitlines()[0][:300]}{progress.remedy(str(error))}"
        say(f"rollcall: unforeseen {type(error).__name__}: {said}")
        say(f"  what was published before still stands; the traceback is in {shown(log)}")
        alerts.send(warehouse, alerts.of_run("run", {"run": type(error).__name__}, []))
        return 1


def run(warehouse: Warehouse, say: Say, log: Path) -> int:
    """Prepare what the job needs, execute it, print the summary."""
    started = time.monotonic()
    prepare_instance(warehouse)
    make_demo_extracts(warehouse, say)
    if not parse_models(warehouse, say, log):
        return 1
    outcome = execute(warehouse, say, log, started)
    say("")
    say(reporting.summarize(outcome))
    tell_who_has_to_know(warehouse, outcome)
    return 0 if outcome.is_success else 1


def tell_who_has_to_know(warehouse: Warehouse, outcome: reporting.Outcome) -> None:
    """Alerts of a failed run and of stale tables: see alerts.py."""
    if not outcome.is_success:
        alert = alerts.of_run("run", dict(outcome.failed_steps), list(outcome.checks_failed))
        alerts.send(warehouse, alert)
    alerts.tell_of_stale(warehouse, datetime.now(UTC))


def prepare_instance(warehouse: Warehouse) -> None:
    """Put the committed dagster.yaml where Dagster looks for it."""
    os.environ.update(warehouse.variables())
    committed = CHECKOUT / "dagster.yaml"
    instance = warehouse.dagster_home / "dagster.yaml"
    if not instance.exists() or instance.read_bytes() != committed.read_bytes():
        shutil.copyfile(committed, instance)


def make_demo_extracts(warehouse: Warehouse, say: Say) -> None:
    """Fill the default landing folder when there is nothing in it; no other folder is touched."""
    folder = warehouse.landing
    if folder != warehouse.default_landing or (folder.exists() and any(folder.iterdir())):
        return
    say(f"No extracts yet: making demo extracts in {shown(folder)}")
    # Written beside it and renamed: a killed simulator leaves no half of a demo.
    unfinished = folder.with_name(".landing.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [sys.executable, "-m", "simulator", "--out", str(unfinished)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigurationError(f"demo extracts could not be made: {done.stderr.strip()[-500:]}")
    if folder.exists():
        folder.rmdir()
    unfinished.rename(folder)


def parse_models(warehouse: Warehouse, say: Say, log: Path) -> bool:
    """Parse the dbt project where it changed; says so when it does not parse."""
    from dagster_dbt.errors import DagsterDbtCliRuntimeError  # noqa: PLC0415

    from dagster_project import dbt_runner  # noqa: PLC0415

    try:
        parsed = dbt_runner.prepare_manifests(warehouse)
    except DagsterDbtCliRuntimeError as error:
        say(f"dbt_project/ does not parse: {error.description}\n  more in {shown(log)}")
        return False
    if parsed:
        say("Parsed dbt_project/")
    return True


def execute(warehouse: Warehouse, say: Say, log: Path, started: float) -> reporting.Outcome:
    """Execute the job in this process against the instance that `make ui` shows."""
    import dagster as dg  # noqa: PLC0415

    from dagster_project.definitions import defs  # noqa: PLC0415

    handler = progress.ProgressHandler(say)
    definitions = dg.Definitions.merge(
        defs(), dg.Definitions(loggers={"progress": progress.logger_definition(handler)})
    )
    with dg.DagsterInstance.get() as instance:
        result = execute_job(definitions, job_to_run(warehouse), instance)
        run_ids = [result.run_id]
        # what is published already is no step of a run, and neither is what follows from it
        if result.success and any(shares.waiting(warehouse)):
            result = execute_job(definitions, "share", instance)
            run_ids.append(result.run_id)
    seconds = reporting.by_environment(handler.collected.seconds)
    return reporting.Outcome(
        is_success=result.success,
        seconds=time.monotonic() - started,
        landing=read_landing(warehouse, run_ids[0]),
        environments=[
            read_environment(warehouse, name, seconds.get(name, {}), handler.collected.published)
            for name in ENVIRONMENTS
        ],
        shares=read_shares(warehouse, run_ids),
        checks_passed=handler.collected.checks_passed,
        checks_warned=handler.collected.checks_warned,
        checks_failed=handler.collected.checks_failed,
        failed_steps=handler.collected.failed_steps,
        home=shown(warehouse.home),
        landing_folder=shown(warehouse.landing),
        log=shown(log),
    )


def job_to_run(warehouse: Warehouse) -> str:
    """Nothing new: the job that would find that out for every model is not begun."""
    return "land" if worklist.is_idle(warehouse) else "run"


def execute_job(definitions: Any, job: str, instance: Any) -> Any:
    """Execute one job in this process; its result."""
    from dagster_project import event_log  # noqa: PLC0415

    with event_log.kept_open(instance):
        return definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={"loggers": {"progress": {}}},
        )


def read_shares(warehouse: Warehouse, run_ids: Sequence[str]) -> list[reporting.Shared]:
    """Where every share stands."""
    file = shares.read(warehouse)
    try:
        with warehouse.connect() as connection:
            return reporting.read_shares(connection, run_ids, [one.name for one in file.shares])
    except (duckdb.Error, WarehouseBusyError):
        return []


def read_landing(warehouse: Warehouse, run_id: str) -> reporting.Landing | None:
    """What the run landed; None when landing never began."""
    try:
        with warehouse.connect() as connection:
            return reporting.read_landing(connection, run_id)
    except (duckdb.Error, WarehouseBusyError):
        return None


def read_environment(
    warehouse: Warehouse, name: str, seconds: dict[str, float], published: set[str]
) -> reporting.Environment:
    """What is published of one environment, and its figures."""
    path = warehouse.published_version(name)
    if path is None:
        return reporting.Environment(name)
    with open_locked_down(path) as connection:
        rows = reporting.count_rows(connection, name)
        mau, rate = reporting.read_figures(connection, name)
    version = snapshots.parse_version(path.name)
    stem = f"{shown(warehouse.latest(name))} -> {path.stem if version else path.name}"
    return reporting.Environment(name, rows, seconds, stem, name in published, mau, rate)


def shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


if __name__ == "__main__":
    sys.exit(main())
