"""`python -m dagster_project.pseudonyms change-key`: pseudonyms under another key.

Belongs here: the change of the key that hides who impersonated. Does not belong here: how a
pseudonym is made (dbt_project/macros/engine/hashing.sql), keys of shares and tombstones.

Nothing may stand that was made with the former key, so it is carried out like an erasure: the build
file is written anew, without the former key, and the next run builds everything from raw, publishes
it, deletes all earlier versions and replaces what is shared.
"""

import argparse
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from dagster_project import builds, rewriting
from dagster_project.warehouse import ConfigurationError, Warehouse, WarehouseBusyError
from landing.ledger import roll_back
from landing.schema import KEY_BYTES, create_raw_schema, put_pseudonym_key


def change_key(at: Warehouse, now: datetime) -> str:
    """Draw another key and write the build file anew; returns the key's id.

    `now`: UTC. Killed in between, the next run writes the file. Raises WarehouseBusyError.
    """
    with at.writing("changing the key of pseudonyms"):
        with at.connect() as connection:
            create_raw_schema(connection)
            builds.create_bookkeeping(connection)
            connection.begin()
            try:
                key_id = put_pseudonym_key(connection, secrets.token_bytes(KEY_BYTES))
                rewriting.begin(connection, at, "pseudonym key", now)
            except BaseException:
                roll_back(connection)
                raise
            connection.commit()
        rewriting.rewrite(at)
    return key_id


def main(arguments: Sequence[str] | None = None) -> int:
    """Change the key; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dagster_project.pseudonyms",
        description="Make pseudonyms with another key. Setting: ROLLCALL_HOME.",
    )
    parser.add_argument("what", choices=["change-key"])
    parser.parse_args(arguments)
    try:
        at = Warehouse.from_environment()
        if not at.build_file.exists():
            raise ConfigurationError(f"there is no {at.build_file}: run `make run` first")
        key_id = change_key(at, datetime.now(UTC))
    except (ConfigurationError, WarehouseBusyError) as error:
        print(f"rollcall: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(f"pseudonyms are made with key {key_id} from the next run on: make run")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
