"""How records become files whose bytes depend on nothing but the records.

Here: JSONL, CSV and Parquet through DuckDB's COPY with a total order, compression in Python
(gzip without a time stamp). Not here: which records, and where files stand (`generation`).
"""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import duckdb
from backports import zstd

from simulator.imperfections import ENVELOPE

ORDER = ("received_at", "row_key", "disposition")
CHUNK = 1 << 20


def copy_lines(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    """Write the one text column of `query`, in its order, a line a row; compress by the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
    # JSON escapes control characters: \\x01 can't occur in a line
    connection.execute(
        f"copy ({query}) to '{quoted(plain)}'"
        " (format csv, header false, quote '', escape '', delimiter '\x01')"
    )
    if plain != path:
        compress(plain, path)
        plain.unlink()


def compress(plain: Path, path: Path) -> None:
    """Write `plain` as gzip or Zstandard, the same bytes every time."""
    with plain.open("rb") as source, path.open("wb") as target:
        if path.suffix == ".gz":
            with gzip.GzipFile(
                filename="", mode="wb", compresslevel=6, fileobj=target, mtime=0
            ) as packed:
                shutil.copyfileobj(source, packed, CHUNK)
        else:
            with zstd.ZstdFile(target, mode="wb", level=3) as packed:
                shutil.copyfileobj(source, packed, CHUNK)


def write_records(
    connection: duckdb.DuckDBPyConnection, relation: str, file_format: str, path: Path
) -> None:
    """Write the records of `relation` (see `imperfections.records_sql`) to `path`."""
    if file_format == "jsonl":
        query = f"select line from {relation} order by {', '.join(ORDER)}"
        copy_lines(connection, query, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ", ".join(
        "rfc3339(received_at) as received_at" if field == "received_at" else field
        for field in ENVELOPE
    )
    # CSV names its columns once: the unknown field is a column that is mostly empty
    order = ", ".join(f"{relation}.{field}" for field in ORDER)
    query = f"select {columns}, client_build from {relation} order by {order}"
    options = "format parquet" if file_format == "parquet" else "format csv, header true"
    connection.execute(f"copy ({query}) to '{quoted(path)}' ({options})")


def quoted(path: Path) -> str:
    """Return a path as the inside of an SQL string literal."""
    return str(path).replace("'", "''")
