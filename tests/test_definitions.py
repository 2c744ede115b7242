"""Everything that Dagster knows of, held against dbt's manifests: no list of models by hand."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from conftest import ROOT, job_environment
from dagster._core.instance.config import dagster_instance_config
from hypothesis import given
from hypothesis import strategies as st

from dagster_project import catalog, dbt_runner
from dagster_project.definitions import defs
from dagster_project.defs import schedules
from dagster_project.defs.checks import EVERY_LINE, ONCE, STAGED, wall
from dagster_project.warehouse import ENVIRONMENTS, Warehouse
from landing import TABLES
from landing.schema import BOOKKEEPING, KEPT, KEYS, RECEIPTS


@pytest.fixture(scope="module")
def home(demo_home: Path, demo_landing: Path) -> Iterator[Warehouse]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROLLCALL_HOME", str(demo_home))
        patch.setenv("ROLLCALL_LANDING", str(demo_landing))
        patch.delenv("ROLLCALL_ENGINE", raising=False)
        yield Warehouse.from_environment()


@pytest.fixture(scope="module")
def definitions(home: Warehouse) -> dg.Definitions:
    return defs()


@pytest.fixture(scope="module")
def manifests(home: Warehouse) -> dict[str, dict[str, Any]]:
    return {name: dict(dbt_runner.read_manifest(home, name)) for name in ENVIRONMENTS}


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> dict[tuple[str, ...], dg.AssetSpec]:
    return {tuple(spec.key.path): spec for spec in definitions.resolve_all_asset_specs()}


@pytest.fixture(scope="module")
def checks(definitions: dg.Definitions) -> dict[tuple[str, ...], set[str]]:
    """Names of the checks at each asset."""
    found: dict[tuple[str, ...], set[str]] = {}
    for key in definitions.resolve_asset_graph().asset_check_keys:
        found.setdefault(tuple(key.asset_key.path), set()).add(key.name)
    return found


def test_definitions_load(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_every_table_is_an_asset_and_every_asset_is_a_table(
    specs: dict[tuple[str, ...], dg.AssetSpec], manifests: dict[str, dict[str, Any]]
) -> None:
    expected = {("raw", table) for table in (*TABLES, *BOOKKEEPING, *KEPT, *RECEIPTS, *KEYS)}
    expected |= {("published", name) for name in ENVIRONMENTS}
    for manifest in manifests.values():
        expected |= {
            (node["schema"], node["name"])
            for node in manifest["nodes"].values()
            if node["resource_type"] in ("model", "seed")
        }
    assert set(specs) == expected


def test_the_group_of_an_asset_is_its_schema(
    specs: dict[tuple[str, ...], dg.AssetSpec],
) -> None:
    assert {key: spec.group_name for key, spec in specs.items()} == {key: key[0] for key in specs}


def test_every_layer_of_both_environments_is_there(
    specs: dict[tuple[str, ...], dg.AssetSpec],
) -> None:
    layers = {schema for schema, _ in specs}
    assert layers == {"raw", "published"} | {
        f"{name}{layer}"
        for name in ENVIRONMENTS
        for layer in ("", "_seeds", "_staging", "_intermediate")
    }


def test_nothing_reads_across_environments(
    specs: dict[tuple[str, ...], dg.AssetSpec],
) -> None:
    for (schema, _), spec in specs.items():
        environment = schema.split("_")[0]
        for dep in spec.deps:
            upstream = dep.asset_key.path[0]
            assert upstream == "raw" or schema == "published" or upstream.startswith(environment)


def test_a_published_version_waits_for_every_mart_of_its_environment(
    specs: dict[tuple[str, ...], dg.AssetSpec], manifests: dict[str, dict[str, Any]]
) -> None:
    for name in ENVIRONMENTS:
        upstream = {tuple(dep.asset_key.path) for dep in specs["published", name].deps}
        assert upstream == {(name, mart) for mart in catalog.marts(manifests[name], name)}
        assert upstream
        assert specs["published", name].freshness_policy is not None


def test_every_mart_has_a_test_of_its_own_and_the_wall(
    checks: dict[tuple[str, ...], set[str]], manifests: dict[str, dict[str, Any]]
) -> None:
    for name in ENVIRONMENTS:
        for mart in catalog.marts(manifests[name], name):
            assert wall(name) in checks[name, mart]
            assert len(checks[name, mart]) > 1, f"{name}.{mart} has no dbt test"


def test_every_record_table_is_reconciled(checks: dict[tuple[str, ...], set[str]]) -> None:
    for table in TABLES:
        assert EVERY_LINE in checks["raw", table]
        assert (ONCE in checks["raw", table]) == (TABLES[table].family != "entity")
    for name in ENVIRONMENTS:
        assert STAGED in checks[f"{name}_staging", "stg_auth_events"]
        assert STAGED not in checks[f"{name}_staging", "stg_users"]


def test_every_dbt_data_test_is_a_check(
    checks: dict[tuple[str, ...], set[str]], manifests: dict[str, dict[str, Any]]
) -> None:
    shown = set().union(*checks.values())
    for manifest in manifests.values():
        tests = {n["name"] for n in manifest["nodes"].values() if n["resource_type"] == "test"}
        assert tests <= shown


def test_what_python_checks_blocks(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    ours = {EVERY_LINE, ONCE, STAGED, *map(wall, ENVIRONMENTS)}
    nodes = [graph.get(key) for key in graph.asset_check_keys if key.name in ours]
    assert nodes
    assert all(node.blocking for node in nodes)
    assert all(graph.get(key).description for key in graph.asset_check_keys)


def test_assets_are_described(specs: dict[tuple[str, ...], dg.AssetSpec]) -> None:
    layers = ("raw", "published", *ENVIRONMENTS)
    bare = [key for key, spec in specs.items() if key[0] in layers and not spec.description]
    # the books of landing that no model reads have no source to be described by
    assert [key for key in bare if key[1] not in BOOKKEEPING] == []


def test_jobs_run_in_one_process(definitions: dg.Definitions) -> None:
    jobs = {job.name: job for job in definitions.resolve_all_job_defs()}
    assert {"run", "land", "tidy", *(f"refresh_{name}" for name in ENVIRONMENTS)} <= set(jobs)
    assert {job.executor_def.name for job in jobs.values()} == {"in_process"}


def test_two_schedules_are_on_and_the_sensor_waits_to_be_switched_on(
    definitions: dg.Definitions,
) -> None:
    assert definitions.resolve_schedule_def("hourly").job_name == "run"
    assert definitions.resolve_schedule_def("nightly").job_name == "tidy"
    for name in ("hourly", "nightly"):
        status = definitions.resolve_schedule_def(name).default_status
        assert status == dg.DefaultScheduleStatus.RUNNING
    sensor = definitions.resolve_sensor_def("new_extracts")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED


def test_the_hourly_schedule_asks_for_nothing_when_nothing_is_new(
    home: Warehouse, definitions: dg.Definitions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hourly = definitions.resolve_schedule_def("hourly")
    assert hourly.evaluate_tick(dg.build_schedule_context()).skip_message
    # another landing folder: none of its files is in the ledger
    other = tmp_path / "auth_events"
    other.mkdir()
    (other / "a.jsonl").write_text("{}")
    monkeypatch.setenv("ROLLCALL_LANDING", str(tmp_path))
    assert len(hourly.evaluate_tick(dg.build_schedule_context()).run_requests or []) == 1


def test_the_sensor_asks_once_when_files_have_come_to_rest(
    home: Warehouse, definitions: dg.Definitions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLCALL_LANDING", str(tmp_path))
    sensor = definitions.resolve_sensor_def("new_extracts")
    cursor: str | None = None

    def tick() -> int:
        nonlocal cursor
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(instance=instance, cursor=cursor)
            data = sensor.evaluate_tick(context)
        cursor = data.cursor
        return len(data.run_requests or [])

    folder = tmp_path / "auth_events"
    folder.mkdir()
    assert tick() == 0
    (folder / "a.jsonl.part").write_text("{}")
    assert [tick(), tick()] == [0, 0]
    (folder / "a.jsonl.part").rename(folder / "a.jsonl")
    assert [tick(), tick(), tick()] == [0, 1, 0]
    (folder / "b.jsonl").write_text("{}")
    assert tick() == 0
    (folder / "b.jsonl").write_text("{}{}")
    assert [tick(), tick(), tick()] == [0, 1, 0]


NOW = datetime(2026, 1, 31, tzinfo=UTC)


@given(st.lists(st.tuples(st.integers(0, 2000), st.booleans()), max_size=60))
def test_runs_are_forgotten_by_age_and_the_last_that_published_never(
    ages: list[tuple[int, bool]],
) -> None:
    runs = [
        (str(number), NOW - timedelta(days=age), has_published)
        for number, (age, has_published) in enumerate(sorted(ages))
    ]
    forgotten = set(schedules.forgettable(runs, NOW))
    publishing = [run_id for run_id, _, has_published in runs if has_published]
    assert not forgotten & set(publishing[: schedules.PUBLISHING_RUNS_REMEMBERED])
    for run_id, created, _ in runs:
        is_old = created < NOW - timedelta(days=schedules.DAYS_REMEMBERED)
        assert run_id not in forgotten or is_old
        if is_old and run_id not in publishing[: schedules.PUBLISHING_RUNS_REMEMBERED]:
            assert run_id in forgotten


def test_a_forgotten_run_leaves_no_file(tmp_path: Path) -> None:
    at = Warehouse(tmp_path / "home", tmp_path)
    at.prepare_folders()

    @dg.op
    def do_little() -> None:
        """Something to run."""

    @dg.job
    def little() -> None:
        do_little()

    with dg.DagsterInstance.local_temp(str(at.dagster_home)) as instance:
        run_id = little.execute_in_process(instance=instance).run_id
        assert at.files_of_run(run_id)
        assert schedules.forget(instance, at, datetime.now(UTC)) == []
        later = datetime.now(UTC) + timedelta(days=schedules.DAYS_REMEMBERED + 1)
        assert schedules.forget(instance, at, later) == [run_id]
        assert instance.get_run_by_id(run_id) is None
    assert at.files_of_run(run_id) == []


def test_the_instance_runs_one_at_a_time_and_tells_nobody(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
    settings, _ = dagster_instance_config(str(tmp_path))
    assert settings["telemetry"] == {"enabled": False}
    assert settings["nux"] == {"enabled": False}
    assert settings["concurrency"]["runs"] == {"max_concurrent_runs": 1}
    assert settings["run_monitoring"]["max_runtime_seconds"] > 0


def test_a_test_over_several_models_is_shown_at_the_one_furthest_downstream() -> None:
    def node(kind: str, *parents: str, **more: Any) -> dict[str, Any]:
        depends = {"nodes": list(parents)}
        return {"resource_type": kind, "depends_on": depends, "config": {}, **more}

    nodes = {
        "model.a": node("model", name="a"),
        "model.b": node("model", "model.a", name="b"),
        "test.over_both": node("test", "model.a", "model.b"),
        "test.own_place": node("test", "model.a", "model.b", config={"meta": {"dagster": {}}}),
        "test.generic": node("test", "model.a", "model.b", attached_node="model.a"),
        "seed.s": {"resource_type": "seed", "config": {}},
    }
    parents = {name: n.get("depends_on", {}).get("nodes", []) for name, n in nodes.items()}
    shown = catalog.with_tests_attached({"nodes": nodes, "parent_map": parents})["nodes"]
    assert shown["test.over_both"]["config"]["meta"] == {"dagster": {"ref": {"name": "b"}}}
    assert shown["test.own_place"]["config"]["meta"] == {"dagster": {}}
    assert shown["test.generic"] == nodes["test.generic"]


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({"name": "t", "description": "As it is."}, "As it is."),
        ({"name": "assert_plans_are_known"}, "Plans are known."),
        ({"name": "t", "test_metadata": {"name": "key_is_unique"}}, "dbt test key_is_unique."),
        (
            {"name": "t", "test_metadata": {"name": "not_null"}, "column_name": "slug"},
            "dbt test not_null of column slug.",
        ),
    ],
)
def test_every_check_says_what_it_checks(test: dict[str, Any], said: str) -> None:
    assert catalog.describe_test(test) == said


def dbt(home: Path, landing: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a dbt command says of production in a home."""
    return subprocess.run(
        [str(dbt_runner.DBT_EXECUTABLE), *arguments],
        cwd=ROOT / "dbt_project",
        env=job_environment(
            home,
            landing,
            DBT_PROFILES_DIR=".",
            DBT_TARGET_PATH=str(home / "dbt" / "production"),
            DBT_LOG_PATH=str(home),
        ),
        capture_output=True,
        text=True,
        check=False,
    )


def test_dbt_unit_tests_pass(demo_copy: Path, demo_landing: Path) -> None:
    # a run leaves them out: they need no data
    done = dbt(demo_copy, demo_landing, "test", "--select", "test_type:unit")
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_project_compiles_before_anything_was_built(tmp_path: Path) -> None:
    (tmp_path / "marts").mkdir()
    done = dbt(tmp_path, tmp_path, "compile")
    assert done.returncode == 0, done.stdout[-3000:]


def test_rows_that_were_replaced_are_tested_and_after_trouble_all(
    demo_copy: Path, demo_landing: Path
) -> None:
    schema = "production_intermediate"

    def is_found_after(statement: str) -> bool:
        with duckdb.connect(str(demo_copy / "warehouse.duckdb")) as connection:
            connection.execute(statement)
        done = dbt(demo_copy, demo_landing, "test", "--select", "int_memberships_spanned")
        assert "key_is_unique_int_memberships_spanned" in done.stdout, done.stdout[-3000:]
        return done.returncode != 0

    assert not is_found_after(
        f"""
        delete from {schema}.int_membership_histories_reached;
        insert into {schema}.int_memberships_spanned
        select * from {schema}.int_memberships_spanned order by all limit 1
        """
    )
    assert is_found_after(
        f"""
        insert into {schema}.int_membership_histories_reached (workspace_id, project_id, user_id)
        select workspace_id, project_id, user_id
        from {schema}.int_memberships_spanned order by all limit 1
        """
    )
    assert is_found_after(
        f"""
        delete from {schema}.int_membership_histories_reached;
        update production_state.build set checked_batch = built_batch - 1
        """
    )
