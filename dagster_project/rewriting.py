"""The build file written anew, so that nothing of what was deleted is left between its rows.

Belongs here: the bookkeeping of generations, the new file, which published versions may stay. Does
not belong here: what is taken out of raw (landing/erasing.py, purges.py).

DuckDB leaves deleted rows readable in free blocks, and VACUUM does not shrink a file. So what is
taken out of raw is committed together with a new generation and without the dbt schemas; then raw
is copied into a new file, which takes the place of the old one; then everything is built from it
as if for the first time, published, and what was published before is deleted. A process may die
between any two steps: `is_due` says that the copy has yet to be made, the generation makes the
environments be built again, and versions up to those noted here go once a newer one stands.
"""

from collections.abc import Mapping
from datetime import datetime

import duckdb

from dagster_project import builds, contents, snapshots
from dagster_project.warehouse import ENVIRONMENTS, Warehouse, quoted
from landing.keys import create_keys

# What a rewritten file holds: the rest follows from it.
KEPT_SCHEMAS = ("raw", "orchestration", "main")


def is_due(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether rows were taken out of raw and the file is still the old one."""
    builds.create_bookkeeping(connection)
    [(due,)] = connection.execute(
        "select coalesce(bool_or(is_due), false) from orchestration.rewrites"
    ).fetchall()
    return bool(due)


def begin(connection: duckdb.DuckDBPyConnection, at: Warehouse, reason: str, now: datetime) -> None:
    """Begin a generation, in the transaction that takes rows out: drop all that was built."""
    newest = [
        max(
            (version.number for version in snapshots.versions(at.published_folder(name))), default=0
        )
        for name in ENVIRONMENTS
    ]
    connection.execute(
        "insert into orchestration.rewrites"
        " select coalesce(max(generation), 0) + 1, ?, ?, true, ?, ? from orchestration.rewrites",
        [reason, now.replace(tzinfo=None), *newest],
    )
    _drop_what_was_built(connection)


def _drop_what_was_built(connection: duckdb.DuckDBPyConnection) -> None:
    schemas = connection.execute(
        "select schema_name from duckdb_schemas()"
        " where database_name = current_database() and not internal"
    ).fetchall()
    for (schema,) in schemas:
        if schema not in KEPT_SCHEMAS:
            connection.execute(f'drop schema "{schema}" cascade')


def rewrite(at: Warehouse) -> None:
    """Copy raw into a new build file, in the place of the old one; safe to repeat.

    25 s a GB. The marts as they were built go too: they are built anew from nothing.
    """
    fresh = at.build_file.with_name(f".{at.build_file.name}.tmp")
    for path in (fresh, fresh.with_name(fresh.name + ".wal")):
        path.unlink(missing_ok=True)
    with at.writing("rewriting the build file"):
        with at.connect() as connection:
            # somebody may have built again since rows were taken out
            _drop_what_was_built(connection)
            [(catalog,)] = connection.execute("select current_database()").fetchall()
            connection.execute(f"attach '{quoted(fresh)}' as fresh")
            connection.execute(f'copy from database "{catalog}" to fresh')
            connection.execute("update fresh.orchestration.rewrites set is_due = false")
            connection.execute("checkpoint fresh")
            connection.execute("detach fresh")
        snapshots.flush(fresh)
        for environment in ENVIRONMENTS:
            marts = at.marts_file(environment)
            for path in (marts, marts.with_name(marts.name + ".wal")):
                path.unlink(missing_ok=True)
        fresh.replace(at.build_file)
        snapshots.flush(at.home)
        # made from raw, so that nothing is left in them either
        with at.connect() as connection:
            create_keys(connection)


def last_versions(connection: duckdb.DuckDBPyConnection) -> Mapping[str, int]:
    """By environment: the newest version that was published before raw was last rewritten."""
    builds.create_bookkeeping(connection)
    numbers = connection.execute(
        "select coalesce(max(production_version), 0), coalesce(max(sandbox_version), 0)"
        " from orchestration.rewrites"
    ).fetchall()[0]
    return dict(zip(ENVIRONMENTS, numbers, strict=True))


def delete_versions_before(at: Warehouse, environment: str) -> bool:
    """Delete what was published before raw was last rewritten, parts too, once a newer one stands.

    Returns whether nothing of it is left.
    """
    with at.connect() as connection:
        last = last_versions(connection)[environment]
    folder = at.published_folder(environment)
    current = snapshots.current_version(folder)
    old = [version for version in snapshots.versions(folder) if version.number <= last]
    if not old:
        return True
    if current is None or current.number <= last:
        return False
    snapshots.delete(folder, old)
    _, said, _ = contents.read_all(folder)
    snapshots.delete_parts_but(folder, (part.path for book in said.values() for part in book.parts))
    snapshots.flush(folder)
    return True
