"""The warehouse as a Dagster resource: one run holds the writer's lock from its first step on.

Belongs here: what every step needs around itself, the storage of runs. Does not belong here:
addresses (warehouse.py).
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from logging import WARNING

import dagster as dg

from dagster_project import event_log
from dagster_project.progress import sayer
from dagster_project.warehouse import Warehouse, WarehouseBusyError

WRITER_POOL = "writer"


@dg.resource(description="The addresses of this installation, with the writer's lock held.")
def warehouse(context: dg.InitResourceContext) -> Iterator[Warehouse]:
    """Take the lock for the run; say what a killed predecessor left behind.

    With the in-process executor a resource lives as long as the run, so nothing lands between the
    two environments' builds of one run.
    """
    at = Warehouse.from_environment()
    run = f"run {context.run_id[:8]}" if context.run_id else "a run"
    with ExitStack() as held:
        if context.instance:
            held.enter_context(event_log.kept_open(context.instance))
        found = held.enter_context(at.writing(run))
        for sentence in found:
            sayer(context.log or dg.get_dagster_logger(), WARNING)(sentence)
        yield at


@contextmanager
def retried_when_busy() -> Iterator[None]:
    """Let Dagster retry a step that met the build file open in another program.

    Six times five seconds: the writer of a killed run, a dbt child, ends well within that.
    """
    try:
        yield
    except WarehouseBusyError as error:
        raise dg.RetryRequested(max_retries=6, seconds_to_wait=5) from error


def forget_run(instance: dg.DagsterInstance, at: Warehouse, run_id: str) -> None:
    """Delete what Dagster keeps of a run.

    Its storage empties a run's database, 3 MB for a run of 280 checks, and leaves the file.
    """
    instance.delete_run(run_id)
    for path in at.files_of_run(run_id):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@dg.definitions
def resources() -> dg.Definitions:
    """The warehouse, under the name the assets ask for."""
    return dg.Definitions(resources={"warehouse": warehouse})
