"""The tables of schema `raw`, made from the contract.

Belongs here: DDL. Does not: what goes into the tables.
"""

import secrets
from collections.abc import Iterable

import duckdb

from landing.contract import TABLES, Table

ACTIVITY_COLUMNS = (
    # the UTC day the row counts for: of received_at where the clock of the source ran ahead
    ("_activity_date", "DATE"),
    ("_is_clock_skewed", "BOOLEAN"),
)
# Of what has no column: md5 of its canonical JSON, null if there is nothing. The hash of a whole
# event is made from its row when two of one id meet (`fastpath.content_hash`): kept for each it
# would cost 1.2 µs a line and 32 bytes that do not compress.
EVENT_COLUMNS = (*ACTIVITY_COLUMNS, ("_extras_hash", "VARCHAR"))
ENTITY_COLUMNS = (("_content_hash", "VARCHAR"),)
META_COLUMNS = (
    # zstd instead of the default: a third of the bytes, in a third of the time (132 MB of records)
    ("payload", "VARCHAR using compression zstd"),
    ("_key_hash", "UBIGINT"),
    ("_file", "VARCHAR"),
    ("_line", "BIGINT"),
    ("_landed_at", "TIMESTAMP"),
    ("_batch", "BIGINT"),
)

BOOKKEEPING = {
    "landed_files": (
        ("path", "VARCHAR"),
        ("table_name", "VARCHAR"),
        ("format", "VARCHAR"),
        ("status", "VARCHAR"),
        ("reason", "VARCHAR"),
        ("sha256", "VARCHAR"),
        ("bytes", "BIGINT"),
        ("mtime_ns", "BIGINT"),
        ("lines", "BIGINT"),
        ("accepted", "BIGINT"),
        ("duplicates", "BIGINT"),
        ("conflicts", "BIGINT"),
        ("rejected", "BIGINT"),
        ("covers_from", "DATE"),
        ("covers_to", "DATE"),
        # of the records, whatever the path says: what the same content covers under another name
        ("received_from", "DATE"),
        ("received_to", "DATE"),
        ("landed_at", "TIMESTAMP"),
        ("run_id", "VARCHAR"),
        # two transactions can never commit the same batch
        ("_batch", "BIGINT primary key"),
    ),
    "rejected_records": (
        ("table_name", "VARCHAR"),
        ("_file", "VARCHAR"),
        ("_line", "BIGINT"),
        ("reason", "VARCHAR"),
        ("field", "VARCHAR"),
        ("payload", "VARCHAR"),
        ("_landed_at", "TIMESTAMP"),
        ("_batch", "BIGINT"),
    ),
    "id_conflicts": (
        ("table_name", "VARCHAR"),
        ("environment", "VARCHAR"),
        ("workspace_id", "VARCHAR"),
        ("id", "VARCHAR"),
        ("occurred_at", "TIMESTAMP"),
        ("received_at", "TIMESTAMP"),
        ("payload", "VARCHAR"),
        ("_content_hash", "VARCHAR"),
        ("_file", "VARCHAR"),
        ("_line", "BIGINT"),
        ("_landed_at", "TIMESTAMP"),
        ("_batch", "BIGINT"),
    ),
    "duplicate_records": (
        ("table_name", "VARCHAR"),
        ("_file", "VARCHAR"),
        ("duplicate_count", "BIGINT"),
        ("_batch", "BIGINT"),
    ),
    # Lines of event files by the day they were received: their own received time, also of rejected
    # lines where it can be read, else the last received day of the file's good lines of that
    # environment (of production where it names none), else null. A file is counted as it stands,
    # whichever of its lines turn out to be copies.
    "received_lines": (
        ("table_name", "VARCHAR"),
        ("_file", "VARCHAR"),
        ("environment", "VARCHAR"),
        ("received_date", "DATE"),
        ("line_count", "BIGINT"),
        ("rejected_count", "BIGINT"),
        ("_batch", "BIGINT"),
    ),
    "superseded_records": (
        ("table_name", "VARCHAR"),
        ("environment", "VARCHAR"),
        ("workspace_id", "VARCHAR"),
        ("project_id", "VARCHAR"),
        ("user_id", "VARCHAR"),
        ("anonymous_id", "VARCHAR"),
        ("session_id", "VARCHAR"),
        ("service_id", "VARCHAR"),
        ("is_test", "BOOLEAN"),
        ("id", "VARCHAR"),
        ("occurred_at", "TIMESTAMP"),
        ("received_at", "TIMESTAMP"),
        ("_activity_date", "DATE"),
        ("_is_clock_skewed", "BOOLEAN"),
        ("payload", "VARCHAR"),
        ("_content_hash", "VARCHAR"),
        # whether the copy that took its place says the same and was only received earlier
        ("is_same_content", "BOOLEAN"),
        ("_file", "VARCHAR"),
        ("_line", "BIGINT"),
        ("_landed_at", "TIMESTAMP"),
        ("_superseded_batch", "BIGINT"),
        ("_batch", "BIGINT"),
    ),
    "schema_drift": (
        ("table_name", "VARCHAR"),
        ("field", "VARCHAR"),
        ("json_type", "VARCHAR"),
        ("record_count", "BIGINT"),
        ("first_file", "VARCHAR"),
        ("first_line", "BIGINT"),
        ("_batch", "BIGINT"),
    ),
    "redactions": (
        ("table_name", "VARCHAR"),
        ("rule_id", "VARCHAR"),
        ("redaction_count", "BIGINT"),
        ("_file", "VARCHAR"),
        ("_batch", "BIGINT"),
    ),
    "user_agents": (
        ("user_agent", "VARCHAR"),
        ("device_class", "VARCHAR"),
        ("_batch", "BIGINT"),
    ),
    # What was erased, as far as it has to be known again when it lands again: see erasing.py. The
    # length, in characters, spares hashing whatever is of another one.
    "erased_identifiers": (
        ("tombstone", "VARCHAR primary key"),
        ("key_id", "VARCHAR"),
        ("length", "BIGINT"),
    ),
    # Records that passed their retention, as far as the quality of a received day is told by them.
    "purged_records": (
        ("table_name", "VARCHAR"),
        ("environment", "VARCHAR"),
        ("workspace_id", "VARCHAR"),
        ("received_date", "DATE"),
        # the day they counted for: of the last of them
        ("last_activity_date", "DATE"),
        ("accepted_count", "BIGINT"),
        ("late_count", "BIGINT"),
        ("max_lateness_seconds", "DOUBLE"),
        ("conflict_count", "BIGINT"),
        ("superseded_count", "BIGINT"),
        ("purged_at", "TIMESTAMP"),
    ),
    # newest first is the one that is used; older ones stay, for what was erased under them
    "tombstone_keys": (
        ("key_id", "VARCHAR"),
        ("key", "VARCHAR"),
        ("key_number", "BIGINT"),
    ),
    # One row a request that was carried out. published_at: when no version with the identifier was
    # left.
    "erasure_proofs": (
        ("tombstone", "VARCHAR"),
        ("key_id", "VARCHAR"),
        ("requested_at", "TIMESTAMP"),
        ("erased_at", "TIMESTAMP"),
        ("run_id", "VARCHAR"),
        ("identifier_count", "BIGINT"),
        ("row_count", "BIGINT"),
        ("files_deleted", "BIGINT"),
        ("files_left", "BIGINT"),
        ("published_at", "TIMESTAMP"),
    ),
}

# What cannot be computed again, kept beside the records: a sealed month says what was known when it
# was sealed. Landing creates these tables and never writes to them.
KEPT = {
    "mau_seals": (
        ("workspace_id", "VARCHAR"),
        ("month_start_date", "DATE"),
        ("mau", "BIGINT"),
        ("input_digest", "VARCHAR"),
        ("sealed_at", "TIMESTAMP"),
        ("_batch", "BIGINT"),
    ),
    # users who were merged, or no humans, when the month was sealed; everybody else survived
    "mau_sealed_identities": (
        ("month_start_date", "DATE"),
        ("user_id", "VARCHAR"),
        ("surviving_user_id", "VARCHAR"),
        ("kind", "VARCHAR"),
    ),
    # who is counted: since correction 0, the seal, or a later one, until another took them out
    "mau_sealed_users": (
        ("workspace_id", "VARCHAR"),
        ("month_start_date", "DATE"),
        ("user_id", "VARCHAR"),
        ("since_correction", "BIGINT"),
        ("until_correction", "BIGINT"),
    ),
    "mau_corrections": (
        ("workspace_id", "VARCHAR"),
        ("month_start_date", "DATE"),
        ("correction_number", "BIGINT"),
        ("mau_before", "BIGINT"),
        ("mau_after", "BIGINT"),
        ("caused_by_batch", "BIGINT"),
        ("event_ids", "VARCHAR[]"),
        ("corrected_at", "TIMESTAMP"),
    ),
}

# One row an attempt to share, written by sharing/ and never changed; landing only creates it. Each
# holds the hash of the one before; `body` is the receipt itself, the first columns are taken from
# it for readers.
RECEIPTS = {
    "share_receipts": (
        ("receipt_id", "VARCHAR"),
        ("environment", "VARCHAR"),
        ("share", "VARCHAR"),
        ("consumer", "VARCHAR"),
        ("actor_id", "VARCHAR"),
        ("status", "VARCHAR"),
        ("reason_code", "VARCHAR"),
        ("row_count", "BIGINT"),
        ("content_sha256", "VARCHAR"),
        ("requested_at", "TIMESTAMP"),
        ("committed_at", "TIMESTAMP"),
        ("run_id", "VARCHAR"),
        ("receipt_number", "BIGINT"),
        ("previous_sha256", "VARCHAR"),
        ("receipt_sha256", "VARCHAR"),
        ("body", "VARCHAR"),
    ),
}

# What pseudonyms are made with, so that nobody can try out e-mail addresses: one row, a key of
# the warehouse's own, drawn when it is created, as the two blocks that HMAC-SHA256 begins with.
# It stays in the build file, which readers never open.
KEYS = {
    "pseudonym_keys": (("key_id", "VARCHAR"), ("inner_pad", "BLOB"), ("outer_pad", "BLOB")),
}
KEY_BYTES = 32


def column_list(columns: Iterable[tuple[str, str]]) -> str:
    """Column definitions for CREATE TABLE."""
    return ", ".join(f"{name} {kind}" for name, kind in columns)


def stored_columns(table: Table) -> tuple[tuple[str, str], ...]:
    """(name, type) of a raw table's columns, in order."""
    family = ENTITY_COLUMNS if table.family == "entity" else EVENT_COLUMNS
    return table.columns + family + META_COLUMNS


def create_raw_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """Create schema `raw` and whatever tables it lacks; changes nothing that exists."""
    connection.execute("create schema if not exists raw")
    tables = {name: stored_columns(table) for name, table in TABLES.items()}
    tables |= BOOKKEEPING | KEPT | RECEIPTS | KEYS
    if not _is_there(connection, "pseudonym_keys", "key_id"):
        # of an earlier version, which hashed otherwise
        connection.execute("drop table if exists raw.pseudonym_keys")
    for name, columns in tables.items():
        connection.execute(f"create table if not exists raw.{name} ({column_list(columns)})")
    if not connection.execute("select 1 from raw.pseudonym_keys").fetchall():
        put_pseudonym_key(connection, secrets.token_bytes(KEY_BYTES))


def _is_there(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> bool:
    found = connection.execute(
        "select 1 from duckdb_columns() where database_name = current_database()"
        " and (schema_name, table_name, column_name) = ('raw', ?, ?)",
        [table, column],
    )
    return bool(found.fetchall())


def put_pseudonym_key(connection: duckdb.DuckDBPyConnection, key: bytes) -> str:
    """Make pseudonyms with this key of up to 64 bytes from now on; returns its id, `p1` the first.

    The one before is deleted: what was hashed with it has to be hashed again from raw.
    """
    former = connection.execute("select key_id from raw.pseudonym_keys").fetchall()
    key_id = f"p{max((int(name[1:]) for (name,) in former), default=0) + 1}"
    # RFC 2104
    pads = [bytes(byte ^ pad for byte in key.ljust(64, b"\0")) for pad in (0x36, 0x5C)]
    connection.execute("delete from raw.pseudonym_keys")
    connection.execute("insert into raw.pseudonym_keys values (?, ?, ?)", [key_id, *pads])
    return key_id
