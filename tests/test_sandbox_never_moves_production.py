"""No sandbox row, and no test row, moves a production figure.

The marts of one landing against those of the same landing with rows taken out, added, shuffled.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

import simulator
from landing import land
from tests.histories import Recording, Replay

NOW = datetime(2026, 10, 2, tzinfo=UTC)

Lines = dict[Path, list[str]]
Rows = dict[str, list[tuple[Any, ...]]]

# What ties a row to others by an id: a session or message is a test when any of its events is, so
# that test rows added to real ones must be rows of their own.
SHARED_IDS = ("session_id", "journey_id", "message_id", "delivery_id", "notification_id")


def parsed(line: str) -> dict[str, Any]:
    """The record of a line; empty when it is broken."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def is_sandbox(record: dict[str, Any]) -> bool:
    return record.get("environment") == "sandbox"


def is_production_test(record: dict[str, Any]) -> bool:
    return record.get("environment") == "production" and record.get("is_test") is True


def without(lines: Lines, unwanted: Callable[[dict[str, Any]], bool]) -> Lines:
    return {
        path: [line for line in own if not unwanted(parsed(line))] for path, own in lines.items()
    }


def with_more_sandbox(lines: Lines) -> Lines:
    """Every event once more in sandbox, shuffled: the same users, sessions, ids and times."""
    chance = random.Random(3)
    more = {}
    for path, own in lines.items():
        copies = [
            json.dumps(parsed(line) | {"environment": "sandbox"})
            for line in own
            if parsed(line).get("environment") == "production"
        ]
        more[path] = [*own, *copies]
        chance.shuffle(more[path])
    return more


def with_more_tests(lines: Lines) -> Lines:
    """Every production event once more as test traffic, of the same users at the same times."""

    def copy(record: dict[str, Any]) -> str:
        data = {k: f"{v}_test" if k in SHARED_IDS else v for k, v in record["data"].items()}
        tied = {k: f"{record[k]}_test" for k in SHARED_IDS if record.get(k)}
        other = {"id": f"{record['id']}_test", "is_test": True, "data": data}
        return json.dumps(record | other | tied)

    return {
        path: [
            *own,
            *(
                copy(parsed(line))
                for line in own
                if parsed(line).get("environment") == "production"
                and {"id", "data"} <= parsed(line).keys()
            ),
        ]
        for path, own in lines.items()
    }


VARIANTS: dict[str, Callable[[Lines], Lines]] = {
    "as it is": lambda lines: lines,
    "no sandbox row": lambda lines: without(lines, is_sandbox),
    "more sandbox rows, shuffled": with_more_sandbox,
    "no test row": lambda lines: without(lines, is_production_test),
    "more test rows": with_more_tests,
}


@pytest.fixture(scope="module")
def extracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extracts") / "landing"
    simulator.generate(
        folder, events=5_000, days=12, until=date(2026, 9, 30), seed=5, file_format="jsonl"
    )
    return folder


@pytest.fixture(scope="module")
def production(
    extracts: Path, recordings: dict[str, Recording], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Rows]:
    """Name of a variant → rows of every production mart, in order.

    Both environments are built in one warehouse, by the statements of dbt.
    """
    entities, events = {}, {}
    for path in sorted(extracts.rglob("*.jsonl*")):
        name = path.relative_to(extracts)
        if name.parts[0].startswith("_") or path.suffix in {".tmp", ".part"}:
            continue
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = text.decode("utf-8", "surrogateescape").splitlines()
        kind = events if name.parts[0].endswith(("_events", "_deliveries")) else entities
        kind[name.with_name(name.name.removesuffix(".gz"))] = lines
    known: dict[str, Rows] = {}

    def build(variant: str) -> Rows:
        if variant not in known:
            folder = tmp_path_factory.mktemp("variant")
            varied = VARIANTS[variant](events)
            assert variant == "as it is" or varied != events
            for name, lines in {**entities, **varied}.items():
                path = folder / "landing" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                text = "\n".join(lines)
                path.write_bytes(text.encode("utf-8", "surrogateescape"))
            known[variant] = read(Replay(recordings, folder / "landing"))
        return known[variant]

    return build


def read(warehouse: Replay) -> Rows:
    """Names of columns and rows of every production mart, once all is built."""
    land(warehouse.connection, warehouse.folder, run_id="run_1", clock=NOW)
    warehouse.finish()
    found: Rows = {}
    for mart in warehouse.recordings["production"].marts:
        rows = warehouse.connection.execute(
            f"from {warehouse.address('production', mart)} order by all"
        )
        names = tuple(column[0] for column in rows.description)
        found[mart.name] = [names, *rows.fetchall()]
    warehouse.close()
    return found


def leave_tests_out(rows: Rows) -> Rows:
    """Event-grain marts, which keep test rows with their flag, without them."""
    left = {}
    for mart, (names, *own) in rows.items():
        at = names.index("is_test") if "is_test" in names else None
        left[mart] = [names, *(row for row in own if at is None or not row[at])]
    return left


@pytest.mark.parametrize("variant", ["no sandbox row", "more sandbox rows, shuffled"])
def test_no_sandbox_row_moves_a_production_figure(
    production: Callable[[str], Rows], variant: str
) -> None:
    expected, found = production("as it is"), production(variant)
    assert sum(map(len, expected.values())) > 1_000
    assert found.keys() == expected.keys()
    for mart, rows in expected.items():
        assert found[mart] == rows, mart


@pytest.mark.parametrize("variant", ["no test row", "more test rows"])
def test_no_test_row_moves_a_production_figure(
    production: Callable[[str], Rows], variant: str
) -> None:
    expected, found = production("as it is"), production(variant)
    is_kept = {mart: rows != leave_tests_out(found)[mart] for mart, rows in found.items()}
    assert is_kept["fct_auth_attempts"] == (variant == "more test rows")
    expected, found = leave_tests_out(expected), leave_tests_out(found)
    # what came of landing itself may differ
    for mart in expected.keys() - {"fct_data_quality_daily"}:
        assert found[mart] == expected[mart], mart
