"""The analyst's guide says what its SQL answers on the demo extracts that `make run` makes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
import yaml

from dagster_project import explanations
from landing import land
from tests.histories import Recording, Replay

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "analysts-guide.md"
# SQL, and the table under it
ANSWERED = re.compile(r"```sql\n(.*?)```\n\n((?:\|[^\n]*\n)+)", re.DOTALL)


@pytest.fixture(scope="module")
def marts(
    recordings: dict[str, Recording], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Production of the default demo as readers find it."""
    folder = tmp_path_factory.mktemp("guide")
    command = [sys.executable, "-m", "simulator", "--out", str(folder / "landing"), "--quiet"]
    subprocess.run([*command, "--no-answer-key"], cwd=ROOT, check=True)
    replay = Replay({"production": recordings["production"]}, folder / "landing")
    clock = datetime(2026, 10, 2, tzinfo=UTC)
    land(replay.connection, replay.folder, run_id="run_1", clock=clock)
    replay.finish()
    replay.connection.execute(f"attach '{folder / 'latest.duckdb'}' as latest")
    replay.connection.execute("create schema latest.production")
    for mart in recordings["production"].marts:
        address = replay.address("production", mart)
        replay.connection.execute(f"create table latest.production.{mart.name} as from {address}")
    replay.close()
    with duckdb.connect(str(folder / "latest.duckdb")) as connection:
        explanations.write(connection, "production", all_explanations())
        yield connection


def all_explanations() -> list[explanations.Explanation]:
    """Those of the yml files."""
    found = []
    for path in sorted((ROOT / "dbt_project" / "models" / "marts").glob("*/_*.yml")):
        for model in yaml.safe_load(path.read_text()).get("models", []):
            if said := model.get("config", {}).get("meta", {}).get("explained"):
                (key,) = (test for test in model["data_tests"] if "key_is_unique" in test)
                columns = key["key_is_unique"]["arguments"]["columns"]
                found.append(explanations.parse(model["name"], columns, said))
    return found


def shown(value: object) -> str:
    """A cell as the guide writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def answer(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The result as a table of Markdown."""
    result = connection.execute(sql)
    names = [column[0] for column in result.description or []]
    rows = [[shown(value) for value in row] for row in result.fetchall()]
    lines = [" | ".join(row) for row in [names, *rows]]
    lines = [f"| {line} |" for line in lines]
    return "\n".join([lines[0], "|" + "---|" * len(names), *lines[1:]]) + "\n"


def questions() -> list[tuple[str, str]]:
    return ANSWERED.findall(GUIDE.read_text())


def test_the_guide_asks_ten_questions() -> None:
    text = GUIDE.read_text()
    assert [int(number) for number in re.findall(r"^## (\d+)\. ", text, re.MULTILINE)] == [
        *range(1, 11)
    ]
    assert len(questions()) == text.count("```sql\n")


@pytest.mark.parametrize("number", range(len(questions())))
def test_the_answer_is_that_of_the_demo(marts: duckdb.DuckDBPyConnection, number: int) -> None:
    sql, told = questions()[number]
    assert answer(marts, sql) == told
