"""Which batches may hold a key: what is looked into before a raw table is.

Schema `keys` has one table a raw table: the first bits of each row's `_key_hash`, and its batch. A
batch lies there in the order of the bits, so that DuckDB stores differences: 4.1 bytes an event
where `_key_hash` takes 8.2. To look for the keys of a day among those of 85 million events in 300
days takes 2.1 s when they have to be read from disk, 4.4 by `_key_hash` (2 cores).

It may name a batch that has no such key: two keys in 2^40 are alike in these bits, and a row may
have been displaced. It never leaves one out. All of it follows from raw: a table that lacks rows,
because it was filled some other way, or because raw was rewritten, is written anew.
"""

from collections.abc import Collection

import duckdb

from landing.contract import TABLES

# of 135,000 new keys among 40 million 5 are alike by chance, and 5 of 300 batches are read for it
BITS = 40
KEY_BITS = f"_key_hash >> {64 - BITS}"
MAX_LISTED = 200  # batches listed one by one


def create_keys(connection: duckdb.DuckDBPyConnection) -> None:
    """Create schema `keys`, and write what it lacks; to be called when the raw tables are there."""
    connection.execute("create schema if not exists keys")
    for name in TABLES:
        connection.execute(
            f"create table if not exists keys.{name} (key_bits UBIGINT, _batch BIGINT)"
        )
        [(is_short,)] = connection.execute(
            f"select (select count(*) from keys.{name}) < (select count(*) from raw.{name})"
        ).fetchall()
        if is_short:
            connection.execute(
                f"""
                create or replace table keys.{name} as
                select {KEY_BITS} as key_bits, _batch from raw.{name} order by _batch, key_bits
                """
            )


def forget_keys(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Drop the keys of a raw table whose rows get others; `create_keys` makes them anew."""
    connection.execute(f"drop table if exists keys.{name}")


def add_keys(connection: duckdb.DuckDBPyConnection, name: str, rows: str, batch: int) -> None:
    """Add the keys of rows of a batch (a query of `_key_hash`) that go into raw table `name`."""
    connection.execute(
        f"insert into keys.{name} select {KEY_BITS} as key_bits, {batch} from ({rows})"
        " order by key_bits"
    )


def batches_with(
    connection: duckdb.DuckDBPyConnection, name: str, keys: str, up_to: int | None = None
) -> list[int]:
    """Batches of raw table `name` that may hold one of the keys (a query of `_key_hash`)."""
    until = "" if up_to is None else f"_batch <= {up_to} and"
    return [
        batch
        for (batch,) in connection.execute(
            f"""
            select distinct _batch from keys.{name}
            where {until} key_bits in (select {KEY_BITS} from ({keys}))
            order by _batch
            """
        ).fetchall()
    ]


def count_unnamed(connection: duckdb.DuckDBPyConnection, name: str, since: int) -> tuple[int, int]:
    """(rows, those that `keys` does not name) of raw table `name` from later batches than this."""
    rows, unnamed = connection.execute(
        f"""
        select
            count(*),
            count(*) filter (({KEY_BITS}, _batch) not in (
                select (key_bits, _batch) from keys.{name} where _batch > {since}
            ))
        from raw.{name}
        where _batch > {since}
        """
    ).fetchall()[0]
    return int(rows), int(unnamed)


def is_in(batches: Collection[int]) -> str:
    """SQL on a raw table's rows that prunes what landed in none of these batches."""
    if not batches:
        return "false"
    if len(batches) > MAX_LISTED:
        return f"_batch between {min(batches)} and {max(batches)}"
    return f"_batch in ({', '.join(map(str, sorted(batches)))})"
