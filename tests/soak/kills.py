"""The whole job, killed at random moments; then one ordinary run equals a home never killed.

Extracts arrive one by one between kills, a share goes to a folder, users are erased. A kill takes
the process group, dbt's process included, at a moment drawn between the start and the time that
an ordinary run took: so all stages are met, and each is told by the last line that was said.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import yaml

from dagster_project.audits import account_for_every_line
from landing import TABLES, create_raw_schema
from landing.schema import put_pseudonym_key
from tests.conftest import ROOT, job_environment, run_job

EVENTS, DAYS = 4_000, 20
FIRST_FILES, MORE_FILES = 30, 2
SHARE = {
    "name": "theirs",
    "consumer": "acme",
    "environment": "production",
    "tables": [{"model": "fct_auth_daily", "profile": "full"}],
    "format": "parquet",
    "capability": "warehouse_share",
    "requested_by": "usr_ops_1",
}
COMMAND = [sys.executable, "-m", "dagster_project.run"]


def soak(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Begin `count` runs and kill those that last; half of an ordinary run's time each."""
    chance = random.Random(seed)
    extracts = simulated(folder, seed)
    killed, never = Home(folder / "killed"), Home(folder / "never")
    killed.take(extracts[:FIRST_FILES])
    broken = killed.run()
    # a run like those that die: the first one parses and builds everything
    killed.take(extracts[FIRST_FILES : FIRST_FILES + MORE_FILES])
    began = time.monotonic()
    broken += killed.run()
    usual = time.monotonic() - began
    stages: Counter[str] = Counter()
    waiting = extracts[FIRST_FILES + MORE_FILES :]
    for number in range(count):
        # all are there a little before the end, so that each kill has something to disturb
        due = len(waiting) * (number + 1) // count
        done = len(waiting) * number // count
        killed.take(waiting[done:due])
        stages[killed.run_killed_after(chance.uniform(0, usual))] += 1
        if (number + 1) % 10 == 0:
            print(f"{number + 1} of {count} runs", file=sys.stderr, flush=True)
    broken += killed.run()
    broken += killed.run()
    never.take(extracts)
    broken += never.run()
    broken += never.run()
    broken += [f"killed: {fault}" for fault in killed.faults()]
    ours, theirs = killed.state(), never.state()
    broken += [f"{name} differs" for name in sorted(theirs) if ours.get(name) != theirs[name]]
    kills = count - stages["ended before"]
    return {"kills": kills, "usual_seconds": round(usual, 1), "stages": stages, "broken": broken}


def simulated(folder: Path, seed: int) -> list[tuple[Path, Path]]:
    """Demo extracts as (file, its path in a landing folder), in an order drawn."""
    source = folder / "extracts"
    command = [sys.executable, "-m", "simulator", "--out", str(source), "--quiet"]
    size = ["--events", str(EVENTS), "--days", str(DAYS)]
    subprocess.run([*command, *size], cwd=ROOT, check=True, capture_output=True)
    files = sorted(
        path
        for path in source.rglob("*")
        if path.is_file() and not path.relative_to(source).parts[0].startswith("_")
    )
    random.Random(seed).shuffle(files)
    # a share needs to know its workspace's plan from the beginning
    files.sort(key=lambda path: path.relative_to(source).parts[0] != "workspaces")
    return [(path, path.relative_to(source)) for path in files]


class Home:
    """A home with its landing folder, its shares and where they go."""

    def __init__(self, folder: Path) -> None:
        self.home, self.landing, self.out = folder / "home", folder / "landing", folder / "out"
        for place in (self.home, self.landing):
            place.mkdir(parents=True)
        with duckdb.connect(str(self.home / "warehouse.duckdb")) as connection:
            create_raw_schema(connection)
            # pseudonyms are made with a warehouse's own key: here, of both the same
            put_pseudonym_key(connection, b"one and the same")

    def take(self, files: list[tuple[Path, Path]]) -> None:
        """Files arrive, each by a rename."""
        for source, relative in files:
            target = self.landing / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_name(f".{target.name}.tmp")
            shutil.copyfile(source, unfinished)
            unfinished.replace(target)
        if not (self.home / "shares.yml").exists():
            self.write_shares()

    def write_shares(self) -> None:
        """Share with the first workspace whose plan allows it."""
        with duckdb.connect() as connection:
            found = connection.execute(
                "select id from read_json(?, union_by_name = true)"
                " where plan_id = 'enterprise' order by id limit 1",
                [f"{self.landing}/workspaces/**/*.jsonl*"],
            ).fetchall()
        if not found:
            return
        share = {**SHARE, "destination": {"kind": "folder", "url": f"file://{self.out}"}}
        consumer = {"workspace_ids": [found[0][0]], "contact": "data@acme.example"}
        content = {"consumers": {"acme": consumer}, "shares": [share]}
        (self.home / "shares.yml").write_text(yaml.safe_dump(content))

    def run(self) -> list[str]:
        """An ordinary run; what was wrong with it."""
        # a run that hangs is a fault; one on a busy machine took five minutes
        done = run_job(self.home, self.landing, timeout=3_600)
        return [] if done.returncode == 0 else [f"exit {done.returncode}: {done.stdout[-600:]}"]

    def run_killed_after(self, seconds: float) -> str:
        """Kill a run after so many seconds; the stage it had come to, by its last line."""
        said = self.home.parent / "said"
        with said.open("w") as output:
            process = subprocess.Popen(
                COMMAND,
                cwd=ROOT,
                env=job_environment(self.home, self.landing),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(timeout=seconds)
                stage = "ended before"
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                # what a predecessor left behind is no stage, nor is what a stage says
                lines = [one for one in said.read_text().splitlines() if one[:1] not in " !"]
                stage = lines[-1][:40] if lines else "starting"
        return stage

    def faults(self) -> list[str]:
        """What no home may show after an ordinary run."""
        with duckdb.connect(str(self.home / "warehouse.duckdb"), read_only=True) as connection:
            findings = account_for_every_line(connection, sorted(TABLES))
        broken = [f"{one.table}: {dict(one.numbers)}" for one in findings if not one.is_passed]
        left = [path for path in self.home.rglob(".*.tmp*") if "dagster" not in path.parts]
        return broken + [f"{path.name} was left behind" for path in left]

    def state(self) -> dict[str, Any]:
        """Every published mart but what tells of runs, and what the consumer has."""
        found: dict[str, Any] = {}
        for environment in ("production", "sandbox"):
            latest = (self.home / "published" / environment / "latest.duckdb").resolve()
            with duckdb.connect(str(latest), read_only=True) as connection:
                names = connection.execute(
                    "select table_name from information_schema.tables where table_schema = ?",
                    [environment],
                ).fetchall()
                for (name,) in names:
                    # exports are receipts of attempts, and land as audit events of their own
                    if name in ("fct_exports", "fct_data_quality_daily", "fct_events"):
                        continue
                    found[f"{environment}.{name}"] = connection.execute(
                        f"select count(*), sum(hash(t)) from {environment}.{name} as t"
                    ).fetchall()
        with duckdb.connect() as connection:
            parts = sorted((self.out / "_manifests").glob("*.json")) if self.out.exists() else []
            if parts:
                listed = json.loads(parts[-1].read_text())["tables"]["fct_auth_daily"]["files"]
                paths = [str(self.out / one["path"]) for one in listed]
                found["share"] = connection.execute(
                    "select count(*), sum(hash(t)) from read_parquet(?) as t", [paths]
                ).fetchall()
        return found
