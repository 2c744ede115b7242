"""Dagster's event log during a run: files stay open, a commit does not wait for the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import create_engine

from dagster_project import event_log

RUN = "0f9a1c7e-6c5b-4c39-9a53-0d6f3c1b2a47"
NORMAL, FULL = 1, 2


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.local_temp(str(tmp_path))


def syncs(instance: dg.DagsterInstance) -> int:
    with instance.event_log_storage.run_connection(RUN) as connection:
        return connection.exec_driver_sql("pragma synchronous").scalar()


def logs(folder: Path) -> set[str]:
    """Files whose write-ahead log still stands after the last connection of Dagster closed."""
    return {path.name.removesuffix("-wal") for path in folder.rglob("*.db-wal")}


def test_the_files_of_a_run_stay_open_until_it_ends(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert syncs(instance) == FULL
    assert logs(tmp_path) == set()
    with event_log.kept_open(instance):
        assert syncs(instance) == NORMAL
        instance.report_engine_event("begun", run_id=RUN, job_name="run")
        assert f"{RUN}.db" in logs(tmp_path)
    assert logs(tmp_path) == set()
    assert syncs(instance) == FULL
    # what was written meanwhile is in the file itself
    [file] = tmp_path.rglob(f"{RUN}.db")
    with sqlite3.connect(file) as connection:
        assert connection.execute("select count(*) from event_logs").fetchone() == (1,)


def test_a_run_within_a_run_keeps_what_the_outer_one_set(instance: dg.DagsterInstance) -> None:
    with event_log.kept_open(instance):
        with event_log.kept_open(instance):
            assert syncs(instance) == NORMAL
        assert syncs(instance) == NORMAL


def test_another_storage_is_left_as_it_is() -> None:
    with dg.DagsterInstance.ephemeral() as instance, event_log.kept_open(instance):
        assert {module.create_engine for module in event_log.MODULES} == {create_engine}
