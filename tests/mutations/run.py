"""Plants each fault of table.py in a copy of the dbt project and lets the state machine hunt it.

    python -m tests.mutations.run [--examples 150] [--only WORDS] [--out FILE]

Prints a line a fault: caught (and after how many histories) or survived. Exit code 1 when one
survived. Production only: half of the time, and the models are the same. About a minute a fault.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from hypothesis.stateful import run_state_machine_as_test

from tests.histories import DBT_PROJECT, ROOT, record
from tests.mutations.table import MUTATIONS, Mutation
from tests.test_any_history import AnyHistory, drawn_at_most

LEFT_OUT = ("target", "logs", "dbt_packages", "__pycache__")


def plant(mutation: Mutation, folder: Path) -> Path:
    """A copy of the dbt project with one fault in it."""
    project = folder / "dbt_project"
    shutil.copytree(DBT_PROJECT, project, ignore=shutil.ignore_patterns(*LEFT_OUT))
    shutil.copytree(ROOT / "seeds", folder / "seeds")
    file = project / mutation.file
    text = file.read_text()
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.name}: stands {text.count(mutation.old)} times in {file.name}")
    file.write_text(text.replace(mutation.old, mutation.new))
    return project


def hunt(project: Path, examples: int) -> tuple[str | None, int]:
    """(first line of what was found or None, histories looked at)."""
    recordings = record(project, ("production",))
    looked_at = 0

    class Hunter(AnyHistory):
        def __init__(self) -> None:
            nonlocal looked_at
            super().__init__()
            looked_at += 1

    machine = type("Machine", (Hunter,), {"recordings": recordings})
    try:
        run_state_machine_as_test(machine, settings=drawn_at_most(examples, detecting=True))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:70]}", looked_at
    return None, looked_at


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=150)
    parser.add_argument("--only", default="", help="words of the name")
    parser.add_argument("--out", type=Path, help="a file for the same lines")
    arguments = parser.parse_args()
    survived = 0
    for mutation in MUTATIONS:
        if arguments.only not in mutation.name:
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="rollcall-mutation-") as folder:
            found, looked_at = hunt(plant(mutation, Path(folder)), arguments.examples)
        survived += found is None
        said = f"caught after {looked_at - 1:3}" if found else f"SURVIVED {looked_at - 1:3}     "
        line = f"{said}  {time.monotonic() - started:4.0f} s  {mutation.name}  {found or ''}"
        print(line, flush=True)  # noqa: T201
        if arguments.out is not None:
            with arguments.out.open("a") as file:
                file.write(line + "\n")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
