"""Requests to erase a user, carried out in the whole installation.

Belongs here: which files are deleted, the order of steps, the proof. Does not belong here: what is
taken out of a row (landing/erasing.py), how the build file is written anew (rewriting.py).

In this order, so that whoever dies in between leaves the request to the next run: extracts below
ROLLCALL_HOME and logs that name the user, then raw together with the proof. A landing folder
elsewhere is not ours to change: the proof says how many files there still name the user.
"""

import gzip
import os
import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from backports import zstd

from dagster_project import rewriting
from dagster_project.warehouse import ENVIRONMENTS, NO_DOWNLOADS, Warehouse
from landing import create_raw_schema
from landing.erasing import Request, erase, is_word, pending, read_keys
from landing.erasing import files_naming as landed_files_naming
from landing.ledger import roll_back

Forget = Callable[[str], None]
BLOCK_BYTES, ROWS_AT_ONCE = 1 << 22, 5_000


@dataclass(frozen=True)
class Report:
    """What was carried out: requests, identifiers, rows of raw, files that went and that are left.

    `left` are extracts in a landing folder of somebody else's.
    """

    requests: int
    identifiers: int
    rows: int
    deleted: int
    left: tuple[str, ...]

    def sentence(self) -> str:
        """For the console."""
        said = (
            f"erased {self.requests} user{'s' * (self.requests != 1)}: {self.identifiers}"
            f" identifiers in {self.rows:,} rows, {self.deleted} files deleted"
        )
        if self.left:
            said += (
                f"; {len(self.left)} extracts still name them, delete them where they come from:"
                f" {', '.join(self.left[:3])}{', …' * (len(self.left) > 3)}"
            )
        return said


def carry_out(at: Warehouse, run_id: str, now: datetime, forget: Forget) -> Report | None:
    """Carry out what was requested and has landed; None when there is nothing to do.

    `forget` deletes what Dagster keeps of a run. The build file must not be open. Afterwards both
    environments have to be built and published (rewriting.py). Raises OSError, WarehouseBusyError.
    """
    with at.connect() as connection:
        requests = pending(connection)
        is_due = rewriting.is_due(connection)
        if requests:
            # a copy of an extract elsewhere counts as left; of ours it goes
            named = landed_files_naming(connection, requests)
    report = None
    if requests:
        words = sorted({one for request in requests for one in request.identifiers})
        deleted, left = remove_extracts(at, named, words)
        deleted += remove_logs(at, words, run_id, forget)
        report = _take_out(at, requests, run_id=run_id, now=now, deleted=deleted, left=left)
    if requests or is_due:
        rewriting.rewrite(at)
    return report


def _take_out(  # noqa: PLR0913 - what a proof says, by name
    at: Warehouse,
    requests: list[Request],
    *,
    run_id: str,
    now: datetime,
    deleted: int,
    left: tuple[str, ...],
) -> Report:
    with at.connect() as connection:
        connection.begin()
        try:
            asked = dict(
                connection.execute(
                    "select user_id, min(requested_at) from raw.erasures group by user_id"
                ).fetchall()
            )
            rows = erase(connection, requests)
            key = read_keys(connection)[0]
            connection.executemany(
                "insert into raw.erasure_proofs values (?, ?, ?, ?, ?, ?, ?, ?, ?, null)",
                [
                    (
                        key.tombstone(request.user_id),
                        key.key_id,
                        asked[request.user_id],
                        now.replace(tzinfo=None),
                        run_id,
                        len(request.identifiers),
                        rows,
                        deleted,
                        len(left),
                    )
                    for request in requests
                ],
            )
            rewriting.begin(connection, at, "erasure", now)
        except BaseException:
            roll_back(connection)
            raise
        connection.commit()
    identifiers = {one for request in requests for one in request.identifiers}
    return Report(len(requests), len(identifiers), rows, deleted, left)


def remove_extracts(
    at: Warehouse, named: Collection[str], words: Collection[str]
) -> tuple[int, tuple[str, ...]]:
    """Delete extracts below ROLLCALL_HOME that name somebody: (deleted, paths left elsewhere).

    `named`: paths, relative to the landing folder, whose rows did. Of ours each file is looked into
    as well: one that failed, or brought copies alone, has no rows.
    """
    if not at.landing.is_dir():
        return 0, ()
    if not at.landing.is_relative_to(at.home):
        return 0, tuple(sorted(one for one in named if (at.landing / one).is_file()))
    there = [
        path
        for path in _files_below(at.landing)
        if path.relative_to(at.landing).as_posix() in named or _names(path, words)
    ]
    for path in there:
        path.unlink()
    return len(there), ()


def remove_logs(at: Warehouse, words: Collection[str], run_id: str, forget: Forget) -> int:
    """Delete what names somebody in logs, in dbt's artifacts and in Dagster's storage.

    The run that runs is left alone: its storage is open. Returns the number of files.
    """
    deleted = 0
    databases = []
    for folder in (at.dagster_home, at.home / "dbt", at.spill, at.shares_folder):
        for path in _files_below(folder):
            if run_id in path.as_posix() or not _names(path, words):
                continue
            if path.suffix in (".db", ".db-wal", ".db-shm"):
                databases.append(path)
            elif path.exists():
                path.unlink()
                deleted += 1
    runs = at.dagster_home / "history" / "runs"
    for path in databases:
        if path.parent == runs and path.name.split(".")[0] != "index":
            forget(path.name.split(".")[0])
            deleted += 1
    for path in sorted({one.with_suffix(".db") for one in databases}):
        if path.exists():
            # deleted rows stay readable in a database file until it is written anew
            with sqlite3.connect(path) as connection:
                connection.execute("vacuum")
    log = at.home / "run.log"
    if log.exists() and _names(log, words):
        # it is open for writing while the run goes on
        log.write_bytes(b"")
        deleted += 1
    return deleted


def note_published(at: Warehouse, now: datetime) -> None:
    """Complete the proofs when no version with what was erased is left in any environment."""
    with at.connect() as connection:
        create_raw_schema(connection)
        [(waiting,)] = connection.execute(
            "select count(*) from raw.erasure_proofs where published_at is null"
        ).fetchall()
        if not waiting or rewriting.is_due(connection):
            return
    if all(rewriting.delete_versions_before(at, name) for name in ENVIRONMENTS):
        with at.connect() as connection:
            connection.execute(
                "update raw.erasure_proofs set published_at = ? where published_at is null",
                [now.replace(tzinfo=None)],
            )


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            yield path


def _names(path: Path, words: Collection[str]) -> bool:
    """Whether an identifier that is unlike other words stands in a file or its name."""
    sought = [word.encode("utf-8", "surrogatepass") for word in words if is_word(word)]
    name = os.fsencode(path.name)
    if not sought or any(word in name for word in sought):
        return bool(sought)
    longest, before = max(map(len, sought)), b""
    try:
        for block in _blocks(path):
            content = before + block
            if any(word in content for word in sought):
                return True
            before = content[-longest:]
    except (OSError, EOFError, zlib.error, zstd.ZstdError, duckdb.Error):
        # broken from here on: nobody can read on
        return False
    return False


def _blocks(path: Path) -> Iterator[bytes]:
    """What a file holds, unpacked, piece by piece; of Parquet the rows as text."""
    if path.suffix == ".parquet":
        with duckdb.connect(config=dict(NO_DOWNLOADS)) as connection:
            connection.execute("from read_parquet(?)", [str(path)])
            while rows := connection.fetchmany(ROWS_AT_ONCE):
                yield repr(rows).encode("utf-8", "surrogatepass")
        return
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".zst": zstd.open}
    with openers.get(path.suffix, Path.open)(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block
