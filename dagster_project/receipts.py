"""`python -m dagster_project.receipts`: whether the chain of receipts is whole.

Belongs here: the console and the exit code. Does not belong here: what is verified
(sharing/receipts.py). Exit codes: 0 whole; 1 a receipt is missing or was changed; 2 usage or
configuration.
"""

import argparse
import sys
from collections.abc import Sequence

from dagster_project.warehouse import (
    ConfigurationError,
    NothingPublishedError,
    Warehouse,
    WarehouseBusyError,
)
from sharing import receipts


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify the chain; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dagster_project.receipts",
        description="Verify the chain of share receipts. Setting: ROLLCALL_HOME.",
    )
    parser.parse_args(arguments)
    try:
        with Warehouse.from_environment().connect_to_read() as connection:
            faults = receipts.verify(connection)
            [(count,)] = connection.execute(f"select count(*) from {receipts.TABLE}").fetchall()
    except (ConfigurationError, NothingPublishedError, WarehouseBusyError) as error:
        print(f"rollcall: {error}", file=sys.stderr)  # noqa: T201
        return 2
    for fault in faults:
        print(fault)  # noqa: T201
    print(f"{count} receipts, {len(faults)} faults")  # noqa: T201
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
