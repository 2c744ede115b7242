"""Erased identifiers: known by keyed tombstones alone, taken out of rows, kept out of what lands.

A tombstone is `erased_<key id>_<32 hex digits>`, HMAC-SHA256 of the identifier under a key of the
warehouse's own, so equal identifiers have equal tombstones and every count of distinct ones stays
what it was. Nothing else is remembered: whether a value that lands was erased is found by hashing
it. What is taken out of a row is a function of the row and the tombstones (`Erased.take_out`), the
same for a row that stands and for one that lands again; so an old extract that returns is a copy.

Belongs here: recognising, replacing, the SQL on schema `raw`. Does not: when, files, what is built
from raw (dagster_project/erasures.py).
"""

import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import orjson

from landing.contract import TABLES, Table
from landing.devices import GENERALISED, device_class
from landing.examine import Accepted, Examiner
from landing.fastpath import content_hash, key_hash
from landing.keys import forget_keys
from landing.schema import BOOKKEEPING, KEPT, stored_columns
from landing.secrets import load_rules

# Columns that name a person or what follows one about: replaced where they equal an identifier.
IDENTITY = frozenset(
    (
        "user_id",
        "impersonator_id",
        "actor_id",
        "anonymous_id",
        "session_id",
        "merged_into",
        "requested_by",
        "surviving_user_id",
    )
)
# What rows are counted by, or a closed list says: never touched.
UNTOUCHED = frozenset(
    (
        "type",
        "environment",
        "workspace_id",
        "project_id",
        "service_id",
        "plan_id",
        "kind",
        "outcome",
        "provider",
        "method",
        "channel",
        "table_name",
        "reason",
        "status",
        "payload",
        "_extras_hash",
        "_content_hash",
    )
)
# Columns that describe a person and are no identifier: gone with the row's details.
DETAILS = ("ip",)
NO_DETAILS = "{}"

# An identifier is found inside a text where it stands as a word: as a whole JSON string, between
# characters other than these, or as an address.
_WORDS = (r"[A-Za-z0-9_-]+", r"[A-Za-z0-9_.@+-]+")
_STRING = r'"([^"\\]*)"'
_PYTHON_WORDS = tuple(re.compile(pattern) for pattern in _WORDS)
_PYTHON_STRING = re.compile(_STRING)
ROWS_AT_ONCE = 20_000
KEY_BYTES = 32


@dataclass(frozen=True)
class Key:
    """A key of tombstones; the id goes into the tombstone and says which key it was."""

    key_id: str
    secret: bytes

    def tombstone(self, value: str) -> str:
        """What stands in the place of an identifier."""
        digest = hmac.new(self.secret, value.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return f"erased_{self.key_id}_{digest.hexdigest()[:32]}"


def is_word(value: str) -> bool:
    """Whether an identifier is unlike any other word, so that it may be looked for in texts.

    `alice`, `login` or `2025` may stand for anything; they are replaced in the columns that hold
    identifiers and nowhere else.
    """
    has_digit = any(c.isdigit() for c in value)
    return len(value) >= 4 and ("@" in value or (has_digit and not value.isdigit()))


@dataclass(frozen=True)
class Erased:
    """What has been erased. `find` gives the tombstone of an identifier, or None.

    `lengths`: of the erased identifiers in characters: nothing else needs to be hashed.
    """

    find: Callable[[str], str | None]
    lengths: frozenset[int]

    def __bool__(self) -> bool:
        return bool(self.lengths)

    def tombstone_of(self, value: str) -> str | None:
        """The tombstone of an erased identifier, None of any other value."""
        return self.find(value) if len(value) in self.lengths else None

    def word(self, value: str) -> str | None:
        """The tombstone of an erased identifier that may be looked for in texts."""
        if len(value) not in self.lengths or not is_word(value):
            return None
        return self.find(value)

    def scrub(self, text: str) -> str:
        """A text with tombstones in the place of the identifiers in it."""
        if whole := self.word(text):
            return whole
        for pattern in _PYTHON_WORDS:
            text = pattern.sub(lambda match: self.word(match[0]) or match[0], text)
        return text

    def is_named_in(self, text: str) -> bool:
        """Whether a JSON text, or what was meant to be one, names an erased identifier."""
        if "\\" in text:
            try:
                text = orjson.dumps(orjson.loads(text)).decode()
            except orjson.JSONDecodeError:
                text = text.replace("\\", '"')
        found = (match[1] for match in _PYTHON_STRING.finditer(text))
        words = (match[0] for pattern in _PYTHON_WORDS for match in pattern.finditer(text))
        return any(self.word(value) for value in (*found, *words))

    def take_out(self, table: str, values: dict[str, Any], text: str) -> bool:
        """Replace identifiers in the columns of a record, in place; whether there were any.

        `text` is the record as it was sent. A record with an identifier loses all that has no
        column, its address, and of its user agent all but the class of device: what stays is what
        is counted. Columns of bookkeeping and `payload` are the caller's.
        """
        is_hit = False
        for name, value in values.items():
            if type(value) is not str or name in UNTOUCHED:
                continue
            if name in IDENTITY or (name == "id" and table == "users"):
                new = self.tombstone_of(value) or value
            else:
                new = self.scrub(value)
            if new != value:
                values[name] = new
                is_hit = True
        if not is_hit and not self.is_named_in(text):
            return False
        for name in DETAILS:
            if name in values:
                values[name] = None
        if values.get("user_agent"):
            values["user_agent"] = generalised(values["user_agent"])
        return True


NOTHING_ERASED = Erased(lambda value: None, frozenset())


def generalised(user_agent: str) -> str:
    """A user agent of which the class of device is left."""
    if user_agent.startswith(GENERALISED):
        return user_agent
    return f"{GENERALISED}{device_class(user_agent)}"


def read_erased(connection: duckdb.DuckDBPyConnection) -> Erased:
    """What has been erased so far, by the tombstones and keys of the warehouse."""
    rows = connection.execute("select tombstone, length from raw.erased_identifiers").fetchall()
    if not rows:
        return NOTHING_ERASED
    known = frozenset(tombstone for tombstone, _ in rows)
    keys = read_keys(connection)
    cache: dict[str, str | None] = {}

    def find(value: str) -> str | None:
        if value not in cache:
            if len(cache) > 200_000:  # values come from outside: bound what is remembered
                cache.clear()
            made = (key.tombstone(value) for key in keys)
            cache[value] = next((one for one in made if one in known), None)
        return cache[value]

    return Erased(find, frozenset(length for _, length in rows))


# ---- keys


def read_keys(connection: duckdb.DuckDBPyConnection) -> list[Key]:
    """All keys of tombstones, newest first: an identifier may have been erased under any."""
    rows = connection.execute(
        "select key_id, key from raw.tombstone_keys order by key_number desc"
    ).fetchall()
    return [Key(key_id, bytes.fromhex(key)) for key_id, key in rows]


def add_key(connection: duckdb.DuckDBPyConnection) -> Key:
    """Draw a key that later erasures use; earlier ones stay, or nobody could tell their values."""
    [(last,)] = connection.execute(
        "select coalesce(max(key_number), 0) from raw.tombstone_keys"
    ).fetchall()
    key = Key(f"t{last + 1}", secrets.token_bytes(KEY_BYTES))
    connection.execute(
        "insert into raw.tombstone_keys values (?, ?, ?)", [key.key_id, key.secret.hex(), last + 1]
    )
    return key


# ---- what lands


def set_aside(connection: duckdb.DuckDBPyConnection, table: Table, erased: Erased) -> None:
    """Mark staged rows that name somebody erased as not taken, for `examine` and `take_out`."""
    columns = [name for name, _ in table.columns if name in IDENTITY]
    found = _mentioned(connection, "staged", erased, columns, condition="is_ok")
    if found:
        connection.execute(
            f"update staged set is_ok = false where is_ok and rowid in ({_NAMING})",
        )
        connection.execute("drop table naming")


_NAMING = "select row_id from naming"


def _tokens(column: str) -> str:
    """SQL: the list of all words and strings of a text column."""
    parts = [f"regexp_extract_all({column}, '{pattern}')" for pattern in _WORDS]
    parts.append(f"regexp_extract_all({column}, '{_STRING}', 1)")
    return f"list_concat({', '.join(parts)})"


def _mentioned(  # noqa: PLR0913 - where to look, and for what, by name
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    erased: Erased,
    columns: Collection[str],
    *,
    condition: str = "true",
    text: str = "payload",
) -> bool:
    """Fill temporary table `naming` with the row ids that name somebody erased; whether any does.

    Values of the lengths of erased ones are hashed, each once. Where nothing is found there is no
    table.
    """
    lengths = ", ".join(map(str, sorted(erased.lengths)))
    parts = [
        f"select rowid as row_id, {name} as value, true as is_column from {relation}"
        f" where {condition} and length({name}) in ({lengths})"
        for name in columns
    ]
    if text:
        parts.append(
            f"""
            select row_id, value, false as is_column
            from (
                select rowid as row_id, unnest({_tokens(text)}) as value
                from {relation} where {condition}
            )
            where length(value) in ({lengths})
            """
        )
    if not parts:
        return False
    connection.execute(f"create or replace temp table seen as {' union all '.join(parts)}")
    distinct = connection.execute("select distinct value, is_column from seen").fetchall()
    found = [
        (value, is_column)
        for value, is_column in distinct
        if (erased.tombstone_of(value) if is_column else erased.word(value))
    ]
    if found:
        connection.execute(
            """
            create or replace temp table naming as
            select distinct row_id from seen
            where (value, is_column) in (
                select (row[1], row[2] = 'true')
                from (select unnest(from_json(?, '[["VARCHAR"]]')) as row)
            )
            """,
            [orjson.dumps([[value, str(known).lower()] for value, known in found]).decode()],
        )
    connection.execute("drop table seen")
    return bool(found)


# ---- what stands


@dataclass(frozen=True)
class Request:
    """Somebody's erasure: the id that was named, and every identifier of theirs that is known."""

    user_id: str
    identifiers: frozenset[str]


def pending(connection: duckdb.DuckDBPyConnection) -> list[Request]:
    """Requests that landed and are not carried out; a list of everything they have to take out.

    A person is all ids that are merged into one another, and theirs are the session and visitor
    ids of their events.
    """
    wanted = {
        user_id
        for (user_id,) in connection.execute(
            "select distinct user_id from raw.erasures"
            " where user_id not in (select tombstone from raw.erased_identifiers)"
        ).fetchall()
    }
    if not wanted:
        return []
    people = _people(connection)
    return [
        Request(user_id, frozenset(_identifiers(connection, people.get(user_id, {user_id}))))
        for user_id in sorted(wanted)
    ]


def _people(connection: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    """The ids that are one person, by each of them, as merges are known now."""
    merged = dict(
        connection.execute(
            """
            select id, merged_into from (
                select id, merged_into from raw.users
                qualify row_number() over (
                    partition by id order by updated_at desc nulls last, _content_hash desc
                ) = 1
            )
            where merged_into is not null
            """
        ).fetchall()
    )

    def survivor(user_id: str) -> str:
        seen = [user_id]
        while (user_id := merged.get(user_id, "")) and user_id not in seen:
            seen.append(user_id)
        # who is merged in a circle stays unmerged
        return seen[0] if user_id else seen[-1]

    people: dict[str, set[str]] = {}
    for one in {*merged, *merged.values()}:
        people.setdefault(survivor(one), set()).add(one)
    return {one: group for group in people.values() for one in group}


def _identifiers(connection: duckdb.DuckDBPyConnection, user_ids: Collection[str]) -> Iterator[str]:
    yield from user_ids
    for name, columns in (*_record_tables(), ("superseded_records", _SUPERSEDED)):
        for column in ("session_id", "anonymous_id"):
            if column in columns and "user_id" in columns:
                rows = connection.execute(
                    f"select distinct {column} from raw.{name}"
                    f" where list_contains(?, user_id) and {column} is not null",
                    [list(user_ids)],
                ).fetchall()
                yield from (value for (value,) in rows)


_SUPERSEDED = [name for name, _ in BOOKKEEPING["superseded_records"]]
_REJECTED = [name for name, _ in BOOKKEEPING["rejected_records"]]


def _record_tables() -> Iterator[tuple[str, list[str]]]:
    for name, table in TABLES.items():
        yield name, [column for column, _ in stored_columns(table)]


def files_naming(
    connection: duckdb.DuckDBPyConnection, requests: Sequence[Request]
) -> frozenset[str]:
    """Paths of landed files with rows, or copies of rows, that name somebody to be erased.

    Of a file all of whose rows were copies of another file's, the other one's content tells.
    """
    values = {value: value for request in requests for value in request.identifiers}
    erased = Erased(values.get, frozenset(map(len, values)))
    paths: set[str] = set()
    for name, columns in (*_record_tables(), *_kept_tables(), ("rejected_records", _REJECTED)):
        if "_file" not in columns:
            continue
        text = "payload" if "payload" in columns else ""
        if _mentioned(connection, f"raw.{name}", erased, _identity(name, columns), text=text):
            rows = connection.execute(
                f"select distinct _file from raw.{name} where rowid in ({_NAMING})"
            ).fetchall()
            paths.update(path for (path,) in rows)
            connection.execute("drop table naming")
    twins = connection.execute(
        """
        select path from raw.landed_files
        where (table_name, sha256) in (
            select (table_name, sha256) from raw.landed_files where list_contains(?, path)
        )
        """,
        [sorted(paths)],
    ).fetchall()
    return frozenset(paths | {path for (path,) in twins})


def erase(connection: duckdb.DuckDBPyConnection, requests: Sequence[Request]) -> int:
    """Put tombstones in the place of identifiers everywhere in `raw`; returns the rows changed.

    To be called in a transaction. Sealed months keep their numbers; the digest of who was counted
    is made anew of the tombstones.
    """
    key = next(iter(read_keys(connection)), None) or add_key(connection)
    values = sorted({value for request in requests for value in request.identifiers})
    made = {value: key.tombstone(value) for value in values}
    connection.executemany(
        "insert or ignore into raw.erased_identifiers values (?, ?, ?)",
        [(tombstone, key.key_id, len(value)) for value, tombstone in made.items()],
    )
    erased = Erased(made.get, frozenset(map(len, values)))
    rows = sum(
        _renew(connection, name, columns, erased)
        for name, columns in (*_record_tables(), *_kept_tables())
    )
    rows += _drop_rejected(connection, erased)
    _rename_files(connection, erased)
    _renew_digests(connection)
    _tidy_user_agents(connection)
    return rows


def _kept_tables() -> Iterator[tuple[str, list[str]]]:
    for name in ("superseded_records", "id_conflicts", "schema_drift"):
        yield name, [column for column, _ in BOOKKEEPING[name]]
    for name in ("mau_sealed_identities", "mau_sealed_users"):
        yield name, [column for column, _ in KEPT[name]]


def _identity(name: str, columns: Collection[str]) -> list[str]:
    found = [column for column in columns if column in IDENTITY]
    return [*found, "id"] if name == "users" else found


def _renew(
    connection: duckdb.DuckDBPyConnection, name: str, columns: list[str], erased: Erased
) -> int:
    """Take identifiers out of the rows of one table; returns the rows changed."""
    text = "payload" if "payload" in columns else "field" if name == "schema_drift" else ""
    identity = _identity(name, columns)
    if not _mentioned(connection, f"raw.{name}", erased, identity, text=text):
        return 0
    texts = [
        column
        for column, kind, *_ in connection.execute(f"describe raw.{name}").fetchall()
        if kind == "VARCHAR" and column not in ("_file", "first_file")
    ]
    rows = connection.execute(
        f"select rowid, {', '.join(texts)} from raw.{name} where rowid in ({_NAMING})"
    ).fetchall()
    connection.execute("create or replace temp table renewed (row_id bigint, new json)")
    for start in range(0, len(rows), ROWS_AT_ONCE):
        changed = [
            (row_id, _without(connection, name, dict(zip(texts, row, strict=True)), erased))
            for row_id, *row in rows[start : start + ROWS_AT_ONCE]
        ]
        connection.execute(
            "insert into renewed select cast(row->>0 as bigint), row->1"
            " from (select unnest(from_json(?, '[\"JSON\"]')) as row)",
            [orjson.dumps(changed).decode()],
        )
    _write_back(connection, name, texts)
    for temporary in ("naming", "renewed"):
        connection.execute(f"drop table {temporary}")
    return len(rows)


def _without(
    connection: duckdb.DuckDBPyConnection, name: str, values: dict[str, Any], erased: Erased
) -> dict[str, Any]:
    """The text columns of a stored row after the identifiers are taken out."""
    text = values.get("payload") or ""
    if name == "id_conflicts":
        found = _hash_of_conflict(connection, TABLES[values["table_name"]], text, erased)
        values["_content_hash"] = found or values["_content_hash"]
    erased.take_out(name, values, text)
    if "payload" in values:
        values["payload"] = NO_DETAILS
    if "_extras_hash" in values:
        values["_extras_hash"] = None
    return values


def _hash_of_conflict(
    connection: duckdb.DuckDBPyConnection, table: Table, payload: str, erased: Erased
) -> str | None:
    """The content hash that the record of a conflict has when it lands again; None of no record."""
    examiner = Examiner(table, ("*",), load_rules(), latest_us=2**62)
    verdict = examiner.examine(payload, Counter(), values_clean=True)
    if not isinstance(verdict, Accepted):
        return None
    values = dict(verdict.values)
    erased.take_out(table.name, values, payload)
    kinds = {name: "BIGINT" if kind == "TIMESTAMP" else kind for name, kind in table.columns}
    typed = ", ".join(
        f"make_timestamp(r.{name}) as {name}" if kind == "TIMESTAMP" else f"r.{name}"
        for name, kind in table.columns
    )
    [(found,)] = connection.execute(
        f"select {content_hash(table.columns, 'null::varchar')} from"
        f" (select {typed} from (select from_json(?, '{orjson.dumps(kinds).decode()}') as r))",
        [orjson.dumps(values).decode()],
    ).fetchall()
    return str(found)


def _write_back(connection: duckdb.DuckDBPyConnection, name: str, texts: Sequence[str]) -> None:
    """Replace the texts of rows by those in temporary table `renewed`, and what follows of them."""
    new = {column: f"new->>'$.{column}'" for column in texts}
    follows: dict[str, str] = {}
    if table := TABLES.get(name):
        follows["_key_hash"] = key_hash(table.key)
        forget_keys(connection, name)
        if table.family == "entity":
            follows["_content_hash"] = content_hash(table.columns, "null::varchar")
    columns = [column for column in new if column not in follows]
    replaced = ", ".join(f"{new[column]} as {column}" for column in columns)
    sets = ", ".join(f"{column} = fresh.{column}" for column in (*columns, *follows))
    made = ", ".join(f"{sql} as {column}" for column, sql in follows.items())
    connection.execute(
        f"""
        update raw.{name} as standing set {sets}
        from (
            select * {f"replace ({made})" if made else ""}
            from (
                select row_id, stored.* replace ({replaced})
                from raw.{name} as stored inner join renewed on stored.rowid = renewed.row_id
            )
        ) as fresh
        where standing.rowid = fresh.row_id
        """
    )


def _drop_rejected(connection: duckdb.DuckDBPyConnection, erased: Erased) -> int:
    """Empty the text of rejected lines that name somebody; their reason stays."""
    if not _mentioned(connection, "raw.rejected_records", erased, ()):
        return 0
    [(count,)] = connection.execute(
        f"update raw.rejected_records set payload = '' where rowid in ({_NAMING})"
    ).fetchall()
    connection.execute("drop table naming")
    return int(count)


def _rename_files(connection: duckdb.DuckDBPyConnection, erased: Erased) -> None:
    """Paths are texts too: `users/usr_1.jsonl`."""
    paths = connection.execute("select distinct path from raw.landed_files").fetchall()
    renamed = [(new, path) for (path,) in paths if (new := erased.scrub(path)) != path]
    if not renamed:
        return
    holders = connection.execute(
        "select table_name, column_name from duckdb_columns()"
        " where database_name = current_database() and schema_name = 'raw'"
        " and column_name in ('path', '_file', 'first_file')"
    ).fetchall()
    for table, column in holders:
        connection.executemany(f"update raw.{table} set {column} = ? where {column} = ?", renamed)


def _renew_digests(connection: duckdb.DuckDBPyConnection) -> None:
    """The md5 of a single user's id is as good as the id."""
    connection.execute(
        """
        update raw.mau_seals as seals set input_digest = counted.digest
        from (
            select
                workspace_id, month_start_date,
                md5(string_agg(user_id, chr(10) order by user_id)) as digest
            from raw.mau_sealed_users
            where since_correction = 0
            group by workspace_id, month_start_date
        ) as counted
        where (seals.workspace_id, seals.month_start_date)
            = (counted.workspace_id, counted.month_start_date)
            and seals.input_digest <> counted.digest
        """
    )


def _tidy_user_agents(connection: duckdb.DuckDBPyConnection) -> None:
    """Agents that no row has any more go; those that are left of erased ones come."""
    used = " union ".join(
        f"select user_agent from raw.{name} where user_agent is not null"
        for name, columns in _record_tables()
        if "user_agent" in columns
    )
    connection.execute(f"create or replace temp table agents as {used}")
    connection.execute(
        f"""
        delete from raw.user_agents where user_agent not in (select user_agent from agents);
        insert into raw.user_agents
        select user_agent, user_agent[{len(GENERALISED) + 1}:],
            (select max(_batch) from raw.landed_files)
        from agents
        where starts_with(user_agent, '{GENERALISED}')
            and user_agent not in (select user_agent from raw.user_agents);
        drop table agents;
        """
    )
