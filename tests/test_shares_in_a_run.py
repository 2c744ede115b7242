"""Shares as steps of a run: which wait, what the screen says, what the exit code is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from shares import CONTRACT, HASH_KEY, World, event, some_days

from dagster_project import reporting, shares
from dagster_project.defs.shares import sentence, shared
from dagster_project.reporting import Shared
from dagster_project.warehouse import ConfigurationError, Warehouse
from sharing import Outcome
from tests.conftest import SharedRuns


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)
    made = World(tmp_path)
    # the clock of a run is the real one
    made.share["retention"] = 100_000
    made.plans = dict.fromkeys(made.plans, "enterprise")
    made.add(*some_days()).publish()
    return made


def warehouse_of(world: World) -> Warehouse:
    return Warehouse(
        world.folder / "home", world.folder / "landing", named_shares_file=world.places.file
    )


def materialize(world: World) -> dg.ExecuteInProcessResult:
    file = world.write_file()
    [share] = file.shares
    return dg.materialize(
        [shared(share, file.consumer_of(share), CONTRACT)],
        resources={"warehouse": dg.ResourceDefinition.hardcoded_resource(warehouse_of(world))},
        raise_on_error=False,
    )


def test_a_share_waits_until_it_is_in_step(world: World) -> None:
    at = warehouse_of(world)
    world.write_file()
    assert list(shares.waiting(at)) == ["acme_things"]
    assert materialize(world).success
    assert list(shares.waiting(at)) == []
    world.publish()
    assert list(shares.waiting(at)) == ["acme_things"]
    assert materialize(world).success
    assert list(shares.waiting(at)) == []
    world.consumer["status"] = "paused"
    world.write_file()
    assert list(shares.waiting(at)) == ["acme_things"]


def test_a_refused_share_is_no_failure_and_no_materialization(world: World) -> None:
    world.consumer["status"] = "paused"
    result = materialize(world)
    assert result.success
    assert result.asset_materializations_for_node("share_acme_things") == []
    assert list(shares.waiting(warehouse_of(world))) == []


def test_what_a_gate_held_back_is_a_failure_and_waits(world: World) -> None:
    world.add(event("leak", note="ghp_" + "a1" * 15)).publish()
    result = materialize(world)
    assert not result.success
    assert list(shares.waiting(warehouse_of(world))) == ["acme_things"]


def test_without_a_file_nothing_waits(tmp_path: Path) -> None:
    at = Warehouse(tmp_path, tmp_path)
    assert at.shares_file == tmp_path / "shares.yml"
    assert list(shares.waiting(at)) == []


def test_a_broken_file_is_a_configuration_error(world: World) -> None:
    world.places.file.write_text("shares: [{name: 1}]")
    with pytest.raises(ConfigurationError, match=r"shares\.yml: shares\[0\]\.name"):
        shares.read(warehouse_of(world))


def test_a_named_file_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file"):
        Warehouse.from_environment(
            {"ROLLCALL_HOME": str(tmp_path), "ROLLCALL_SHARES": str(tmp_path / "nowhere.yml")}
        )
    (tmp_path / "s.yml").write_text("")
    (tmp_path / "landing").mkdir()
    at = Warehouse.from_environment(
        {"ROLLCALL_HOME": str(tmp_path), "ROLLCALL_SHARES": str(tmp_path / "s.yml")}
    )
    assert Warehouse.from_environment(at.variables()) == at


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome("a", "committed", row_count=1200, version=3), "1,200 rows, version 3"),
        (Outcome("a", "unchanged", version=3), "nothing new since version 3"),
        (Outcome("a", "refused", "paused", "Why."), "refused, paused: Why."),
    ],
)
def test_an_outcome_is_told_in_words(outcome: Outcome, said: str) -> None:
    assert sentence(outcome) == said


def test_the_screen_tells_of_shares_what_needs_a_person_first() -> None:
    from test_run import OUTCOME  # noqa: PLC0415

    told = [
        Shared("old", "committed", "", 5, 2, False),
        Shared("new", "committed", "", 1200, 3, True),
        Shared("empty", "committed", "", 0, 3, True),
        Shared("held", "refused", "paused: The consumer is paused.", 0, 0, True),
        Shared("left", "committed", "", 5, 2, False, is_listed=False),
    ]
    text = reporting.summarize(replace(OUTCOME, shares=told))
    for line in (
        "  shares      held: refused, paused: The consumer is paused.",
        "new: 1,200 rows shared, version 3",
        "empty: nothing new since version 3",
        "old: nothing new since version 2",
        "left: not in shares.yml any more",
    ):
        assert line in text
    many = [replace(told[0], name=f"s{number}") for number in range(9)]
    assert "and 4 more in raw.share_receipts" in reporting.summarize(replace(OUTCOME, shares=many))
    failed = replace(OUTCOME, is_success=False, failed_steps={"share_held": "no"}, shares=told)
    assert "not all of it reached its consumers" in reporting.summarize(failed)


def test_where_shares_stand_is_read_from_their_last_receipts(world: World) -> None:
    world.carry_out("first")
    world.consumer["status"] = "paused"
    world.carry_out("second")
    with world.books() as connection:
        [paused, never] = reporting.read_shares(connection, ["second"], ["acme_things", "never"])
        [left] = reporting.read_shares(connection, ["third"], [])
    assert (paused.status, paused.is_new, paused.is_listed) == ("refused", True, True)
    assert paused.reason.startswith("paused: The consumer is paused")
    assert (never.status, never.is_new) == (None, False)
    assert (left.name, left.is_listed, left.is_new) == ("acme_things", False, False)


# through the door


def test_the_job_shares_and_comes_to_rest(shared_runs: SharedRuns) -> None:
    first, landed, idle, broken = shared_runs.done
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Sharing acme_auth" in first.stdout
    assert first.stdout.count("rows shared, version 1") == 2
    out = shared_runs.place / "out" / "acme_auth"
    manifest = json.loads((out / "_manifests" / "000001.json").read_text())
    attempts = manifest["tables"]["fct_auth_attempts"]["files"]
    at = Warehouse(shared_runs.place / "home", shared_runs.place / "landing")
    with at.connect_published("production") as connection:
        [(expected,)] = connection.execute(
            "select count(*) from production.fct_auth_attempts where workspace_id = ?",
            [shared_runs.workspace],
        ).fetchall()
    assert sum(file["row_count"] for file in attempts) == expected > 0
    # the audit events land with the next run, and after that there is nothing to do
    assert landed.returncode == 0, landed.stdout + landed.stderr
    assert "2 files, 2 rows" in landed.stdout
    assert "acme_auth: nothing new since version 1" in landed.stdout
    assert "nothing new in" in idle.stdout
    assert "Sharing" not in idle.stdout and "Building" not in idle.stdout
    # and a file that says too little stops it at once
    assert broken.returncode == 2
    assert "shares[0].environment: missing. Add it." in broken.stderr
    assert broken.stdout == ""
