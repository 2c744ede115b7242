"""How dbt is started: one project an environment, its manifest, its command line.

Belongs here: DbtProject, preparation of manifests, arguments of dbt. Does not belong here: which
assets come of it (defs/models.py), when a build is needed (builds.py).
"""

import json
import os
import sys
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from dagster_dbt import DbtCliResource, DbtProject
from packaging.version import Version

from dagster_project.builds import fingerprints
from dagster_project.warehouse import DBT_PROJECT, ENVIRONMENTS, Warehouse

# The dbt of this environment, not whichever PATH finds first.
DBT_EXECUTABLE = Path(sys.executable).with_name("dbt")


class LocalDbt(DbtCliResource):
    """DbtCliResource without its two probes, which a build here has no use for.

    `dbt --version` asks the package registry for the newest release (2.7 s, and traffic that
    nobody asked for), and the adapter handle that Dagster makes for row counts imports dbt into
    this process (2.6 s of CPU), where a query through it would keep DuckDB's lock.
    """

    @cached_property
    def _cli_version(self) -> Version:
        return Version(installed_version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Any) -> Any:
        return None


def project(warehouse: Warehouse, environment: str) -> DbtProject:
    """The dbt project aimed at one environment, with artifacts in a folder of its own."""
    return DbtProject(
        project_dir=DBT_PROJECT,
        target_path=warehouse.dbt_target(environment),
        profile=warehouse.engine,
        target=environment,
    )


def cli(warehouse: Warehouse, environment: str) -> LocalDbt:
    """The command line of dbt for one environment."""
    os.environ.update(warehouse.variables())
    os.environ["DO_NOT_TRACK"] = "1"
    # dbt.log on debug costs 4 of the 34 s of CPU of a build; what a model ran is in target/run
    os.environ.setdefault("DBT_LOG_LEVEL_FILE", "info")
    return LocalDbt(
        project_dir=project(warehouse, environment),  # type: ignore[arg-type]
        dbt_executable=str(DBT_EXECUTABLE),
    )


def build_arguments(is_full_refresh: bool) -> list[str]:
    """Arguments of the build; unit tests need no data and run with `make test` instead."""
    arguments = [
        "build",
        "--exclude-resource-type",
        "unit_test",
        "--warn-error-options",
        json.dumps({"error": ["NoNodesForSelectionCriteria"]}),
    ]
    return [*arguments, "--full-refresh"] if is_full_refresh else arguments


def prepare_manifests(warehouse: Warehouse) -> list[str]:
    """Parse the project for each environment whose manifest is older than the code.

    Returns the environments that were parsed. Raises DagsterDbtCliRuntimeError with dbt's message
    when the project does not parse. About 4 s an environment from nothing, 2 s afterwards.
    """
    code, _ = fingerprints()
    stale = [name for name in ENVIRONMENTS if not _is_prepared(warehouse, name, code)]
    invocations = [
        cli(warehouse, name).cli(["parse", "--quiet"], target_path=warehouse.dbt_target(name))
        for name in stale
    ]
    for name, invocation in zip(stale, invocations, strict=True):
        invocation.wait()
        _stamp(warehouse, name).write_text(code)
    return stale


def read_manifest(warehouse: Warehouse, environment: str) -> Mapping[str, Any]:
    """dbt's manifest of one environment."""
    manifest: Mapping[str, Any] = json.loads(
        (warehouse.dbt_target(environment) / "manifest.json").read_bytes()
    )
    return manifest


def _stamp(warehouse: Warehouse, environment: str) -> Path:
    return warehouse.dbt_target(environment) / "prepared"


def _is_prepared(warehouse: Warehouse, environment: str, code: str) -> bool:
    stamp = _stamp(warehouse, environment)
    manifest = warehouse.dbt_target(environment) / "manifest.json"
    return manifest.exists() and stamp.exists() and stamp.read_text() == code
