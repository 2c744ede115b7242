"""The run report: rows read, deleted, inserted by each model, measured by DuckDB.

A small dbt project of its own works with the hooks, the comment and the settings of the real one,
over tables whose rows can be counted by hand.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import duckdb
import pytest
import yaml

from dagster_project import model_costs

ROOT = Path(__file__).resolve().parent.parent
DBT = ROOT / "dbt_project"

DAYS, ROWS_A_DAY = 100, 10_000
ROWS = DAYS * ROWS_A_DAY
# 1,000,000 rows fill eight row groups of 122,880; the rest, with all of the last day, is a ninth
ROWS_OF_LAST_GROUP = ROWS % 122_880
SIDES = range(1, 13)

MODELS = {
    # what a mart does: replace the days of a list, delete by the list and not by the result
    "counted_by_day": """
        {{ config(materialized='incremental', incremental_strategy='delete+insert',
                  unique_key='day') }}
        select day, count(*) as row_count from main.events
        {% if is_incremental() %} where day in (select day from main.days_changed) {% endif %}
        group by day
    """,
    "looked_at": "{{ config(materialized='view') }} select * from main.events",
    "read_through_a_view": "select sum(number) as n from {{ ref('looked_at') }}",
    "read_once_used_twice": """
        with days as materialized (select day, sum(number) as total from main.events group by day)
        select one.day, two.total from days as one inner join days as two using (day)
    """,
    "read_twice": """
        select one.number from main.events as one inner join main.events as two using (number)
        where one.number % 10 = 0
    """,
    "broken_later": """
        select cast(case when is_broken then 'none' else '1' end as integer) as n from main.switch
    """,
}
# many models at once on two threads: each must get its own rows and no other's
SIDE = """
    {{{{ config(materialized='incremental', incremental_strategy='delete+insert',
                unique_key='number') }}}}
    select number, 1 as one from main.side_{n}
"""
MODELS |= {f"of_side_{n}": SIDE.format(n=n) for n in SIDES}

TWO_BUILDS_IN_ONE_PROCESS = """
import sys, duckdb
from dbt.cli.main import dbtRunner
arguments, warehouse = sys.argv[2:], sys.argv[1]
for _ in range(2):
    dbtRunner().invoke(arguments)
    with duckdb.connect(warehouse) as connection:
        connection.execute("update orchestration.model_costs set ended_at = ended_at - to_hours(1)")
        connection.execute("update switch set is_broken = true")
"""


class Row(NamedTuple):
    read: int
    deleted: int | None
    inserted: int | None
    count: int | None


def write_project(folder: Path) -> None:
    """A dbt project with the measuring parts of the real one."""
    real = yaml.safe_load((DBT / "dbt_project.yml").read_text())
    kept = ("name", "version", "config-version", "query-comment")
    hooks = {
        key: [hook for hook in real[key] if "model_costs" in hook]
        for key in ("on-run-start", "on-run-end")
    }
    project = {key: real[key] for key in kept} | {
        **hooks,
        "profile": "duckdb",
        "vars": real["vars"],
        "macro-paths": ["macros"],
        "models": {"+materialized": "table"},
        "flags": {"send_anonymous_usage_stats": False},
    }
    settings = yaml.safe_load((DBT / "profiles.yml").read_text())
    settings = settings["duckdb"]["outputs"]["production"]["settings"]
    target = {
        "type": "duckdb",
        "path": str(folder / "warehouse.duckdb"),
        "schema": "production",
        "threads": 2,
        "settings": {**settings, "temp_directory": str(folder)},
    }
    profiles = {"duckdb": {"target": "production", "outputs": {"production": target}}}
    (folder / "dbt_project.yml").write_text(yaml.safe_dump(project))
    (folder / "profiles.yml").write_text(yaml.safe_dump(profiles))
    for name in ("models", "macros"):
        (folder / name).mkdir()
    macro = "model_costs.sql"
    (folder / "macros" / macro).write_text((DBT / "macros" / "engine" / macro).read_text())
    for name, sql in MODELS.items():
        (folder / "models" / f"{name}.sql").write_text(sql)
    tests = [{"unique": {"arguments": {"column_name": "day"}}}]
    document = {"models": [{"name": "counted_by_day", "data_tests": tests}]}
    (folder / "models" / "_models.yml").write_text(yaml.safe_dump(document))


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[dict[tuple[str, str], Row]]:
    """The report of two builds in turn by one process: by (model, part)."""
    folder = tmp_path_factory.mktemp("costs")
    write_project(folder)
    warehouse = folder / "warehouse.duckdb"
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(
            f"create table events as select i as number, i // {ROWS_A_DAY} as day"
            f" from range({ROWS}) as t(i)"
        )
        connection.execute(f"create table days_changed as select {DAYS - 1} as day")
        connection.execute("create table switch as select false as is_broken")
        for n in SIDES:
            connection.execute(
                f"create table side_{n} as select i as number from range({n * 10_000}) as t(i)"
            )
    command = [sys.executable, "-c", TWO_BUILDS_IN_ONE_PROCESS, str(warehouse), "build"]
    places = ["--project-dir", str(folder), "--profiles-dir", str(folder)]
    done = subprocess.run(
        [*command, *places], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        rows = connection.execute(
            "select dense_rank() over (order by ended_at), model, part,"
            " rows_read, rows_deleted, rows_inserted, row_count"
            " from orchestration.model_costs"
        ).fetchall()
    assert {row[0] for row in rows} == {1, 2}, done.stdout
    return [{row[1:3]: Row(*row[3:]) for row in rows if row[0] == number} for number in (1, 2)]


def test_a_first_build_reads_everything_and_deletes_nothing(
    builds: list[dict[tuple[str, str], Row]],
) -> None:
    assert builds[0]["counted_by_day", "model"] == Row(ROWS, 0, DAYS, DAYS)


def test_an_incremental_build_reads_what_changed(
    builds: list[dict[tuple[str, str], Row]],
) -> None:
    cost = builds[1]["counted_by_day", "model"]
    assert (cost.deleted, cost.inserted, cost.count) == (1, 1, DAYS)
    # its row group, the list; for the deletion the table and the new rows
    assert cost.read == ROWS_OF_LAST_GROUP + 1 + DAYS + 1


@pytest.mark.parametrize(
    ("model", "read"),
    [
        ("read_through_a_view", ROWS),
        ("read_once_used_twice", ROWS),
        ("read_twice", 2 * ROWS),
    ],
)
def test_each_model_gets_the_rows_its_scans_read(
    builds: list[dict[tuple[str, str], Row]], model: str, read: int
) -> None:
    assert [build[model, "model"].read for build in builds] == [read, read]


def test_models_built_at_once_are_told_apart(builds: list[dict[tuple[str, str], Row]]) -> None:
    first = {n: builds[0][f"of_side_{n}", "model"].read for n in SIDES}
    assert first == {n: n * 10_000 for n in SIDES}
    # and the deletion reads the rows of the table and the new ones
    second = {n: builds[1][f"of_side_{n}", "model"].read for n in SIDES}
    assert second == {n: 3 * n * 10_000 for n in SIDES}


def test_a_table_computed_anew_is_replaced_whole(
    builds: list[dict[tuple[str, str], Row]],
) -> None:
    assert builds[0]["read_twice", "model"][1:] == (0, ROWS // 10, ROWS // 10)
    assert builds[1]["read_twice", "model"][1:] == (ROWS // 10, ROWS // 10, ROWS // 10)


def test_what_failed_has_written_nothing(builds: list[dict[tuple[str, str], Row]]) -> None:
    assert builds[0]["broken_later", "model"][1:] == (0, 1, 1)
    # the table stands as it was
    assert builds[1]["broken_later", "model"][1:] == (None, None, 1)


def test_tests_are_told_apart_from_their_model(builds: list[dict[tuple[str, str], Row]]) -> None:
    assert builds[0]["counted_by_day", "test"] == Row(DAYS, None, None, None)


def test_views_cost_nothing_and_are_left_out(builds: list[dict[tuple[str, str], Row]]) -> None:
    assert ("looked_at", "model") not in builds[0]


def test_every_table_of_a_run_has_its_costs_in_dagster(
    demo_home: Path, demo_environment: None
) -> None:
    with duckdb.connect(str(demo_home / "warehouse.duckdb"), read_only=True) as connection:
        tables = connection.execute(
            "select table_schema, table_name from information_schema.tables"
            " where table_type = 'BASE TABLE' and table_schema similar to '(production|sandbox).*'"
        ).fetchall()
        builds = connection.execute("select environment, build_id from orchestration.builds")
        costs = [
            cost for build in builds.fetchall() for cost in model_costs.read(connection, *build)
        ]
    addresses = {(cost.schema_name, cost.model) for cost in costs}
    assert addresses >= {table for table in tables if not table[0].endswith("_state")}
    assert ("production", "fct_active_users_daily") in addresses
    assert all(cost.rows_inserted == cost.row_count for cost in costs)
    with dg.DagsterInstance.from_config(str(demo_home / "dagster")) as instance:
        for cost in costs:
            key = dg.AssetKey([cost.schema_name, cost.model])
            record = instance.fetch_observations(key, limit=1).records[0]
            assert record.asset_observation is not None
            metadata = record.asset_observation.metadata
            assert metadata["rows read"].value == cost.rows_read


def test_a_build_without_a_report_costs_nothing_known() -> None:
    with duckdb.connect() as connection:
        assert model_costs.read(connection, "production", "none") == []
