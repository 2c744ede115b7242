"""What a run would have to do, found out without doing it.

Belongs here: the listing of the landing folder, the comparison with the ledger, the question
whether anything is new. Does not belong here: landing (landing/), the decision what to build from
which inputs (builds.py).
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from dagster_project import builds, contents, purges, snapshots
from dagster_project.warehouse import ENVIRONMENTS, Warehouse, WarehouseBusyError
from landing import Reason, discover


def files_at_rest(folder: Path) -> Iterator[tuple[str, int | None, int | None]]:
    """Every file that landing would look at, as (path, bytes, modification time in ns), by path.

    None where there is no folder yet.
    """
    for found in discover(folder) if folder.is_dir() else ():
        yield found.path, found.bytes, found.mtime_ns


def landing_digest(folder: Path) -> str | None:
    """A fingerprint of the folder's listing; None when there is no file to land."""
    digest, count = hashlib.sha256(), 0
    for entry in files_at_rest(folder):
        digest.update(repr(entry).encode())
        count += 1
    return digest.hexdigest() if count else None


def is_idle(at: Warehouse) -> bool:
    """Whether a run would change nothing: each file is in the ledger as it is, all is published.

    Costs a listing of the folder, one query and 10 ms for the code's fingerprint; a Dagster run of
    everything writes a planned event for every asset and check first, about 10 ms each.
    While another process writes, or before the first landing, the answer is no: the run itself
    waits, or says what is wrong.
    """
    if not at.build_file.exists() or not at.landing.is_dir():
        return False
    try:
        with at.connect() as connection:
            if purges.is_due(connection, at.retention, datetime.now(UTC)):
                return False
            inputs = builds.read_inputs(connection)
            # mending permissions changes neither size nor time: an unreadable file is work to do
            landed = set(
                connection.execute(
                    "select path, bytes, mtime_ns from raw.landed_files"
                    " where reason is distinct from ?",
                    [Reason.FILE_UNREADABLE],
                ).fetchall()
            )
    except (WarehouseBusyError, duckdb.CatalogException):
        return False
    if not landed.issuperset(files_at_rest(at.landing)):
        return False
    if any(contents.lacks_parts(at.published_folder(name)) for name in ENVIRONMENTS):
        return False
    return all_built(at, inputs)


def all_built(at: Warehouse, inputs: builds.Inputs) -> bool:
    """Whether what is published of every environment has these inputs."""
    return not any(needs_build(at, environment, inputs) for environment in ENVIRONMENTS)


def needs_build(at: Warehouse, environment: str, inputs: builds.Inputs) -> bool:
    """Whether an environment has to be built, given the inputs as they are."""
    published = snapshots.current_version(at.published_folder(environment))
    digest = published.digest if published else None
    return builds.needs_build(digest, inputs, at.marts_file(environment).exists())
