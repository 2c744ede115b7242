"""`python -m dagster_project.snowflake SHARE`: scripts that give a share to Snowflake.

Belongs here: the console, files and exit codes. Does not belong here: what the scripts say
(sharing/snowflake.py). Prints them, or writes them into a folder with --out. Exit codes: 0 made;
1 the share is refused, by its plan or the contract; 2 usage or configuration.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from dagster_project import dbt_runner, shares
from dagster_project.warehouse import ConfigurationError, Warehouse
from sharing import Share, SharesFile, snowflake
from sharing.compiler import Compiled, Refusal, compile_share
from sharing.contract import read_contract
from sharing.plans import read_plans
from sharing.staging import open_reader


def compiled(at: Warehouse, file: SharesFile, share: Share) -> Compiled | list[Refusal]:
    """A share as what is published allows it. Raises ConfigurationError when nothing is."""
    published = at.published_version(share.environment)
    if published is None:
        raise ConfigurationError(f"nothing of {share.environment} is published: make run first")
    dbt_runner.prepare_manifests(at)
    contract = read_contract(dbt_runner.read_manifest(at, share.environment), share.environment)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_reader(published, Path(folder), None, at.memory) as reader,
    ):
        workspaces = reader.workspaces(share.environment)
    return compile_share(
        share,
        file.consumer_of(share),
        contract=contract,
        plans=read_plans(shares.places(at).plans),
        workspaces=workspaces,
        today=datetime.now(UTC).date(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the scripts of a share; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dagster_project.snowflake",
        description="Scripts that give a share to Snowflake; generated, not run. Settings:"
        " ROLLCALL_HOME, ROLLCALL_SHARES.",
    )
    parser.add_argument("share", help="its name in shares.yml")
    parser.add_argument("--out", type=Path, help="write them into this folder")
    asked = parser.parse_args(arguments)
    try:
        at = Warehouse.from_environment()
        file = shares.read(at)
        share = shares.named(file, asked.share)
        found = compiled(at, file, share)
        if isinstance(found, list):
            for refusal in found:
                print(f"{refusal.code}: {refusal.message}", file=sys.stderr)  # noqa: T201
            return 1
        made = snowflake.scripts(share, found)
    except (ConfigurationError, snowflake.NoScriptError) as error:
        print(f"rollcall: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (asked.out / name).write_text(text, encoding="utf-8")
            print(asked.out / name)  # noqa: T201
    else:
        for name, text in made.items():
            print(f"-- {name}\n\n{text}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
