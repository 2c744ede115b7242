"""`python -m dagster_project.sql`: look at what is published, or with BUILD=1 at the build file.

Belongs here: a prompt and one query. Does not belong here: anything that writes.

QUERY, ENVIRONMENT (default production) and BUILD come as environment variables. Reading the build
file takes the writer's lock: no run can go on meanwhile.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager

import duckdb

from dagster_project.warehouse import (
    ENVIRONMENTS,
    ConfigurationError,
    NothingPublishedError,
    Warehouse,
    WarehouseBusyError,
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
    """The file to look at."""
    if environ.get("BUILD", "").strip():
        return warehouse.connect_to_read()
    environment = environ.get("ENVIRONMENT", "").strip() or "production"
    if environment not in ENVIRONMENTS:
        raise ConfigurationError(
            f"ENVIRONMENT is {environment!r}. It has to be one of: {', '.join(ENVIRONMENTS)}."
        )
    return warehouse.connect_published(environment)


def answer(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """Print the result of one statement, or DuckDB's message."""
    try:
        relation = connection.sql(query)
    except duckdb.Error as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    if relation is not None:
        relation.show(max_width=200)
    return 0


if __name__ == "__main__":
    sys.exit(main())
