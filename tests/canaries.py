"""Secrets that can be told from everything else, put wherever a secret can stand in an extract.

Belongs here: planting them, and looking for them byte by byte. Does not belong here: what a run
makes of them (test_planted_secrets.py).

Each ends in MARK, in capitals where its format allows no others: whoever finds none of the two
strings finds no canary.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
from backports import zstd

from landing.contract import TABLES, Table
from tests.landing_cases import audit, entity, event, lines, pack
from tests.secret_corpus import positives
from tests.test_secrets import KEYS

MARK = "5ec2e7ca"
# a day of the demo extracts
MOMENT = "2026-09-29T10:00:00Z"
NEEDLES = (MARK.encode(), MARK.upper().encode())
# what a closed list, a type or the day of a row says: a redacted one would be rejected
CLOSED = frozenset(("type", "action", "environment", "outcome", "workspace_id", "project_id", "id"))


def texts() -> dict[str, list[str]]:
    """Texts by value rule, ten a rule, each with a canary for its secret."""
    found: dict[str, list[str]] = {}
    for one in positives():
        mark = MARK.upper() if one.secret.isupper() else MARK
        secret = one.secret[: -len(mark)] + mark
        found.setdefault(one.rule, []).append(one.text.replace(one.secret, secret))
    return found


def plant(landing: Path, workspace: str) -> set[str]:
    """Write extracts full of canaries below a landing folder; returns the rules they are of.

    Every value rule in every text field of every table, in keys, nested, escaped, in identifiers,
    in broken lines, in a CSV header, in names of Parquet columns and in paths; every forbidden
    key, at any depth.
    """
    by_rule = texts()
    for name in TABLES:
        # a request to erase would have the run write everything anew
        if name != "erasures":
            write(landing, f"{name}/canaries.jsonl", lines(records_of(name, workspace, by_rule)))
    for name in ("auth_events", "audit_events", "users"):
        content = lines(records_of(name, workspace, by_rule))
        write(landing, f"{name}/broken.jsonl", content.replace(b"}\n", b"\n"))
        write(landing, f"{name}/escaped.jsonl.gz", pack(escaped(content), ".gz"))
    # a small file is examined line by line, a large one by SQL
    table = TABLES["platform_events"]
    padding = lines(good(table, workspace, f"plain_{number}") for number in range(1200))
    content = padding + escaped(lines(records_of(table.name, workspace, by_rule)))
    write(landing, f"{table.name}/large.jsonl.zst", pack(content, ".zst"))
    firsts = [one[0] for one in by_rule.values()]
    write(landing, "auth_events/canaries.csv", as_csv(workspace, firsts))
    write_parquet(landing / "session_events/canaries.parquet", workspace, firsts)
    for path in paths(firsts):
        write(landing, path, lines([good(TABLES["auth_events"], workspace, "in_a_path")]))
    return {*by_rule, *KEYS}


def paths(chosen: list[str]) -> Iterator[str]:
    """Paths with canaries, as one saves under the address that it came from."""
    for text in chosen:
        name = text.replace("/", "%2F")
        yield from (f"auth_events/{name}.jsonl", f"{name}/a.jsonl", f"auth_events/{name}.gif")
    # two that are alike without their secrets
    yield from (f"users/a.csv?token={number}{MARK}" for number in range(2))


def records_of(
    name: str, workspace: str, by_rule: dict[str, list[str]]
) -> Iterator[dict[str, Any]]:
    """Records of a table with the canaries of all rules."""
    for number, rule in enumerate(sorted(by_rule)):
        yield from with_canary(TABLES[name], workspace, number, by_rule[rule])
    for rule, (keys, _) in KEYS.items():
        for number, key in enumerate(keys):
            yield with_key(TABLES[name], workspace, f"{rule}_{number}", key)


def good(table: Table, workspace: str, key: str) -> dict[str, Any]:
    """A record that is accepted, of the workspace and with an id of its own."""
    if table.family == "audit":
        project = {"type": "project", "id": "prj_1", "metadata": {"organization_id": workspace}}
        return audit(id=key, targets=[project], occurredAt=MOMENT)
    if table.family == "event":
        times = {"occurred_at": MOMENT, "received_at": MOMENT}
        return event(table.name, id=key, workspace_id=workspace, user_id=f"usr_{key}", **times)
    if "user_id" in table.key:
        return entity(table.name, user_id=f"usr_{key}")
    return entity(table.name, **({} if table.uuids else {"id": key}))


def with_canary(
    table: Table, workspace: str, number: int, of_a_rule: list[str]
) -> Iterator[dict[str, Any]]:
    """Records with the texts of one rule: in all fields, beside them, nested, in identifiers."""
    record = good(table, workspace, f"canary_{table.name}_{number}")
    text = of_a_rule[number % len(of_a_rule)]
    names = [item.name for item in table.fields if item.kind == "text" and item.name not in CLOSED]
    yield record | {
        name: text for name in names if name not in table.key and name not in table.allowed
    }
    if table.family == "event":
        named = {item.name: text for item in table.data_fields if item.kind == "text"}
        kept = {name: record["data"][name] for name in CLOSED & set(record["data"])}
        yield record | {"id": f"data_{number}", "data": {**record["data"], **named, **kept}}
        yield record | {"id": f"free_{number}", "data": {**record["data"], "in": [{"a": [text]}]}}
        yield record | {"id": f"typed_{number}", "type": f"custom.{text}"}
    if table.family == "audit":
        actor = {"type": text, "id": text, "name": text, "metadata": {"impersonator_email": text}}
        context = {"location": text, "userAgent": text}
        about = {**record["metadata"], "source": text, "interval": text, "note": text}
        yield record | {"id": f"a_{number}", "actor": actor, "context": context, "metadata": about}
    beside = of_a_rule[-1]
    yield record | {"id": f"beside_{number}", "note": beside, "deep": {"x": [{beside: [beside]}]}}
    yield record | {"id": f"inner_{number}", "note": json.dumps({"inner": json.dumps(beside)})}
    yield record | {"id": f"bad_{number}", "environment": "staging", "created_at": beside}
    for key in table.key:
        yield record | {key: of_a_rule[1]}


def with_key(table: Table, workspace: str, number: str, key: str) -> dict[str, Any]:
    """A record with a forbidden key at its top and in its depth."""
    record = good(table, workspace, f"key_{table.name}_{number}")
    secret = f"planted-{MARK}"
    return record | {key: secret, "deep": [{"x": {key: {"y": [secret]}}}]}


def escaped(content: bytes) -> bytes:
    """The same JSON spelled otherwise, under other ids, so that nothing is a copy."""
    content = content.replace(b'"id":"', b'"id":"other ').replace(b"/", b"\\/")
    return content.replace(b"k", b"\\u006b").replace(b"=", b"\\u003D")


def as_csv(workspace: str, chosen: list[str]) -> bytes:
    """Canaries in a header and in cells."""
    head = chosen[0].replace('"', '""')
    rows = [f'id,workspace_id,type,note,"{head}"']
    for number, text in enumerate(chosen):
        cell = text.replace('"', '""')
        rows.append(f'csv_{number},{workspace},login,"{cell}","{cell}"')
        rows.append(f'csv_{number},"{cell}"')
    return "\n".join(rows).encode() + b"\n"


def write_parquet(path: Path, workspace: str, chosen: list[str]) -> None:
    """Canaries in cells, in names of columns and of members."""
    with duckdb.connect() as connection:
        columns = [
            f'unnest(?::varchar[]) as "{text.replace(chr(34), chr(34) * 2)}"' for text in chosen[:3]
        ]
        connection.execute(
            f"""
            create table canaries as
            select 'parquet_' || row_number() over () as id, 'session.started' as type,
                '{MOMENT}' as occurred_at, 'production' as environment,
                '{workspace}' as workspace_id, 'prj_1' as project_id, text as user_agent,
                {{deep: [text]}} as data, *
            from (select unnest(?::varchar[]) as text, {", ".join(columns)})
            """,
            [chosen] * 4,
        )
        connection.execute(f"copy canaries to '{path}' (format parquet)")


def write(landing: Path, path: str, content: bytes) -> None:
    target = landing / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


# ---- looking


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of every file below a folder: as it is, and what a packed one holds."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        yield f"the name {name}", name.encode(errors="surrogateescape")
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        yield name, content
        if path.suffix == ".gz":
            yield f"{name}, unpacked", gzip.decompress(content)
        elif path.suffix == ".zst":
            yield f"{name}, unpacked", zstd.decompress(content)
        elif path.suffix == ".parquet":
            yield f"{name}, rows", repr(duckdb.sql(f"from '{path}'").fetchall()).encode()
        elif path.suffix == ".duckdb":
            yield from ((f"{name}, {table}", text) for table, text in tables(path))
        elif content.startswith(b"SQLite format 3\0"):
            yield from ((f"{name}, {table}", text) for table, text in sqlite_tables(path))


def tables(path: Path) -> Iterator[tuple[str, bytes]]:
    """(table, all its rows as text) of a DuckDB file, and the SQL of its views."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{path}' as looked_into (read_only)")
        views = connection.execute(
            "select sql from duckdb_views() where database_name = 'looked_into'"
        ).fetchall()
        yield "views", repr(views).encode()
        found = connection.execute(
            "select schema_name, table_name from duckdb_tables()"
            " where database_name = 'looked_into'"
        ).fetchall()
        for schema, table in found:
            rows = connection.execute(f'from looked_into."{schema}"."{table}"').fetchall()
            yield f"{schema}.{table}", repr(rows).encode()


def sqlite_tables(path: Path) -> Iterator[tuple[str, bytes]]:
    """(table, all its rows as text) of an SQLite file; what is deflated in it is inflated."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        names = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (name,) in names:
            rows = connection.execute(f'select * from "{name}"').fetchall()
            texts = [inflated(value) for row in rows for value in row if isinstance(value, bytes)]
            yield name, repr(rows).encode() + b" ".join(texts)


def inflated(value: bytes) -> bytes:
    """The bytes as they are, or unpacked where they are packed."""
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


def leaks(pieces: Iterable[tuple[str, bytes]], sought: Sequence[bytes] = NEEDLES) -> list[str]:
    """Where one of the byte strings stands, with what is around it."""
    found = []
    for name, content in pieces:
        for needle in sought:
            at = content.find(needle)
            if at >= 0:
                found.append(f"{name}: {content[max(0, at - 80) : at + 20]!r}")
    return found
