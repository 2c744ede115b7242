"""What several tests share: running the job as a user does, and one home built that way."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from dagster_project.warehouse import ENVIRONMENTS, Warehouse
from tests.histories import Recording, record

ROOT = Path(__file__).resolve().parent.parent

RunJob = Callable[..., "subprocess.CompletedProcess[str]"]
MadeOnce = Callable[[str, Callable[[Path], None]], Path]


def run_job(
    home: Path, landing: Path | None = None, *, timeout: float = 600, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m dagster_project.run` with its own home; exit code, stdout and stderr as text.

    Without `landing` the default folder below `home` is used, as when ROLLCALL_LANDING is unset.
    """
    return subprocess.run(
        [sys.executable, "-m", "dagster_project.run"],
        cwd=ROOT,
        env=job_environment(home, landing, **env),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def job_environment(home: Path, landing: Path | None = None, **env: str) -> dict[str, str]:
    """The environment of a run: nothing of ours but what is named here."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ROLLCALL_", "DAGSTER_", "DBT_"))
    }
    named = {"ROLLCALL_HOME": str(home)}
    if landing is not None:
        named["ROLLCALL_LANDING"] = str(landing)
    return {**inherited, **named, **env}


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """A folder that the first of several pytest processes fills and all of them look at."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def made(name: str, fill: Callable[[Path], None]) -> Path:
        place = folder / name
        with FileLock(folder / f"{name}.lock"):
            if not (place / "filled").exists():
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                fill(place)
                (place / "filled").touch()
        return place

    return made


@pytest.fixture(scope="session")
def demo_landing(made_once: MadeOnce) -> Path:
    """A small landing folder made by the simulator; read-only for its users."""

    def simulate(place: Path) -> None:
        command = [sys.executable, "-m", "simulator", "--out", str(place / "landing")]
        size = ["--events", "6000", "--days", "40", "--quiet"]
        subprocess.run([*command, *size], cwd=ROOT, check=True, capture_output=True, timeout=300)

    return made_once("demo", simulate) / "landing"


@pytest.fixture(scope="session")
def demo_run(
    demo_landing: Path, made_once: MadeOnce
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The home and the output of one real run over `demo_landing`, from nothing."""

    def run(place: Path) -> None:
        done = run_job(place / "home", demo_landing)
        assert done.returncode == 0, done.stdout + done.stderr
        (place / "done.pickle").write_bytes(pickle.dumps(done))

    place = made_once("demo_run", run)
    return place / "home", pickle.loads((place / "done.pickle").read_bytes())


@pytest.fixture(scope="session")
def demo_home(demo_run: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    """A ROLLCALL_HOME built once by the real job, shared by all tests: look, don't touch.

    Whoever wants to change something takes `demo_copy`.
    """
    return demo_run[0]


@dataclass(frozen=True)
class SharedRuns:
    """Runs one after the other over a copy of `demo_home`, with what they wrote and said.

    One lands extracts full of secrets (canaries.py), a late one and half a file, and is killed in
    the middle of dbt's work. Of those that were `done` the first finds what it left, builds and
    shares, the second lands what the first exported, the third has nothing to do, the fourth meets
    a broken shares.yml. `published`: names of the versions before, after the kill, after the first.
    """

    place: Path
    workspace: str
    planted: frozenset[str]
    killed: int
    killed_said: list[str]
    published: list[dict[str, str]]
    done: list[subprocess.CompletedProcess[str]]


def published_names(home: Path) -> dict[str, str]:
    """The file that readers open, by environment."""
    return {
        name: (home / "published" / name / "latest.duckdb").resolve().name for name in ENVIRONMENTS
    }


def add_extract(landing: Path, name: str) -> None:
    """One more file of sign-ins, of a user nobody has seen."""
    event = {
        "id": f"late_{name}",
        "type": "login",
        "occurred_at": "2026-09-29T10:00:00Z",
        "environment": "production",
        "workspace_id": "ws_late",
        "project_id": "prj_late",
        "user_id": "usr_late",
        "data": {"outcome": "success", "method": "passkey"},
    }
    (landing / "auth_events" / f"{name}.jsonl").write_text(json.dumps(event) + "\n")


def killed_while_building(home: Path, landing: Path) -> tuple[int, list[str]]:
    """Run until dbt is in the middle of its work, which outlives its parent: (process, lines)."""
    with subprocess.Popen(
        [sys.executable, "-m", "dagster_project.run"],
        cwd=ROOT,
        env=job_environment(home, landing),
        stdout=subprocess.PIPE,
        text=True,
    ) as killed:
        assert killed.stdout is not None
        said = []
        for line in killed.stdout:
            said.append(line)
            if line.startswith("  int_"):
                break
        killed.kill()
    return killed.pid, said


SHARES = {
    "acme_auth": {
        "tables": [
            {"model": "fct_auth_attempts", "profile": "full"},
            {"model": "fct_auth_hourly", "profile": "full"},
        ],
        "format": "parquet",
        "capability": "export",
    },
    "acme_stream": {
        "tables": [{"model": "fct_events", "profile": "stream"}],
        "format": "ndjson",
        "capability": "stream",
    },
}


@pytest.fixture(scope="session")
def shared_runs(demo_home: Path, demo_landing: Path, made_once: MadeOnce) -> SharedRuns:
    """See SharedRuns: home, landing, and out/<share> below `place`; look, don't touch."""
    from tests import canaries, shares  # noqa: PLC0415

    def run(place: Path) -> None:
        home, landing = place / "home", place / "landing"
        shutil.copytree(
            demo_home, home, symlinks=True, ignore=shutil.ignore_patterns("dagster", "filled")
        )
        # copy2 keeps the times by which the ledger knows a file
        shutil.copytree(demo_landing, landing)
        with Warehouse(home, landing).connect_published("production") as connection:
            [(workspace,), *_] = connection.execute(
                "select workspace_id from production.dim_workspaces where plan_id = 'enterprise'"
                " order by all"
            ).fetchall()
        planted = frozenset(canaries.plant(landing, workspace))
        common = {
            "consumer": "acme",
            "environment": "production",
            "pii": {"user_id": "keyed_hash"},
            "hash_key": {"id": "k1", "secret": "env:ACME_HASH_KEY"},
            "retention": 100_000,
            "requested_by": "usr_ops_1",
        }
        listed = [
            {"name": name, **common, **share, "destination": {"kind": "folder", "url": url}}
            for name, share in SHARES.items()
            for url in [f"file://{place}/out/{name}"]
        ]
        add_extract(landing, "2026-09-29-late")
        whole = gzip.compress(b'{"id": "1"}\n' * 1000)
        (landing / "users" / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
        published = [published_names(home)]
        killed, said = killed_while_building(home, landing)
        shutil.copy(home / "run.log", place / "run_killed.log")
        published.append(published_names(home))
        consumers = {"acme": {"workspace_ids": [workspace], "contact": "c"}}
        settings = home / "shares.yml"
        settings.write_text(yaml.safe_dump({"consumers": consumers, "shares": listed}))
        done = []
        for number in range(4):
            if number == 3:
                settings.write_text("consumers: {}\nshares: [{}]\n")
            done.append(run_job(home, landing, ACME_HASH_KEY=shares.HASH_KEY))
            shutil.copy(home / "run.log", place / f"run_{number}.log")
            if number == 0:
                published.append(published_names(home))
        runs = SharedRuns(place, workspace, planted, killed, said, published, done)
        (place / "done.pickle").write_bytes(pickle.dumps(runs))

    found: SharedRuns = pickle.loads((made_once("shared_runs", run) / "done.pickle").read_bytes())
    return found


@pytest.fixture
def demo_copy(demo_home: Path, tmp_path: Path) -> Path:
    """A copy of `demo_home` of the test's own, without Dagster's history."""
    copy = tmp_path / "home"
    shutil.copytree(demo_home, copy, symlinks=True, ignore=shutil.ignore_patterns("dagster"))
    return copy


@pytest.fixture
def demo_environment(
    demo_home: Path, demo_landing: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """This process's settings are those of `demo_home`."""
    before = dict(os.environ)
    for name, value in job_environment(demo_home, demo_landing).items():
        monkeypatch.setenv(name, value)
    yield
    # what the code under test sets for its children
    for name in set(os.environ) - set(before):
        os.environ.pop(name)


@pytest.fixture(scope="session")
def recordings(made_once: MadeOnce) -> dict[str, Recording]:
    """The statements that dbt executes, recorded once for all who replay them."""
    place = made_once(
        "recordings", lambda place: (place / "all.pickle").write_bytes(pickle.dumps(record()))
    )
    found: dict[str, Recording] = pickle.loads((place / "all.pickle").read_bytes())
    return found
