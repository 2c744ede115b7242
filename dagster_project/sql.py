"""`python -m dagster_project.sql`: look at what is published, or with BUILD=1 at the build file.

Belongs here: a prompt and one query. Does not belong here: anything that writes.

QUERY, ENVIRONMENT (default production), AS_OF and BUILD come as environment variables. AS_OF=a date
attaches beside the newest version, as database `as_of`, the one that was published at the end of
that day (UTC). Reading the build file takes the writer's lock: no run can go on meanwhile.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path

import duckdb

from dagster_project import contents, snapshots
from dagster_project.warehouse import (
    ENVIRONMENTS,
    ConfigurationError,
    NothingPublishedError,
    Warehouse,
    WarehouseBusyError,
    only_reads,
)


def main(environ: Mapping[str, str] | None = None) -> int:
    """Run QUERY, or a prompt; returns the exit code."""
    environ = os.environ if environ is None else environ
    try:
        with opened(Warehouse.from_environment(environ), environ) as connection:
            if query := environ.get("QUERY", "").strip():
                return answer(connection, query)
            print("SQL, a statement a line; an empty line ends. Begin with: show all tables")  # noqa: T201
            while query := input("sql> ").strip():
                answer(connection, query)
    except EOFError:
        return 0
    except (ConfigurationError, NothingPublishedError, WarehouseBusyError) as error:
        print(f"rollcall: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def opened(
    warehouse: Warehouse, environ: Mapping[str, str]
) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """The file to look at. Raises ConfigurationError, NothingPublishedError."""
    as_of = _date(environ.get("AS_OF", "").strip())
    if environ.get("BUILD", "").strip():
        if as_of:
            raise ConfigurationError("AS_OF looks at what was published: leave out BUILD.")
        return warehouse.connect_to_read()
    environment = environ.get("ENVIRONMENT", "").strip() or "production"
    if environment not in ENVIRONMENTS:
        raise ConfigurationError(
            f"ENVIRONMENT is {environment!r}. It has to be one of: {', '.join(ENVIRONMENTS)}."
        )
    older = version_as_of(warehouse, environment, as_of) if as_of else None
    return warehouse.connect_published(environment, older)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ConfigurationError(f"AS_OF is {text!r}. It has to be a date: 2025-01-31.") from None


def version_as_of(warehouse: Warehouse, environment: str, day: date) -> Path | None:
    """The newest kept version published at or before the end of a UTC day.

    None before the first publish. Raises ConfigurationError, which names the oldest kept, when
    that one is younger.
    """
    folder = warehouse.published_folder(environment)
    current = snapshots.current_version(folder)
    if current is None:
        return None
    moments, _, _ = contents.read_all(folder)
    if version := snapshots.published_by(moments, day, current):
        return folder / version.file_name
    oldest = min(moments)
    raise ConfigurationError(
        f"no version of {environment} that was published on {day} or before is kept: the oldest is"
        f" {Path(oldest.file_name).stem}, published {moments[oldest]:%Y-%m-%d %H:%M} UTC."
    )


def answer(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """Print the result of one statement, or DuckDB's message."""
    try:
        if not only_reads(connection, query):
            print("this is a place for questions: nothing is written from here", file=sys.stderr)  # noqa: T201
            return 1
        relation = connection.sql(query)
    except duckdb.Error as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    if relation is not None:
        relation.show(max_width=200)
    return 0


if __name__ == "__main__":
    sys.exit(main())
