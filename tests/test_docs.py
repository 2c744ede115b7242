"""`make docs` writes a page that an analyst can read, from the code alone, without a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dagster_project import docs
from tests.conftest import ROOT, job_environment

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    target = folder / "a page.html"
    # a proxy that nobody listens at: whoever fetches something fails
    offline = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "dagster_project.docs"],
        cwd=ROOT,
        env=job_environment(folder / "home", OUT=str(target), **offline),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(target)), done.stderr
    assert not (folder / "home").exists()  # no warehouse is made or opened
    return target


@pytest.fixture(scope="module")
def shown(page: Path) -> dict[str, Any]:
    """What the page shows, as it stands in it."""
    found = {}
    for name, key in (("manifest", "metadata"), ("catalog", "metadata")):
        at = re.search(rf'"?{name}"?\s*[:,=]\s*(?=\{{"{key}")', page.read_text())
        assert at, name
        found[name] = json.JSONDecoder().raw_decode(page.read_text(), at.end())[0]
    return found


def test_every_mart_is_described_with_its_columns_and_types(shown: dict[str, Any]) -> None:
    nodes = shown["manifest"]["nodes"].values()
    marts = [node for node in nodes if "marts" in node["fqn"] and node["resource_type"] == "model"]
    assert {"dim_users", "fct_events", "fct_mau_daily"} <= {mart["name"] for mart in marts}
    for mart in marts:
        assert mart["description"].startswith("One row a") and mart["docs"]["show"]
        columns = shown["catalog"]["nodes"][mart["unique_id"]]["columns"]
        assert list(columns) == list(mart["columns"])
        assert all(column["type"] for column in columns.values())
    overview = shown["manifest"]["docs"]["doc.rollcall.__overview__"]["block_contents"]
    for group in shown["manifest"]["groups"].values():
        assert f"| {group['name']} |" in overview


def test_nothing_is_fetched_and_nobody_is_told(page: Path, shown: dict[str, Any]) -> None:
    assert shown["manifest"]["metadata"]["send_anonymous_usage_stats"] is False
    without_data = re.sub(r"<script.*?</script>", "", page.read_text(), flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', without_data)
    assert str(ROOT) not in page.read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look with")
@pytest.mark.parametrize(
    ("address", "texts"),
    [
        ("overview", ["Rollcall: the marts", "How to read a table"]),
        ("model/model.rollcall.fct_events", ["What the Activity", "impersonator_id", "timestamp"]),
    ],
)
def test_a_browser_shows_it(page: Path, tmp_path: Path, address: str, texts: list[str]) -> None:
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    url = f"{page.as_uri()}#!/{address}"
    done = subprocess.run(
        [*command, "--virtual-time-budget=10000", f"--user-data-dir={tmp_path}", url],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    visible = re.sub(r"<script.*?</script>|<[^>]*>", " ", done.stdout, flags=re.DOTALL)
    for text in texts:
        assert text.lower() in re.sub(r"\s+", " ", visible).lower()


def test_a_page_of_another_dbt_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<html></html>")
    manifest = {"macros": {}, "nodes": {}}
    for name in ("manifest", "catalog"):
        (tmp_path / f"{name}.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="no place for its manifest"):
        docs.page(tmp_path)
