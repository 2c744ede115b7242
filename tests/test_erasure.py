"""Who asked to be erased is nowhere any more, does not come back, and is still counted.

Rows of `raw`: here, against a database in memory. The whole installation, byte by byte: at the end
of this file, through the job.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dagster_project import erasures
from dagster_project.warehouse import Warehouse as WarehouseAt
from landing import TABLES, lander
from landing.devices import device_class
from landing.erasing import add_key, erase, generalised, is_word, pending
from tests.conftest import run_job
from tests.landing_cases import Warehouse, audit, entity, event, pack, write

USER, ALIAS, OTHER = "usr_777", "usr_old_778", "usr_12"
SESSION, VISITOR = "ses_9f3c", "anon-4711-a"
AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) Mobile/15E148 Safari/604.1 x779y"
ADDRESS, MAIL = "198.51.100.77", "ada.l@corp.example"
TRACES = (USER, ALIAS, SESSION, VISITOR, "x779y", ADDRESS, MAIL)
"""What must be nowhere."""
REQUEST = entity("erasures", user_id=USER)


def personal(table: str, key: str, **fields: Any) -> dict[str, Any]:
    """An event with everything that tells who it was."""
    known = {"session_id": SESSION, "anonymous_id": VISITOR, "ip": ADDRESS, "user_agent": AGENT}
    return event(table, **{"id": key, "user_id": USER, "mail": MAIL, **known, **fields})


def files() -> dict[str, list[Any]]:
    """Extracts in which the user stands wherever an identifier can."""
    found: dict[str, list[Any]] = {
        f"{name}/a.jsonl": [personal(name, f"{name}_{n}") for n in range(2)]
        for name, table in TABLES.items()
        if table.family == "event"
    }
    found["auth_events/a.jsonl"] += [
        personal("auth_events", "by_alias", user_id=ALIAS),
        # the same session before anybody signed in, and somebody else on the same machine
        personal("auth_events", "nobody", user_id=None, mail=None),
        event(id="neighbour", user_id=OTHER, anonymous_id=VISITOR),
        event(id="stranger", user_id=OTHER, ip="203.0.113.9", user_agent="curl/8.5.0", extra=1),
        # inside other values: an id, free text, what has no column
        event(id=f"login.{USER}.1", user_id=OTHER),
        event(
            id="told", user_id=OTHER, data={"outcome": "failure", "failure_reason": f"no {USER}"}
        ),
        event(id="nested", user_id=OTHER, extra={"members": [{"who": USER}]}),
        event(id="escaped", user_id=OTHER, extra=f'"{USER}"'),
        event(id="acting", user_id=OTHER, impersonator_id=USER, ip=ADDRESS),
        # rejected
        event(id="bad", user_id=USER, type="nosuch"),
        f'{{"user_id": "{USER}", "ip": "{ADDRESS}"',
        "no json at all",
    ]
    found["auth_events/b.jsonl"] = [
        # received later: loses; received earlier: takes the place
        personal("auth_events", "auth_events_0", received_at="2025-01-31T10:09:00Z", trace_id="t2"),
        personal("auth_events", "auth_events_1", received_at="2025-01-31T10:00:00Z", trace_id="t3"),
    ]
    found["membership_events/b.jsonl"] = [
        event("membership_events", id="m9", user_id=OTHER, data={"actor_id": USER, "role": "admin"})
    ]
    actor = {"type": "user", "id": USER, "name": "Ada", "metadata": {"email": MAIL}}
    context = {"location": ADDRESS, "userAgent": AGENT}
    found["audit_events/a.jsonl"] = [audit(actor=actor, context=context), audit()]
    found["users/a.jsonl"] = [
        entity("users", id=USER, email=MAIL),
        entity("users", id=ALIAS, merged_into=USER),
        entity("users", id=OTHER),
    ]
    found["members/a.jsonl"] = [entity("members", user_id=USER), entity("members", user_id=OTHER)]
    found["erasures/a.jsonl"] = [REQUEST]
    return found


def landed(tmp_path: Any) -> Warehouse:
    warehouse = Warehouse(tmp_path)
    for path, records in files().items():
        warehouse.write(path, records)
    warehouse.land()
    return warehouse


def carry_out(warehouse: Warehouse) -> None:
    warehouse.connection.begin()
    erase(warehouse.connection, pending(warehouse.connection))
    warehouse.connection.commit()


def texts(warehouse: Warehouse) -> dict[str, str]:
    """Everything that stands in raw, by table."""
    names = [
        name
        for (name,) in warehouse.rows(
            "select table_name from duckdb_tables() where schema_name = 'raw'"
        )
    ]
    return {name: repr(warehouse.rows(f"select * from raw.{name}")) for name in names}


def shape(warehouse: Warehouse) -> list[Any]:
    """What figures are made of: rows, distinct identifiers, who shares one, and every number."""
    found = []
    for name, table in TABLES.items():
        if table.family != "event":
            continue
        found += warehouse.rows(
            f"""
            select '{name}', count(*), count(distinct user_id), count(user_id),
                count(distinct session_id), count(session_id), count(distinct anonymous_id),
                count(distinct (user_id, session_id, anonymous_id)), count(distinct id),
                count(distinct _key_hash), min(occurred_at), max(received_at), sum(_line)
            from raw.{name}
            """
        )
        found += warehouse.rows(
            f"select '{name}', device_class, count(*) from raw.{name}"
            " left join raw.user_agents using (user_agent) group by all order by all"
        )
    found += warehouse.rows(
        "select reason, count(*) from raw.rejected_records group by all order by 1"
    )
    found += warehouse.rows("select count(*), count(distinct id) from raw.id_conflicts")
    found += warehouse.rows("select count(*) from raw.superseded_records")
    found += warehouse.rows(
        "select lines, accepted, duplicates, conflicts, rejected from raw.landed_files order by all"
    )
    return found


def test_nothing_of_the_person_is_left_and_everything_is_still_counted(tmp_path) -> None:
    warehouse = landed(tmp_path)
    before, held = shape(warehouse), "".join(texts(warehouse).values())
    assert all(trace in held for trace in TRACES)
    carry_out(warehouse)
    assert shape(warehouse) == before
    for name, text in texts(warehouse).items():
        assert [trace for trace in TRACES if trace in text] == [], name
    assert pending(warehouse.connection) == []


def test_rows_of_others_are_left_alone(tmp_path) -> None:
    warehouse = landed(tmp_path)
    query = "select * from raw.auth_events where id = 'stranger'"
    before = warehouse.rows(query)
    carry_out(warehouse)
    assert warehouse.rows(query) == before
    assert warehouse.rows(
        "select payload <> '' from raw.rejected_records where reason = 'invalid_json'"
        " and payload = 'no json at all'"
    ) == [(True,)]


@pytest.mark.parametrize("fast_from", [0, 1 << 40])
def test_what_was_erased_does_not_come_back(tmp_path, monkeypatch, fast_from: int) -> None:
    warehouse = landed(tmp_path)
    carry_out(warehouse)
    monkeypatch.setattr(lander, "FAST_FROM_BYTES", fast_from)
    rows = {name: warehouse.content(name) for name in TABLES}
    conflicts = warehouse.conflicts()
    for path, records in files().items():
        # other bytes: a copy of the file itself would not be read
        warehouse.write(path.replace(".jsonl", f"_again.{USER}.jsonl"), [*records, ""])
    results = {result.path: result for result in warehouse.land().files}
    for name, text in texts(warehouse).items():
        assert [trace for trace in TRACES if trace in text] == [], name
    assert {name: warehouse.content(name) for name in TABLES} == rows
    assert warehouse.conflicts() == conflicts
    assert {result.accepted for result in results.values()} == {0}
    assert {result.conflicts for result in results.values()} == {0}
    assert pending(warehouse.connection) == []


def test_what_comes_late_of_the_person_counts_and_tells_nothing(tmp_path) -> None:
    warehouse = landed(tmp_path)
    carry_out(warehouse)
    [(people,)] = warehouse.rows("select count(distinct user_id) from raw.auth_events")
    result = warehouse.land_one(
        "auth_events/late.jsonl", [personal("auth_events", "late", session_id=SESSION)]
    )
    assert result.accepted == 1
    assert warehouse.rows("select count(distinct user_id) from raw.auth_events") == [(people,)]
    assert [t for t in TRACES if t in "".join(texts(warehouse).values())] == []


def test_a_new_key_is_for_new_erasures_and_old_ones_are_still_known(tmp_path) -> None:
    warehouse = landed(tmp_path)
    carry_out(warehouse)
    assert add_key(warehouse.connection).key_id == "t2"
    warehouse.land_one("erasures/b.jsonl", [REQUEST, entity("erasures", user_id=OTHER)])
    carry_out(warehouse)
    keys = warehouse.rows(
        "select key_id, count(*) > 0 from raw.erased_identifiers group by 1 order by 1"
    )
    assert keys == [("t1", True), ("t2", True)]
    warehouse.land_one(
        "auth_events/c.jsonl", [personal("auth_events", "c"), event(id="d", user_id=OTHER)]
    )
    assert [one for one in (*TRACES, OTHER) if one in "".join(texts(warehouse).values())] == []


def test_tombstones_are_hmac_sha256_under_a_key_of_the_warehouse(tmp_path) -> None:
    warehouse = landed(tmp_path)
    carry_out(warehouse)
    [(key,)] = warehouse.rows("select key from raw.tombstone_keys")
    digest = hmac.new(bytes.fromhex(key), USER.encode(), hashlib.sha256).hexdigest()
    [(known,)] = warehouse.rows(
        "select count(*) from raw.users where id = ?", f"erased_t1_{digest[:32]}"
    )
    assert known == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("usr_1", True),
        ("ada@corp.example", True),
        ("7d44a7a4-3a5b-4a6e-9d4e-0a3c5b1f2e11", True),
        ("alice", False),
        ("login", False),
        ("20250131", False),
        ("u1", False),
    ],
)
def test_only_what_is_no_other_word_is_looked_for_in_texts(value: str, expected: bool) -> None:
    assert is_word(value) is expected


def test_an_id_that_may_be_any_word_is_replaced_where_ids_stand_and_nowhere_else(tmp_path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.land_one(
        "auth_events/a.jsonl",
        [event(id="e1", user_id="github"), event(id="e2", user_id="usr_1"), event(id="e3")],
    )
    warehouse.land_one("erasures/a.jsonl", [entity("erasures", user_id="github")])
    carry_out(warehouse)
    assert warehouse.rows("select provider, count(*) from raw.auth_events group by 1") == [
        ("github", 3)
    ]
    assert warehouse.rows("select count(*) from raw.auth_events where user_id = 'github'") == [(0,)]
    assert warehouse.rows("select payload <> '{}' from raw.auth_events order by id") == [
        (False,),
        (True,),
        (True,),
    ]


def test_a_generalised_agent_keeps_its_class() -> None:
    assert device_class(generalised(AGENT)) == device_class(AGENT) == "Phone"
    assert generalised(generalised(AGENT)) == generalised(AGENT)


def test_hostile_ids_are_erased_like_any_other(tmp_path) -> None:
    hostile = [
        "o'brien\"; drop table raw.users; --",
        "../../etc/9",
        "ütf_8\u202e9",
        "=cmd|'9'!A1",
        "A_9999",
        "x" * 9_999 + "9",
        "new\nline9",
        "\U0001f600_99",
    ]
    warehouse = Warehouse(tmp_path)
    records = [event(id=f"e{n}", user_id=user) for n, user in enumerate(hostile)]
    records.append(event(id="twin", user_id="a_9999"))
    warehouse.land_one("auth_events/a.jsonl", records)
    warehouse.land_one("erasures/a.jsonl", [entity("erasures", user_id=user) for user in hostile])
    carry_out(warehouse)
    left = warehouse.rows(
        "select id, user_id from raw.auth_events where user_id not like 'erased%'"
    )
    assert left == [("twin", "a_9999")]
    assert warehouse.rows("select count(distinct user_id) from raw.auth_events") == [(9,)]
    again = warehouse.land_one("auth_events/b.jsonl", [*records, ""])
    assert (again.accepted, again.conflicts, again.duplicates) == (0, 0, 9)


# ---- files


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_extracts_that_are_ours_go_also_when_no_row_is_of_them(tmp_path, packing: str) -> None:
    at = WarehouseAt(tmp_path, tmp_path / "landing")
    padding = b"x" * (erasures.BLOCK_BYTES - len(USER) // 2) + b" "
    holding = write(
        at.landing, f"auth_events/a.jsonl{packing}", pack(padding + USER.encode(), packing)
    )
    broken = write(at.landing, "auth_events/b.jsonl.gz", b"\x1f\x8b no more of it")
    other = write(at.landing, f"auth_events/c.jsonl{packing}", pack(b"usr_776", packing))
    of_a_row = write(at.landing, "auth_events/d.jsonl", b"usr_776")
    assert erasures.remove_extracts(at, ["auth_events/d.jsonl"], [USER]) == (2, ())
    assert [path.exists() for path in (holding, broken, other, of_a_row)] == [
        False,
        True,
        True,
        False,
    ]


def test_extracts_of_somebody_else_stay_and_are_told(tmp_path) -> None:
    at = WarehouseAt(tmp_path / "home", tmp_path / "theirs")
    file = write(at.landing, "auth_events/a.jsonl", [event(user_id=USER)])
    named = ["auth_events/a.jsonl", "auth_events/gone.jsonl"]
    assert erasures.remove_extracts(at, named, [USER]) == (0, ("auth_events/a.jsonl",))
    assert file.exists()


# ---- the whole installation


def figures(home: Path) -> dict[str, Any]:
    """Of every published mart: rows, distinct values of text columns, sums of numbers."""
    found: dict[str, Any] = {}
    for environment in ("production", "sandbox"):
        file = home / "published" / environment / "latest.duckdb"
        with duckdb.connect(str(file.resolve()), read_only=True) as connection:
            columns = connection.execute(
                "select table_name, column_name, data_type from duckdb_columns()"
                " where schema_name = ? order by all",
                [environment],
            ).fetchall()
            for table, rows in itertools.groupby(columns, key=lambda row: row[0]):
                parts = ["count(*)"]
                for _, name, kind in rows:
                    is_number = kind in ("BIGINT", "DOUBLE", "INTEGER")
                    parts.append(
                        f'sum("{name}"::decimal(28, 6))'
                        if is_number
                        else f'count(distinct "{name}")'
                    )
                query = f"select {', '.join(parts)} from {environment}.{table}"
                found[f"{environment}.{table}"] = connection.execute(query).fetchall()
    return found


def holding(home: Path, words: list[str]) -> list[str]:
    """Files that hold one of the words: as bytes, or unpacked, as text of a table."""
    found = []
    for path in sorted(home.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        if path.suffix == ".parquet":
            content += repr(duckdb.sql(f"from '{path}'").fetchall()).encode()
        if path.suffix == ".duckdb":
            content += text_of_tables(path)
        found += [f"{path.relative_to(home)}: {word}" for word in words if word.encode() in content]
    return found


def text_of_tables(path: Path) -> bytes:
    """All rows of a database file that are its own."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{path}' as looked_into (read_only)")
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables()"
            " where database_name = 'looked_into'"
        ).fetchall()
        return b"".join(
            repr(connection.execute(f'from looked_into."{schema}"."{table}"').fetchall()).encode()
            for schema, table in tables
        )


def test_a_run_leaves_no_byte_of_a_person_and_no_figure_changed(
    demo_copy: Path, demo_landing: Path
) -> None:
    shutil.copytree(demo_landing, demo_copy / "landing")
    with duckdb.connect(str(demo_copy / "warehouse.duckdb"), read_only=True) as connection:
        [(user, sessions)] = connection.execute(
            """
            select user_id, list(distinct session_id) from raw.session_events
            where environment = 'production' and session_id is not null and user_id is not null
            group by user_id order by count(*) desc, user_id limit 1
            """
        ).fetchall()
    words = [user, *sessions]
    before = figures(demo_copy)
    assert len(holding(demo_copy, words)) > 10
    request = demo_copy / "landing" / "erasures" / "requests.jsonl"
    request.parent.mkdir(exist_ok=True)
    request.write_text(json.dumps(entity("erasures", user_id=user)) + "\n")

    done = run_job(demo_copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "erased 1 user" in done.stdout
    assert holding(demo_copy, words) == []
    after = figures(demo_copy)
    # the request is a file of its own; a batch of the log of quality
    assert {name for name in before if before[name] != after[name]} == set()
    with duckdb.connect(str(demo_copy / "warehouse.duckdb"), read_only=True) as connection:
        [proof] = connection.execute(
            "select identifier_count >= ?, row_count > 0, files_deleted > 0, files_left,"
            " published_at is not null from raw.erasure_proofs",
            [len(words)],
        ).fetchall()
    assert proof == (True, True, True, 0, True)
