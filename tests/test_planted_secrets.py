"""A secret of each kind, wherever one can stand, is in no byte of what a whole run leaves."""

from __future__ import annotations

import gzip
import itertools
import sqlite3
import zlib
from pathlib import Path

import duckdb
from backports import zstd

from landing.schema import KEY_BYTES
from landing.secrets import load_rules
from tests import canaries
from tests.canaries import MARK
from tests.conftest import SharedRuns
from tests.landing_cases import event, lines


def test_no_byte_of_a_planted_secret_is_left_and_the_key_is_in_the_build_file_alone(
    shared_runs: SharedRuns,
) -> None:
    first = shared_runs.done[0]
    assert first.returncode == 0, first.stdout + first.stderr
    home, out = shared_runs.place / "home", shared_runs.place / "out"
    rules = load_rules()
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        [pads] = connection.execute(
            "select inner_pad, outer_pad from raw.pseudonym_keys"
        ).fetchall()
        met = connection.execute("select distinct rule_id from raw.redactions").fetchall()
        [(refused, told)] = connection.execute(
            "select count(*), count(distinct path) from raw.landed_files"
            " where reason = 'file_secret_in_name'"
        ).fetchall()
    landed = "".join(shared_runs.killed_said)
    said = [
        ("killed run", landed.encode()),
        *((f"run {n}", (r.stdout + r.stderr).encode()) for n, r in enumerate(shared_runs.done)),
    ]
    logs = [(log.name, log.read_bytes()) for log in sorted(shared_runs.place.glob("run_*.log"))]
    places = (said, logs, canaries.contents(home), canaries.contents(out))
    sought = [*canaries.NEEDLES, *spellings([pad[:KEY_BYTES] for pad in pads])]
    found = canaries.leaks(itertools.chain(*places), sought)
    assert {leak.partition(":")[0] for leak in found} == {
        "warehouse.duckdb",
        "warehouse.duckdb, raw.pseudonym_keys",
    }, found
    assert not [leak for leak in found if MARK in leak.lower()]
    # they were there, each was met, and rows with them went all the way
    assert MARK.encode() in (home.parent / "landing/auth_events/canaries.jsonl").read_bytes()
    assert shared_runs.planted == {one.rule_id for one in rules.values} | {r for r, _ in rules.deny}
    # the secrets of one rule are taken by a broader one before it
    assert {rule for (rule,) in met} == shared_runs.planted - {"ai_key"}
    assert refused == told == len(list(canaries.paths([""] * len(rules.values))))
    assert "The path holds a secret. Rename the file or folder" in landed
    assert canaries.leaks(canaries.contents(out), [b"[redacted:"])


def spellings(secrets: list[bytes]) -> list[bytes]:
    """Byte strings as they are, in hex, and as Python writes them."""
    hexed = [secret.hex().encode() for secret in secrets]
    written = [repr(secret)[2:-1].encode() for secret in secrets]
    return [*secrets, *hexed, *(one.upper() for one in hexed), *written]


def test_what_looks_for_secrets_finds_them_in_every_kind_of_file(tmp_path: Path) -> None:
    content = lines([event(note=MARK)])
    for place in ("duckdb", "parquet", "gz", "zst", "sqlite", "log"):
        (tmp_path / place).mkdir()
    with duckdb.connect(str(tmp_path / "duckdb" / "a.duckdb")) as connection:
        # compressed: no string of it stands in the file as it is
        connection.execute(
            "create table t as select repeat('x', 99) || ? || i as a from range(9000) as r (i)",
            [MARK],
        )
        connection.execute("copy t to '" + str(tmp_path / "parquet" / "a.parquet") + "'")
    (tmp_path / "gz" / "a.gz").write_bytes(gzip.compress(content))
    (tmp_path / "zst" / "a.zst").write_bytes(zstd.compress(content))
    with sqlite3.connect(tmp_path / "sqlite" / "a.db") as connection:
        connection.execute("create table t (a blob)")
        connection.execute("insert into t values (?)", [zlib.compress(content)])
    (tmp_path / "log" / "a.log").write_bytes(content)
    (tmp_path / "name").mkdir()
    (tmp_path / "name" / f"{MARK.upper()}.txt").touch()
    for place in sorted(tmp_path.iterdir()):
        assert canaries.leaks(canaries.contents(place)), place.name
    (tmp_path / "name" / f"{MARK.upper()}.txt").rename(tmp_path / "name" / "b")
    assert canaries.leaks(canaries.contents(tmp_path / "name")) == []
