"""Every figure of every aggregate equals what its rows in schema `explained` come to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from dagster_project import explanations

MARTS = Path(__file__).parent.parent / "dbt_project" / "models" / "marts"
ENVIRONMENTS = ("production", "sandbox")
AGGREGATE = re.compile(r"fct_.*_(hourly|daily|weekly|monthly)|fct_loyalty_balances|fct_.*_signals")


def described() -> dict[str, dict[str, Any]]:
    """Every mart as its yml file describes it."""
    files = [yaml.safe_load(path.read_text()) for path in sorted(MARTS.glob("*/_*.yml"))]
    return {model["name"]: model for file in files for model in file.get("models", [])}


DESCRIBED = described()
AGGREGATES = sorted(name for name in DESCRIBED if AGGREGATE.fullmatch(name))


def key_of(mart: str) -> list[str]:
    tests = [test for test in DESCRIBED[mart]["data_tests"] if "key_is_unique" in test]
    return list(tests[0]["key_is_unique"]["arguments"]["columns"])


def explanation_of(mart: str) -> explanations.Explanation:
    said = DESCRIBED[mart].get("config", {}).get("meta", {}).get("explained")
    assert said, f"{mart} does not say how its figures are explained"
    return explanations.parse(mart, key_of(mart), said)


@pytest.mark.parametrize("mart", AGGREGATES)
def test_every_measure_says_how_it_is_explained(mart: str) -> None:
    columns = {column["name"] for column in DESCRIBED[mart]["columns"]}
    measures = columns - {*key_of(mart), "environment"}
    assert {measure.name for measure in explanation_of(mart).measures} == measures


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def published(
    request: pytest.FixtureRequest, demo_home: Path
) -> Iterator[tuple[str, duckdb.DuckDBPyConnection]]:
    """The newest version of the demo, an environment each."""
    path = demo_home / "published" / request.param / "latest.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        yield request.param, connection


def figures(explanation: explanations.Explanation, measure: explanations.Measure) -> str:
    """A SELECT of the cells whose rows come to something else: (key…, figure, explained)."""
    mart, key = explanation.mart, explanation.key
    keys = ", ".join(f'"{name}"' for name in key)
    same = " and ".join(f'cells."{name}" is not distinct from listed."{name}"' for name in key)
    if measure.kind == "ratio":
        above, below = measure.of
        return (
            f'select {keys}, "{measure.name}", cast("{above}" as double) / nullif("{below}", 0)'
            f' as explained from cells where abs("{measure.name}" - explained) > 1e-9'
            f' or ("{measure.name}" is null) <> (explained is null)'
        )
    # a cell without rows counts 0, and has no statistic but what is a count over days: 0 as well
    none = "if(figure = 0, 0, null)" if measure.kind == "statistic" else "0"
    return f"""
        with listed as (
            select {keys}, cast({measure.rule} as double) as explained
            from explained."{mart}" where measure = '{measure.name}' group by {keys}
        )
        select cells.*, listed.explained
        from (select {keys}, cast("{measure.name}" as double) as figure from cells) as cells
        full join listed on {same}
        where abs(coalesce(figure, {none}) - coalesce(explained, {none})) > 1e-6
            or (coalesce(figure, {none}) is null) <> (coalesce(explained, {none}) is null)
    """


@pytest.mark.parametrize("mart", AGGREGATES)
def test_rows_come_to_the_figure(
    published: tuple[str, duckdb.DuckDBPyConnection], mart: str
) -> None:
    environment, connection = published
    if environment == "sandbox" and mart.startswith("fct_mau_"):
        pytest.skip("billing is a matter of production")
    explanation = explanation_of(mart)
    wrong = {}
    for measure in explanation.measures:
        if measure.kind == "statement":
            continue
        query = figures(explanation, measure).replace("from cells", f'from {environment}."{mart}"')
        if found := connection.execute(f"{query} limit 3").fetchall():
            wrong[measure.name] = found
    assert wrong == {}


def test_ids_lead_to_events(published: tuple[str, duckdb.DuckDBPyConnection]) -> None:
    environment, connection = published
    (lost,) = connection.execute(
        f"""
        select count(*) from explained.fct_active_users_daily as explained
        left join {environment}.fct_events as events
            using (workspace_id, source_table, event_id)
        where events.event_id is null or events.user_id <> explained.user_id
        """
    ).fetchone() or (None,)
    assert lost == 0


def test_made_up_words_are_refused() -> None:
    with pytest.raises(ValueError, match=r"fct_x\.count: meta explained knows no wher"):
        explanations.parse("fct_x", ["day"], {"measures": {"count": {"wher": "true"}}})
    with pytest.raises(ValueError, match="fct_x: meta explained knows no measure"):
        explanations.parse("fct_x", ["day"], {"measure": {}})
    with pytest.raises(ValueError, match="ratio of all, which the mart does not explain"):
        explanations.parse("fct_x", ["day"], {"measures": {"rate": {"ratio": ["all", "all"]}}})
    with pytest.raises(ValueError, match="which rows are behind it"):
        explanations.parse("fct_x", ["day"], {"measures": {"count": {}}})
