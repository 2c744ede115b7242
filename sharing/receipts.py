"""Receipts: one row an attempt to share, append-only, each holding the hash of the one before.

Belongs here: the chain in raw.share_receipts and its verification. Does not belong here: what a
receipt says (exporting.py), the audit event that follows from it (audit.py).

A receipt is its `body`, canonical JSON; the columns beside it are taken from it, for readers. Its
hash is that of the receipt before and of the body, so whoever edits, removes or puts in a row
would have to do all later ones anew. That the last ones are gone is told by the audit events that
landed: each names a receipt and its hash.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from landing.schema import RECEIPTS
from sharing.compiler import RECEIPT_ACTIONS

TABLE = "raw.share_receipts"
FIRST = "0" * 64
COLUMNS = tuple(name for name, _ in RECEIPTS["share_receipts"])
CHAIN = ("receipt_number", "previous_sha256", "receipt_sha256", "body")
TOLD = tuple(name for name in COLUMNS if name not in CHAIN)

# DuckDB 2.0.0 answers `order by receipt_number desc limit 1` with nothing when rows with greater
# numbers were deleted from a file and not yet checkpointed away
_LAST = (
    "select max(receipt_number), arg_max(receipt_sha256, receipt_number),"
    f" arg_max(body, receipt_number) from {TABLE}"
)


@dataclass(frozen=True)
class Receipt:
    """A link of the chain."""

    number: int
    sha256: str
    body: Mapping[str, Any]

    @property
    def receipt_id(self) -> str:
        """The receipt's name."""
        return str(self.body["receipt_id"])


def new_id(body: Mapping[str, Any], previous: Receipt | None) -> str:
    """An id that follows from what is receipted: the same attempt has the same one again."""
    parts = [body[key] for key in ("share", "warehouse", "status", "definition", "batch")]
    text = _canonical([*parts, previous.receipt_id if previous else None])
    return f"rcpt_{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def last_of(
    connection: duckdb.DuckDBPyConnection, share: str, status: str | None = None
) -> Receipt | None:
    """The newest receipt of a share, or the newest one of a status."""
    [(number, sha256, text)] = connection.execute(
        f"{_LAST} where share = ? and status = coalesce(?, status)", [share, status]
    ).fetchall()
    return Receipt(number, sha256, json.loads(text)) if text else None


def append(connection: duckdb.DuckDBPyConnection, body: Mapping[str, Any]) -> Receipt:
    """Add a receipt to the chain, once: one whose id is there already is given back."""
    there = connection.execute(
        f"select receipt_number, receipt_sha256, body from {TABLE} where receipt_id = ?",
        [body["receipt_id"]],
    ).fetchall()
    if there:
        return Receipt(there[0][0], there[0][1], json.loads(there[0][2]))
    [(last, last_sha256, _)] = connection.execute(_LAST).fetchall()
    number, previous = (last or 0) + 1, last_sha256 or FIRST
    text = _canonical(body)
    sha256 = _link(previous, text)
    values = {**_told(body), "receipt_number": number, "body": text}
    values |= {"previous_sha256": previous, "receipt_sha256": sha256}
    places = ", ".join("?" for _ in COLUMNS)
    connection.execute(
        f"insert into {TABLE} ({', '.join(COLUMNS)}) values ({places})",
        [values[name] for name in COLUMNS],
    )
    return Receipt(number, sha256, body)


def verify(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Every fault of the chain, a sentence each; empty when it is whole."""
    faults, previous, hashes = [], FIRST, {}
    listed = ", ".join((*CHAIN, *TOLD))
    rows = connection.execute(f"select {listed} from {TABLE} order by receipt_number").fetchall()
    for position, row in enumerate(rows, start=1):
        number, before, sha256, text = row[:4]
        name = f"receipt {number} ({row[4 + TOLD.index('receipt_id')]})"
        if number != position:
            faults.append(f"{name}: it stands in place {position}, a receipt is missing or doubled")
        if before != previous:
            faults.append(f"{name}: it does not follow from the receipt before it")
        if sha256 != _link(before, text):
            faults.append(f"{name}: its hash is not that of what it says")
        expected = _told(_parsed(text))
        changed = [
            key for key, value in zip(TOLD, row[4:], strict=True) if expected.get(key) != value
        ]
        if changed:
            faults.append(f"{name}: {', '.join(changed)} differ from what it says")
        previous = sha256
        hashes[row[4 + TOLD.index("receipt_id")]] = sha256
    return [*faults, *_missing(connection, hashes)]


def _missing(connection: duckdb.DuckDBPyConnection, hashes: Mapping[str, str]) -> list[str]:
    """What landed audit events tell of receipts that are not there, or not as they were."""
    events = connection.execute(
        "select id, payload->'metadata'->>'receipt_sha256' from raw.audit_events"
        " where list_contains(?, action) order by id",
        [list(RECEIPT_ACTIONS)],
    ).fetchall()
    return [
        f"receipt {name}: an audit event tells of it, and it is gone or another"
        for name, sha256 in events
        if hashes.get(name) != sha256
    ]


def _told(body: Mapping[str, Any]) -> dict[str, Any]:
    """The columns for readers, from a body."""
    told = {key: body.get(key) for key in TOLD}
    told["actor_id"] = (body.get("actor") or {}).get("id")
    for key in ("requested_at", "committed_at"):
        told[key] = datetime.fromisoformat(str(told[key])) if told[key] else None
    return told


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _link(previous: str, text: str) -> str:
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()
