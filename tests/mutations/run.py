"""Plants each fault of table.py in a copy of the dbt project and hunts it with histories.

    python -m tests.mutations.run [--examples 150] [--only WORDS] [--out FILE]

Prints a line a fault: caught (and after how many histories) or survived. Exit code 1 when one
survived. The histories are those kept in test_any_history.py and what its state machine draws.
Production only: the models of the other environment are the same. About half a minute a fault.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tests.histories import (
    DBT_PROJECT,
    ROOT,
    Recording,
    Replay,
    Seal,
    Step,
    built_once,
    record,
)
from tests.mutations.table import MUTATIONS, Mutation
from tests.test_any_history import FOUND, told_histories

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


@dataclass
class Hunt:
    """Histories with the marts that a single build of the sound project makes of their files."""

    histories: list[list[Step]]
    sound: dict[str, Recording]
    expected: dict[int, dict[str, tuple[Any, ...]]] = field(default_factory=dict)

    def find(self, recordings: dict[str, Recording]) -> tuple[str | None, int]:
        """(marts that differ in the first history in which any does, or None; histories lived)."""
        for number, history in enumerate(self.histories):
            with tempfile.TemporaryDirectory(prefix="rollcall-hunt-") as folder:
                lived = Replay(recordings, Path(folder))
                try:
                    for step in history:
                        lived.take(step)
                    lived.finish()
                    found = lived.digests()
                    if number not in self.expected or any(type(step) is Seal for step in history):
                        single = built_once(lived, self.sound)
                        self.expected[number] = single.digests()
                        single.close()
                except duckdb.Error as error:
                    return f"{type(error).__name__}: {str(error).splitlines()[0]}", number + 1
                finally:
                    lived.close()
            if other := [name for name in found if found[name] != self.expected[number][name]]:
                return ", ".join(name.split(".")[1] for name in other), number + 1
        return None, len(self.histories)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=150)
    parser.add_argument("--only", default="", help="words of the name")
    parser.add_argument("--sound", action="store_true", help="the project without a fault first")
    parser.add_argument("--out", type=Path, help="a file for the same lines")
    arguments = parser.parse_args()
    sound = record(environments=("production",))
    told = told_histories(sound, arguments.examples)
    hunt = Hunt([*FOUND.values(), *told], sound)
    if arguments.sound:
        print(f"without a fault: {hunt.find(sound)}", flush=True)  # noqa: T201
    survived = 0
    for mutation in MUTATIONS:
        if arguments.only not in mutation.name:
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="rollcall-mutation-") as folder:
            project = plant(mutation, Path(folder))
            found, lived = hunt.find(record(project, ("production",)))
        survived += found is None
        said = f"caught by {lived:3}" if found else f"SURVIVED {lived:3} "
        line = f"{said}  {time.monotonic() - started:4.0f} s  {mutation.name}  {found or ''}"
        print(line, flush=True)  # noqa: T201
        if arguments.out is not None:
            with arguments.out.open("a") as file:
                file.write(line + "\n")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
