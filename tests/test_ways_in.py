"""The ways in that docs/operating.md tells readers of work as written, and let nobody out."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

ROOT = Path(__file__).resolve().parent.parent
[SECTION] = re.findall(
    r"^## Let people read$(.*?)^## ", (ROOT / "docs/operating.md").read_text(), re.DOTALL | re.M
)
[CONNECT, *FRAMES] = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
[COMMAND] = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
OUTSIDE = (
    "from read_csv('/etc/passwd')",
    "attach '/tmp/elsewhere.duckdb'",
    "copy (select 1) to '/tmp/elsewhere.csv'",
    "create table production.mine (i int)",
    "set enable_external_access = true",
    "load httpfs",
)
PACKAGES = {"df": "pandas", "pl": "polars", "to_arrow_table": "pyarrow"}


@pytest.fixture
def known(demo_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What Python knows after the snippet that connects."""
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(CONNECT.replace(".rollcall", str(demo_home)), names)
    yield names
    # or who opens the file next in this process gets what is locked
    names["marts"].close()


def test_python_reads_every_mart_and_reaches_nothing_else(known: dict[str, Any]) -> None:
    marts: duckdb.DuckDBPyConnection = known["marts"]
    assert len(known["rows"]) > 100
    names = marts.execute(
        "select table_name from information_schema.tables where table_schema = 'production'"
    ).fetchall()
    # single events too, which are in files of their own
    assert ("fct_auth_attempts",) in names and len(names) > 40
    for (name,) in names:
        marts.execute(f"select count(*) from production.{name}").fetchall()
    for query in OUTSIDE:
        with pytest.raises(duckdb.Error, match=r"disabled|locked|read-only"):
            marts.execute(query)


@pytest.mark.parametrize("snippet", FRAMES)
def test_frames_hold_the_same_rows(known: dict[str, Any], snippet: str) -> None:
    [package] = [name for method, name in PACKAGES.items() if f".{method}()" in snippet]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    exec(snippet, known)
    assert len(known["frame"]) == len(known["rows"])


def test_the_command_line_reads_and_reaches_nothing_else(demo_home: Path) -> None:
    program = shutil.which("duckdb")
    if program is None:
        pytest.skip("DuckDB's command line is not installed")
    command = COMMAND.strip().replace(".rollcall", str(demo_home))
    for query in ("select count(*) from production.fct_auth_attempts", *OUTSIDE):
        done = subprocess.run(
            ["sh", "-c", f'{command} -c "{query}"'],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert bool(re.search("disabled|locked|read-only", said)) == (query in OUTSIDE), said
