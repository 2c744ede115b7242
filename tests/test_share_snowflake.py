"""Scripts for Snowflake: every column is there, rows are cut by account, all of it can be undone.

Nothing of it is run, for want of a Snowflake; sqlfluff parses it in Snowflake's dialect.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shares import CONTRACT, DAY, HASH_KEY, ROOT, SHARE, World, some_days
from sqlfluff.core import FluffConfig, Linter

from dagster_project import snowflake as command
from sharing import snowflake
from sharing.compiler import Compiled, compile_share
from sharing.contract import Table
from sharing.definitions import Consumer, Share
from sharing.plans import Workspace, read_plans

S3 = {"kind": "s3", "url": "s3://acme-bucket/from/rollcall", "secret": "env:ACME_S3"}
LINTER = Linter(config=FluffConfig(overrides={"dialect": "snowflake"}))
VARIABLES = {"role_arn": "arn:x", "consumer_account": "org.acc", "consumer_locator": "AB1"}


def made(form: str = "parquet", contract: dict[str, Table] | None = None, **change: Any) -> Any:
    share = Share.model_validate({**SHARE, "format": form, "destination": S3, **change})
    consumer = Consumer(workspace_ids=["ws_a", "ws_b"], contact="c")
    found = compile_share(
        share,
        consumer,
        contract=contract or CONTRACT,
        plans=read_plans(ROOT / "seeds" / "plans.csv"),
        workspaces={name: Workspace(name, "enterprise") for name in ("ws_a", "ws_b")},
        today=DAY,
    )
    assert isinstance(found, Compiled), found
    return share, found, snowflake.scripts(share, found)


STREAM: dict[str, Any] = {
    "capability": "stream",
    "tables": [{"model": "fct_events", "profile": "stream"}],
}
FORMATS = {"parquet": {}, "delta": {}, "ndjson": STREAM}


def statements(script: str) -> list[str]:
    """Statements without comments, variables filled in."""
    text = re.sub(r"&\{(\w+)\}", lambda match: VARIABLES[match[1]], script)
    text = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    assert "&{" not in text
    return [one.strip().rstrip(";") for one in text.split(";\n") if one.strip()]


@pytest.mark.parametrize("form", FORMATS)
def test_every_script_is_sql_of_snowflake(form: str) -> None:
    _, _, files = made(form, **FORMATS[form])
    assert sorted(files) == ["consumer.sql", "dictionary.md", "provider.sql", "revoke.sql"]
    for name, script in files.items():
        if name.endswith(".sql"):
            assert "Generated, not run" in script.splitlines()[1]
            # the one statement that its grammar lacks
            known = [text for text in statements(script) if not text.startswith("ALTER SHARE")]
            assert len(statements(script)) - len(known) <= 1
            parsed = LINTER.parse_string(";\n".join(known) + ";\n")
            assert parsed.tree is not None
            assert [str(fault) for fault in parsed.violations] == [], name
            assert not list(parsed.tree.recursive_crawl("unparsable")), name


@pytest.mark.parametrize("form", FORMATS)
def test_every_column_is_everywhere(form: str) -> None:
    _, compiled, files = made(form, **FORMATS[form])
    for one in compiled.slices:
        [table] = [
            text
            for text in statements(files["provider.sql"])
            if text.startswith("CREATE TABLE") and f'"{one.model.upper()}"' in text
        ]
        [view] = [
            text
            for text in statements(files["provider.sql"])
            if "SECURE VIEW" in text and f'"{one.model.upper()}"' in text
        ]
        for column in one.columns:
            assert f'"{column.name.upper()}" {snowflake.NATIVE[snowflake.TYPES[column.type]]}' in (
                table
            )
            assert f'MART."{column.name.upper()}"' in view
            assert f"| `{column.name}` |" in files["dictionary.md"]
            if form != "delta":
                assert f"$1:{column.name}::" in files["consumer.sql"]
        # and no other one
        assert view.count("MART.") == len(one.columns) + 1 + bool(one.day)


def test_rows_are_those_of_the_account_that_asks() -> None:
    _, compiled, files = made()
    provider = statements(files["provider.sql"])
    views = [text for text in provider if " VIEW " in text and text.startswith("CREATE")]
    assert len(views) == len(compiled.slices)
    for view, one in zip(views, compiled.slices, strict=True):
        assert view.startswith("CREATE OR REPLACE SECURE VIEW")
        assert "WHERE ALLOWED.ACCOUNT = CURRENT_ACCOUNT()" in view
        assert ("ALLOWED.OLDEST_DATE" in view) == bool(one.day)
    given_ = [text for text in provider if text.startswith("INSERT INTO")]
    assert [re.search(r"VALUES \('(\w+)'", text)[1] for text in given_] == ["ws_a", "ws_b"]  # type: ignore[index]
    # tables of all consumers are never granted
    grants = [text for text in provider if text.startswith("GRANT")]
    assert len(grants) == 2 + len(compiled.slices)
    assert not [text for text in grants if "PRIVATE_TABLES" in text]


def test_revoking_takes_back_every_grant_and_drops_what_was_made() -> None:
    _, _, files = made()
    undone = statements(files["revoke.sql"])
    for text in statements(files["provider.sql"]):
        if text.startswith("GRANT"):
            assert text.replace("GRANT", "REVOKE").replace(" TO SHARE", " FROM SHARE") in undone
        elif match := re.match(
            r"CREATE (SHARE|SCHEMA|DATABASE) IF NOT EXISTS (\S+?);?(?:\s|$)", text
        ):
            exists = "" if match[1] == "SHARE" else " IF EXISTS"
            assert f"DROP {match[1]}{exists} {match[2]}" in undone
    # access ends before anything else
    assert undone[0] == 'ALTER SHARE "ROLLCALL_ACME_THINGS_SHARE" REMOVE ACCOUNTS = org.acc'


def test_the_consumer_reads_the_files_of_the_newest_manifest_alone() -> None:
    _, compiled, files = made()
    loads = [text for text in statements(files["consumer.sql"]) if "INSERT OVERWRITE" in text]
    assert len(loads) == len(compiled.slices)
    assert all("SELECT 'from/rollcall/' || PATH FROM LIVE_FILES" in text for text in loads)


def test_people_are_told_of_in_the_dictionary() -> None:
    _, _, files = made(tables=[{"model": "fct_things", "profile": "full"}])
    assert "| `user_id` | VARCHAR | keyed_hash | The user_id. |" in files["dictionary.md"]
    _, _, files = made(tables=[{"model": "fct_things", "profile": "full"}], pii={})
    assert "Left out: `user_id`." in files["dictionary.md"]


@settings(max_examples=25, deadline=None)
@given(description=st.text(alphabet="ab'\\;&{}\n-\"|é ", max_size=40))
def test_no_description_ends_its_text(description: str) -> None:
    table = CONTRACT["dim_projects"]
    first = replace(table.columns[0], description=description)
    contract = {**CONTRACT, "dim_projects": replace(table, columns=(first, *table.columns[1:]))}
    _, _, files = made(
        contract=contract, tables=[{"model": "dim_projects", "profile": "full"}], pii={}
    )
    for script in (files["provider.sql"], files["consumer.sql"]):
        text = re.sub(r"(?m)^--.*$", "", script)
        assert "'" not in re.sub(r"'(?:[^'\\]|''|\\.)*'", "", text)
        assert not re.search(r"&(?!\{(role_arn|consumer_\w+)\})", text.replace("&&", ""))


def test_what_is_no_table_has_no_script() -> None:
    with pytest.raises(snowflake.NoScriptError, match="format ocsf"):
        made("ocsf", **STREAM)


def test_a_folder_is_out_of_reach() -> None:
    _, _, files = made(destination={"kind": "folder", "url": "file:///srv/x"})
    assert "consumer.sql" not in files and "provider.sql" in files


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)
    world = World(tmp_path)
    world.add(*some_days()).publish()
    world.share["destination"] = dict(S3)
    world.write_file()
    monkeypatch.setenv("ROLLCALL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ROLLCALL_SHARES", str(world.places.file))
    monkeypatch.setattr(command.dbt_runner, "prepare_manifests", lambda at: None)
    monkeypatch.setattr(command.dbt_runner, "read_manifest", lambda at, name: {})
    monkeypatch.setattr(command, "read_contract", lambda manifest, name: CONTRACT)
    assert command.main(["acme_things"]) == 0
    assert "CREATE OR REPLACE SECURE VIEW" in capsys.readouterr().out
    assert command.main(["acme_things", "--out", str(tmp_path / "sql")]) == 0
    assert sorted(path.name for path in (tmp_path / "sql").iterdir()) == [
        "consumer.sql", "dictionary.md", "provider.sql", "revoke.sql",
    ]  # fmt: skip
    capsys.readouterr()
    assert command.main(["nobody"]) == 2
    assert "there are: acme_things" in capsys.readouterr().err
    world.consumer["status"] = "paused"
    world.write_file()
    assert command.main(["acme_things"]) == 1
    assert "paused" in capsys.readouterr().err
