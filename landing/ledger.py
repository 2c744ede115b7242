"""The ledger of files, `raw.landed_files`: what is known of a path, and what is written of it.

A path has at most one row that says how it landed (`landed`, `same_content`, `failed`) and at
most one that says it was changed afterwards. Belongs here: reading and writing ledger rows. Does
not: deciding what a file holds.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

import duckdb

from landing.discover import Found
from landing.reasons import Reason
from landing.store import Counts


def roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    """End the open transaction, if there still is one.

    DuckDB ends it itself where it can't commit, on a full disk; "no transaction is active" would
    then hide the reason.
    """
    with suppress(duckdb.TransactionException):
        connection.rollback()


class Entry(NamedTuple):
    """A ledger row, as far as later runs need it."""

    path: str
    table_name: str | None
    status: str
    reason: str | None
    sha256: str | None
    bytes: int | None
    mtime_ns: int | None
    lines: int
    covers_from: date | None
    covers_to: date | None
    received_from: date | None
    received_to: date | None

    def is_at_rest(self, found: Found) -> bool:
        """Whether the file is still the one that this row speaks of, judged by stat alone."""
        if self.reason == Reason.FILE_UNREADABLE:
            return False  # mending permissions changes neither size nor time
        return (self.bytes, self.mtime_ns) == (found.bytes, found.mtime_ns)


@dataclass
class Ledger:
    """All ledger rows, held in memory during a run (about 1 KB a file)."""

    connection: duckdb.DuckDBPyConnection
    run_id: str
    landed_at: datetime
    by_path: dict[str, list[Entry]] = field(default_factory=dict)
    by_content: dict[tuple[str | None, str | None], Entry] = field(default_factory=dict)
    sizes: set[tuple[str | None, int | None]] = field(default_factory=set)
    next_batch: int = 1

    def load(self) -> None:
        """Read the ledger."""
        rows = self.connection.execute(
            f"select {', '.join(Entry._fields)} from raw.landed_files order by _batch"
        ).fetchall()
        for row in rows:
            self._remember(Entry(*row))
        (last,) = self.connection.execute("select max(_batch) from raw.landed_files").fetchall()[0]
        self.next_batch = (last or 0) + 1

    def _remember(self, entry: Entry) -> None:
        is_change = entry.status == "changed"
        kept = [
            known
            for known in self.by_path.get(entry.path, [])
            if (known.status == "changed") != is_change
        ]
        self.by_path[entry.path] = [*kept, entry]
        if entry.status == "landed":
            self.by_content.setdefault((entry.table_name, entry.sha256), entry)
            self.sizes.add((entry.table_name, entry.bytes))

    def landing_of(self, path: str) -> Entry | None:
        """How the path landed, if it did."""
        return next(
            (e for e in self.by_path.get(path, []) if e.status in ("landed", "same_content")), None
        )

    def is_settled(self, found: Found) -> bool:
        """Whether nothing about this file is new since it was last looked at."""
        return any(entry.is_at_rest(found) for entry in self.by_path.get(found.path, []))

    def touch(self, found: Found) -> None:
        """Remember the new modification time of unchanged bytes, so as not to read again."""
        self.connection.execute(
            """
            update raw.landed_files set mtime_ns = ?
            where path = ? and status in ('landed', 'same_content')
            """,
            [found.mtime_ns, found.path],
        )

    def write(  # noqa: PLR0913
        self,
        found: Found,
        status: str,
        *,
        reason: str | None = None,
        sha256: str | None = None,
        counts: Counts | None = None,
        covers: tuple[date, date] | None = None,
        received: tuple[date, date] | None = None,
    ) -> Entry:
        """Write the row of a file in the open transaction; `commit` it to make it count."""
        counts = counts or Counts()
        if found.path in self.by_path:
            kinds = "= 'changed'" if status == "changed" else "<> 'changed'"
            self.connection.execute(
                f"delete from raw.landed_files where path = ? and status {kinds}", [found.path]
            )
        entry = Entry(
            path=found.path,
            table_name=found.table_name,
            status=status,
            reason=reason,
            sha256=sha256,
            bytes=found.bytes,
            mtime_ns=found.mtime_ns,
            lines=counts.lines,
            covers_from=covers[0] if covers else None,
            covers_to=covers[1] if covers else None,
            received_from=received[0] if received else None,
            received_to=received[1] if received else None,
        )
        self.connection.execute(
            f"insert into raw.landed_files values ({', '.join('?' * 20)})",
            [
                entry.path,
                entry.table_name,
                f"{found.format}{'.' if found.compression else ''}{found.compression}"
                if found.format
                else None,
                status,
                reason,
                sha256,
                entry.bytes,
                entry.mtime_ns,
                counts.lines,
                counts.accepted,
                counts.duplicates,
                counts.conflicts,
                counts.rejected,
                entry.covers_from,
                entry.covers_to,
                entry.received_from,
                entry.received_to,
                self.landed_at,
                self.run_id,
                self.next_batch,
            ],
        )
        return entry

    def commit(self, entry: Entry) -> int:
        """Commit the open transaction with its ledger row; returns its batch."""
        self.connection.commit()
        self._remember(entry)
        batch, self.next_batch = self.next_batch, self.next_batch + 1
        return batch
