"""Dagster's event log in SQLite, without waiting for the disk after every check.

Belongs here: how a run's connections to Dagster's SQLite files are set. Does not belong here:
which storage Dagster uses (dagster.yaml); a Postgres one is left as it is.

Dagster opens and closes a connection for each event, three for a check. In WAL mode each commit is
a sync, and the last connection to close copies the log back, syncs again and removes it: of the
170 s of a first `make run` with 983 checks, 82 s went into that.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import dagster as dg
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from sqlalchemy import event
from sqlalchemy.engine import Engine


@contextmanager
def kept_open(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Keep the files of a run's events open meanwhile, and commit to them without a sync each.

    A run that is killed loses no event; a power cut can take its last ones, never the file.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage) or event.contains(*HOOK):
        yield
        return
    event.listen(*HOOK)
    try:
        with ExitStack() as held:
            for shard in (INDEX_SHARD_NAME, run_id):
                # Dagster makes the file where there is none yet
                with storage.run_connection(shard):
                    pass
                file = held.enter_context(closing(sqlite3.connect(storage.path_for_shard(shard))))
                # from its first statement on a connection has the file open
                file.execute("pragma schema_version").fetchone()
            yield
    finally:
        event.remove(*HOOK)


def _sync_at_checkpoints(connection: Any, _: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = normal")


HOOK = (Engine, "connect", _sync_at_checkpoints)
