"""The ledger of pushed events: which request each was in, and what became of it.

Belongs here: raw.share_deliveries, which the first push creates. Does not belong here: requests
(services.py), the order of steps (pushing.py). It holds ids and no content: what is sent again is
read again.

    sending        a request is under way; found so later, its process died: unknown
    sent           the service took it; with an acknowledgement_id it still has to say it is stored
    acknowledged   the service said it is stored
    unknown        nobody can tell whether it arrived: goes again, with the next attempt's number
    waiting        it surely did not arrive, or somebody asked for it: goes again
    dead           never goes again by itself; reason_code says why, `replay` lets it go again
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb

from landing.schema import column_list
from sharing.compiler import EVENT_KEY

TABLE = "raw.share_deliveries"
COLUMNS = (
    ("share", "VARCHAR"),
    ("workspace_id", "VARCHAR"),
    ("source_table", "VARCHAR"),
    ("event_id", "VARCHAR"),
    ("occurred_at", "TIMESTAMP"),
    ("status", "VARCHAR"),
    ("reason_code", "VARCHAR"),
    ("attempt", "INTEGER"),
    ("batch", "BIGINT"),
    ("sequence", "BIGINT"),
    ("channel", "VARCHAR"),
    ("acknowledgement_id", "BIGINT"),
    ("run_id", "VARCHAR"),
    ("sent_at", "TIMESTAMP"),
    ("settled_at", "TIMESTAMP"),
    ("receipt_id", "VARCHAR"),
)
KEY = ", ".join(EVENT_KEY)
AGAIN = ("unknown", "waiting")
# Rows of requests and reasons that a receipt tells; their sums are always there.
REQUESTS_TOLD = 1000

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Letter:
    """One event on its way; `line` is what its format says of it, `attempt` counts from 1.

    `is_known`: whether the ledger speaks of it already.
    """

    key: Key
    occurred_at: datetime
    line: Mapping[str, Any]
    attempt: int = 1
    is_known: bool = False


@dataclass(frozen=True)
class Position:
    """Which request: the `sequence`-th of a batch; `channel` is Splunk's."""

    share: str
    batch: int
    sequence: int
    run_id: str
    channel: str | None = None


@dataclass(frozen=True)
class Pending:
    """A request that was taken and not acknowledged yet."""

    batch: int
    sequence: int
    channel: str
    acknowledgement_id: int


def begin(connection: duckdb.DuckDBPyConnection, share: str) -> None:
    """Make the table if it is missing; requests whose process died are unknown."""
    connection.execute("create schema if not exists raw")
    connection.execute(f"create table if not exists {TABLE} ({column_list(COLUMNS)})")
    connection.execute(
        f"update {TABLE} set status = 'unknown', reason_code = 'process_died'"
        " where share = ? and status = 'sending'",
        [share],
    )


def pending(connection: duckdb.DuckDBPyConnection, share: str) -> list[Pending]:
    """Requests that may still be acknowledged."""
    rows = connection.execute(
        f"select distinct batch, sequence, channel, acknowledgement_id from {TABLE}"
        " where share = ? and status in ('sent', 'unknown') and acknowledgement_id is not null"
        " order by all",
        [share],
    ).fetchall()
    return [Pending(*row) for row in rows]


def write_settled(connection: duckdb.DuckDBPyConnection, share: str, path: Path) -> None:
    """Write the keys of events that do not go again into a Parquet file."""
    connection.execute(
        f"copy (select {KEY} from {TABLE} where share = $share and status not in {AGAIN})"
        f" to '{str(path).replace(chr(39), chr(39) * 2)}' (format parquet)",
        {"share": share},
    )


def attempts(connection: duckdb.DuckDBPyConnection, share: str) -> dict[Key, int]:
    """Of events that go again: how often each was sent."""
    rows = connection.execute(
        f"select {KEY}, attempt from {TABLE} where share = ? and status in {AGAIN}", [share]
    ).fetchall()
    return {(row[0], row[1], row[2]): row[3] for row in rows}


def next_sequence(connection: duckdb.DuckDBPyConnection, share: str, batch: int) -> int:
    """The number of the next request of a batch."""
    [(last,)] = connection.execute(
        f"select coalesce(max(sequence), 0) from {TABLE} where share = ? and batch = ?",
        [share, batch],
    ).fetchall()
    return int(last) + 1


def write(  # noqa: PLR0913 - a row's columns, by name
    connection: duckdb.DuckDBPyConnection,
    letters: Sequence[Letter],
    at: Position,
    *,
    status: str,
    now: datetime,
    reason: str | None = None,
) -> None:
    """Note what becomes of letters, in the place of what was noted of them before."""
    if not letters:
        return
    keys = [list(part) for part in zip(*(letter.key for letter in letters), strict=True)]
    connection.execute("begin")
    if any(letter.is_known for letter in letters):
        connection.execute(
            f"delete from {TABLE} as noted using (select unnest(?::varchar[]) as workspace_id,"
            " unnest(?::varchar[]) as source_table, unnest(?::varchar[]) as event_id) as letter"
            " where noted.share = ? and "
            + " and ".join(f"noted.{name} = letter.{name}" for name in EVENT_KEY),
            [*keys, at.share],
        )
    connection.execute(
        f"insert into {TABLE} (share, {KEY}, occurred_at, attempt, status, reason_code, batch,"
        " sequence, channel, run_id, sent_at)"
        " select ?, unnest(?::varchar[]), unnest(?::varchar[]), unnest(?::varchar[]),"
        " unnest(?::timestamp[]), unnest(?::integer[]), ?, ?, ?, ?, ?, ?, ?",
        [
            at.share,
            *keys,
            [letter.occurred_at for letter in letters],
            [letter.attempt for letter in letters],
            status,
            reason,
            at.batch,
            at.sequence,
            at.channel,
            at.run_id,
            now,
        ],
    )
    connection.execute("commit")


def settle(  # noqa: PLR0913 - a row's columns, by name
    connection: duckdb.DuckDBPyConnection,
    share: str,
    request: tuple[int, int],
    *,
    status: str,
    now: datetime,
    reason: str | None = None,
    acknowledgement_id: int | None = None,
) -> None:
    """Note what became of a request, (batch, sequence)."""
    connection.execute(
        f"update {TABLE} set status = ?, reason_code = ?, settled_at = ?,"
        " acknowledgement_id = coalesce(?, acknowledgement_id),"
        # what surely did not arrive has not been tried
        " attempt = attempt - if(? = 'waiting', 1, 0), receipt_id = null"
        " where share = ? and batch = ? and sequence = ? and status <> 'dead'",
        [status, reason, now, acknowledgement_id, status, share, *request],
    )


def give_up_waiting(connection: duckdb.DuckDBPyConnection, share: str) -> None:
    """What was not acknowledged in time is unknown; its number may be asked for once more."""
    connection.execute(
        f"update {TABLE} set status = 'unknown', reason_code = 'not_acknowledged',"
        " receipt_id = null"
        " where share = ? and status = 'sent' and acknowledgement_id is not null",
        [share],
    )


def untold(connection: duckdb.DuckDBPyConnection, share: str) -> dict[str, Any]:
    """What no receipt tells yet: numbers by status and reason, requests, and how late they were.

    `latency_seconds`: of events that were sent, from when they occurred; median and greatest.
    """
    told = f"from {TABLE} where share = ? and receipt_id is null and status <> 'sending'"
    counts = connection.execute(
        f"select status, count(*) {told} group by all order by all", [share]
    ).fetchall()
    dead = connection.execute(
        f"select reason_code, count(*) {told} and status = 'dead' group by all order by all",
        [share],
    ).fetchall()
    requests = connection.execute(
        "select batch, sequence, max(attempt), status, count(*), any_value(acknowledgement_id)"
        f" {told} and sequence > 0 group by batch, sequence, status order by all"
        f" limit {REQUESTS_TOLD}",
        [share],
    ).fetchall()
    [latency] = connection.execute(
        "select median(epoch(settled_at - occurred_at)), max(epoch(settled_at - occurred_at))"
        f" {told} and status in ('sent', 'acknowledged')",
        [share],
    ).fetchall()
    names = ("batch", "sequence", "attempt", "status", "row_count", "acknowledgement_id")
    return {
        "deliveries": dict(counts),
        "dead": dict(dead),
        "requests": [dict(zip(names, row, strict=True)) for row in requests],
        "latency_seconds": None if latency[0] is None else [round(one) for one in latency],
    }


def tell(connection: duckdb.DuckDBPyConnection, share: str, receipt_id: str) -> None:
    """Note which receipt tells of what none told before."""
    connection.execute(
        f"update {TABLE} set receipt_id = ? where share = ? and receipt_id is null"
        " and status <> 'sending'",
        [receipt_id, share],
    )


def bury_gone(connection: duckdb.DuckDBPyConnection, share: str, keys: Sequence[Key]) -> None:
    """What should go again and is not there any more is dead."""
    if keys:
        connection.execute(
            f"update {TABLE} as noted set status = 'dead', reason_code = 'gone', receipt_id = null"
            " from (select unnest(?::varchar[]) as workspace_id,"
            " unnest(?::varchar[]) as source_table, unnest(?::varchar[]) as event_id) as letter"
            " where noted.share = ? and "
            + " and ".join(f"noted.{name} = letter.{name}" for name in EVENT_KEY),
            [*(list(part) for part in zip(*keys, strict=True)), share],
        )


def forget(connection: duckdb.DuckDBPyConnection, share: str, oldest: date) -> None:
    """Drop what is of days that no run can read any more."""
    connection.execute(
        f"delete from {TABLE} where share = ? and occurred_at < cast(? as date)", [share, oldest]
    )


def replay(connection: duckdb.DuckDBPyConnection, share: str, reasons: Sequence[str] = ()) -> int:
    """Let dead letters go again with the next run, of some reasons or of all; their number."""
    return _again(connection, share, "status = 'dead'", "reason_code", list(reasons))


def resend(connection: duckdb.DuckDBPyConnection, share: str, first: date, last: date) -> int:
    """Let every event of some UTC days go again, marked as another attempt; their number."""
    days = [date.fromordinal(day) for day in range(first.toordinal(), last.toordinal() + 1)]
    taken = "status in ('sent', 'acknowledged')"
    return _again(connection, share, taken, "cast(occurred_at as date)", days)


def _again(
    connection: duckdb.DuckDBPyConnection, share: str, which: str, of: str, values: Sequence[Any]
) -> int:
    chosen = f" and {of} in (select unnest(?))" if values else ""
    found = connection.execute(
        f"update {TABLE} set status = 'waiting', acknowledgement_id = null, receipt_id = null"
        f" where share = ? and {which}{chosen} returning 1",
        [share, *([list(values)] if values else [])],
    ).fetchall()
    return len(found)
