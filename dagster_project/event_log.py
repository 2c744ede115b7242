"""Dagster's storage in SQLite, without setting it up and waiting for the disk at every event.

Belongs here: how a run's connections to Dagster's SQLite files are made. Does not belong here:
which storage Dagster uses (dagster.yaml); a Postgres one is left as it is.

For each event, and three times for a check, Dagster makes an engine, which learns its dialect and
compiles its statements anew, and opens and closes a connection. In WAL mode each commit is a sync,
and the last connection to close copies the log back, syncs again and removes it: of the 170 s of a
first `make run` with 983 checks, 82 s went into that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import QueuePool

# Where Dagster calls create_engine.
MODULES: tuple[Any, ...] = (sqlite_event_log, sqlite_run_storage)


@contextmanager
def kept_open(instance: dg.DagsterInstance) -> Iterator[None]:
    """Keep the SQLite files of a run open meanwhile, and commit to them without a sync each.

    A run that is killed loses no event; a power cut can take its last ones, never the file.
    """
    is_sqlite = isinstance(instance.event_log_storage, sqlite_event_log.SqliteEventLogStorage)
    if not is_sqlite or MODULES[0].create_engine is not create_engine:
        yield
        return
    engines: dict[str, Engine] = {}

    def kept(url: str, **options: Any) -> Engine:
        if url not in engines:
            engines[url] = create_engine(url, **{**options, "poolclass": _KeptPool})
            event.listen(engines[url], "connect", _sync_at_checkpoints)
        return engines[url]

    for module in MODULES:
        module.create_engine = kept
    try:
        yield
    finally:
        for module in MODULES:
            module.create_engine = create_engine
        for engine in engines.values():
            QueuePool.dispose(engine.pool)  # type: ignore[arg-type]


class _KeptPool(QueuePool):
    """Connections that stay open when Dagster is done with an engine."""

    def dispose(self) -> None:
        pass

    def recreate(self) -> "_KeptPool":
        return self


def _sync_at_checkpoints(connection: Any, _: Any) -> None:
    connection.execute("pragma synchronous = normal")
