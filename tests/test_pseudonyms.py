"""The key of pseudonyms can be changed: nothing of the former one stays, whoever dies meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project import pseudonyms, rewriting
from dagster_project.warehouse import Warehouse
from landing.schema import KEY_BYTES, put_pseudonym_key
from tests.soak import work

FORMER = bytes(range(100, 100 + KEY_BYTES))
PADS = [bytes(byte ^ pad for byte in FORMER) for pad in (0x36, 0x5C)]


def prepared(folder: Path) -> Warehouse:
    at = work.prepare(folder)
    with at.connect() as connection:
        # prepared with p1
        assert put_pseudonym_key(connection, FORMER) == "p2"
    work.carry_out(at)
    return at


def holding_the_former(at: Warehouse) -> list[str]:
    return [
        path.name
        for path in at.home.rglob("*")
        if path.is_file() and any(pad in path.read_bytes() for pad in PADS)
    ]


def key_id(at: Warehouse) -> str:
    with at.connect_to_read() as connection:
        [(found,)] = connection.execute("select key_id from raw.pseudonym_keys").fetchall()
    return str(found)


def test_a_changed_key_leaves_nothing_of_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at = prepared(tmp_path)
    before = at.published_version("production")
    assert holding_the_former(at) == ["warehouse.duckdb"]
    monkeypatch.setenv("ROLLCALL_HOME", str(at.home))
    monkeypatch.delenv("ROLLCALL_LANDING", raising=False)
    assert pseudonyms.main(["change-key"]) == 0
    assert "key p3" in capsys.readouterr().out
    assert key_id(at) == "p3"
    assert holding_the_former(at) == []
    # readers keep what they had until the next run publishes, and then it is gone
    assert at.published_version("production") == before
    work.carry_out(at)
    assert work.faults(at) == []
    assert at.published_version("production") != before
    assert before is not None and not before.exists()


def test_a_change_that_was_killed_before_the_new_file_is_ended_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = prepared(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(rewriting, "rewrite", lambda at: None)
        assert pseudonyms.change_key(at, work.CLOCK) == "p3"
    assert holding_the_former(at) != []
    work.carry_out(at)
    assert holding_the_former(at) == [] and work.faults(at) == []
    assert key_id(at) == "p3"


def test_without_a_warehouse_there_is_nothing_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROLLCALL_HOME", str(tmp_path))
    assert pseudonyms.main(["change-key"]) == 2
    assert "run `make run` first" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
