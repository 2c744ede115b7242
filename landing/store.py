"""What a file's transaction writes: rows, quarantine, ledger; and who wins when ids meet.

For each key the raw table keeps the record received first; between different contents received
at the same time the greater content hash wins; copies of one content are one record, received
when the first of them was. So the table depends on the set of records alone, not on the order
or the files in which they landed. Belongs here: SQL on schema `raw`. Does not: reading files.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson

from landing.contract import Table
from landing.devices import device_class
from landing.fastpath import activity, content_hash, key_hash
from landing.reasons import LandingError
from landing.tabular import quote


@dataclass
class Counts:
    """Where the lines of one file ended."""

    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0


@dataclass
class FileRows:
    """What one file puts into `raw`, within the transaction that the caller holds open."""

    connection: duckdb.DuckDBPyConnection
    table: Table
    path: str
    batch: int
    landed_at: datetime
    """UTC, without zone."""
    counts: Counts = field(default_factory=Counts)
    drift: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """(field, JSON type) → (records, first line)."""

    def insert_staged(self, origin: int) -> None:
        """Insert the rows of temporary table `staged`; `origin` + rowid is a row's line."""
        names = ", ".join(name for name, _ in self.table.columns)
        self.connection.execute(
            f"""
            insert into raw.{self.table.name}
            select
                {names}, {activity(self.table)} payload, _content_hash, _key_hash,
                ?, rowid + {origin}, ?, ?
            from staged
            """,
            [self.path, self.landed_at, self.batch],
        )

    def insert_examined(self, rows: Path) -> None:
        """Insert examined records.

        rows: a file of JSON objects with the columns by name (instants as microseconds), payload,
        extras and _line.
        """
        columns = self.table.columns
        typed = ", ".join(
            f"make_timestamp({name}) as {name}" if kind == "TIMESTAMP" else name
            for name, kind in columns
        )
        members = ", ".join(
            f"{name}: '{'BIGINT' if kind == 'TIMESTAMP' else kind}'" for name, kind in columns
        )
        self.connection.execute(
            f"""
            insert into raw.{self.table.name}
            select
                {", ".join(name for name, _ in columns)},
                {activity(self.table)}
                payload,
                {content_hash(columns, "extras")},
                {key_hash(self.table.key)},
                ?, _line, ?, ?
            from (
                select {typed}, payload, extras, _line
                from read_json(
                    {quote(str(rows))},
                    format = 'newline_delimited',
                    maximum_object_size = 67108864,
                    columns = {{{members}, payload: 'VARCHAR', extras: 'VARCHAR', _line: 'BIGINT'}}
                )
            )
            """,
            [self.path, self.landed_at, self.batch],
        )

    def insert_rejected(self, rejected: Sequence[tuple[int, str, str | None, str]]) -> None:
        """Quarantine (line, reason, field, redacted text)."""
        if not rejected:
            return
        self.counts.rejected += len(rejected)
        rows = orjson.dumps(rejected_objects(rejected)).decode()
        self.connection.execute(
            """
            insert into raw.rejected_records
            select ?, ?, row.line, row.reason, row.field, row.payload, ?, ?
            from (
                select unnest(from_json(?, '[{"line":"BIGINT","reason":"VARCHAR",
                    "field":"VARCHAR","payload":"VARCHAR"}]')) as row
            )
            """,
            [self.table.name, self.path, self.landed_at, self.batch, rows],
        )

    def note_drift(self, line: int, drift: Iterable[tuple[str, str]]) -> None:
        """Count unknown fields; at most 1,000 of a file are told apart."""
        for name, json_type in drift:
            key = (name[:200], json_type)
            if key not in self.drift and len(self.drift) >= 1000:
                key = ("(further fields)", json_type)
            count, first = self.drift.get(key, (0, line))
            self.drift[key] = (count + 1, min(first, line))

    def finish(self, redactions: Mapping[str, int]) -> tuple[date, date] | None:
        """Settle duplicates and conflicts, write the notes; returns the received days."""
        name = self.table.name
        inserted, distinct, first, last = self.connection.execute(
            f"""
            select count(*), count(distinct _key_hash), {self._received_range()}
            from raw.{name} where _batch = ?
            """,
            [self.batch],
        ).fetchall()[0]
        self._insert_user_agents()
        if inserted:
            self._settle(inserted, has_twins=distinct < inserted)
        if self.counts.duplicates:
            self.connection.execute(
                "insert into raw.duplicate_records values (?, ?, ?, ?)",
                [name, self.path, self.counts.duplicates, self.batch],
            )
        for (drifted, json_type), (count, line) in self.drift.items():
            self.connection.execute(
                "insert into raw.schema_drift values (?, ?, ?, ?, ?, ?, ?)",
                [name, drifted, json_type, count, self.path, line, self.batch],
            )
        for rule_id, count in redactions.items():
            self.connection.execute(
                "insert into raw.redactions values (?, ?, ?, ?, ?)",
                [name, rule_id, count, self.path, self.batch],
            )
        return None if first is None else (first, last)

    def _received_range(self) -> str:
        if self.table.family == "entity":
            return "null::date, null::date"
        return "min(received_at)::date, max(received_at)::date"

    def _insert_user_agents(self) -> None:
        if self.table.family == "entity":
            return
        rows = self.connection.execute(
            f"""
            select distinct user_agent from raw.{self.table.name}
            where _batch = ? and user_agent is not null
            except
            select user_agent from raw.user_agents
            """,
            [self.batch],
        ).fetchall()
        if rows:
            classes = [[agent, device_class(agent)] for (agent,) in rows]
            self.connection.execute(
                """
                insert into raw.user_agents
                select row[1], row[2], ?
                from (select unnest(from_json(?, '[["VARCHAR"]]')) as row)
                """,
                [self.batch, orjson.dumps(classes).decode()],
            )

    def _settle(self, inserted: int, *, has_twins: bool) -> None:
        """Leave of the new rows what belongs into the raw table, and count the others."""
        name = self.table.name
        # one column of the old rows is read, whatever their number (8 bytes a row)
        self.connection.execute(
            f"""
            create or replace temp table met as
            select distinct _key_hash from raw.{name}
            where _batch < {self.batch} and _key_hash in (
                select _key_hash from raw.{name} where _batch = {self.batch}
            )
            """
        )
        (met,) = self.connection.execute("select count(*) from met").fetchall()[0]
        if has_twins:
            self.connection.execute(
                f"""
                insert into met
                select _key_hash from raw.{name} where _batch = {self.batch}
                group by _key_hash having count(*) > 1
                """
            )
        if not met and not has_twins:
            self.counts.accepted = inserted
            return
        if self.table.family == "entity":
            self._settle_versions(inserted)
        else:
            self._settle_ids(inserted)

    def _settle_versions(self, inserted: int) -> None:
        """Entities: every content of a key is a version; copies go."""
        name = self.table.name
        keys = ", ".join(self.table.key)
        self.connection.execute(
            f"""
            delete from raw.{name} where _batch = {self.batch} and _line in (
                select _line from (
                    select
                        _batch,
                        _line,
                        row_number() over (
                            partition by {keys}, _content_hash order by _batch, _line
                        ) as copy,
                    from raw.{name} where _key_hash in (select _key_hash from met)
                )
                where _batch = {self.batch} and copy > 1
            )
            """
        )
        (left,) = self.connection.execute(
            f"select count(*) from raw.{name} where _batch = {self.batch}"
        ).fetchall()[0]
        self.counts.accepted = left
        self.counts.duplicates = inserted - left

    def _settle_ids(self, inserted: int) -> None:
        """Events: one row a key. All that meet are ranked: old, new and earlier losers."""
        name, batch = self.table.name, self.batch
        self.connection.execute(
            f"""
            create or replace temp table ranked as
            with candidates as (
                select
                    if(_batch = {batch}, 'new', 'raw') as origin,
                    workspace_id, environment, id, received_at, _content_hash, _batch, _line, _file,
                from raw.{name} where _key_hash in (select _key_hash from met)
                union all
                select
                    'conflict', workspace_id, environment, id, received_at, _content_hash,
                    _batch, _line, _file,
                from raw.id_conflicts
                where table_name = {quote(name)} and (workspace_id, environment, id) in (
                    select (workspace_id, environment, id)
                    from raw.{name} where _key_hash in (select _key_hash from met)
                )
            ),
            copies as (
                select
                    *,
                    row_number() over content = 1 as is_first_copy,
                    count(*) filter (origin <> 'new') over content_all > 0 as is_known,
                    count(*) filter (origin = 'raw') over content_all > 0 as is_in_raw,
                from candidates
                window
                    content as (
                        partition by workspace_id, environment, id, _content_hash
                        order by received_at, origin = 'new', _line
                    ),
                    content_all as (partition by workspace_id, environment, id, _content_hash)
            )
            select
                *,
                is_first_copy and row_number() over (
                    partition by workspace_id, environment, id
                    order by is_first_copy desc, received_at, _content_hash desc
                ) = 1 as is_winner,
            from copies
            """
        )
        displaced = """
            select
                r._batch, r._line, r._file,
                r._content_hash = winner._content_hash as is_same_content,
            from ranked as r
            join ranked as winner using (workspace_id, environment, id)
            where r.origin = 'raw' and not r.is_winner and winner.is_winner
        """
        lost = """
            select _batch, _line, _file from ranked
            where origin in ('new', 'raw') and is_first_copy and not is_winner
        """
        same = "(t._batch, t._line, t._file) = (r._batch, r._line, r._file)"
        # a known loser whose earlier copy came, or whose content has won now, leaves the losers
        self.connection.execute(
            f"""
            delete from raw.id_conflicts where table_name = {quote(name)}
            and (workspace_id, environment, id, _content_hash) in (
                select (workspace_id, environment, id, _content_hash) from ranked
                where origin = 'conflict' and (is_winner or not is_first_copy)
            )
            """
        )
        self.connection.execute(
            f"""
            insert into raw.id_conflicts
            select
                {quote(name)}, t.environment, t.workspace_id, t.id, t.occurred_at, t.received_at,
                t.payload, t._content_hash, t._file, t._line, t._landed_at, {batch},
            from raw.{name} as t join ({lost}) as r on {same}
            """
        )
        present = {column for column, _ in self.table.columns}
        columns = ", ".join(
            f"t.{name}" if name in present else "null"
            for name in ("user_id", "anonymous_id", "session_id", "service_id", "is_test")
        )
        self.connection.execute(
            f"""
            insert into raw.superseded_records
            select
                {quote(name)}, t.environment, t.workspace_id, t.project_id, {columns}, t.id,
                t.occurred_at, t.received_at, t._activity_date, t._is_clock_skewed, t.payload,
                t._content_hash, r.is_same_content, t._file, t._line, t._landed_at, t._batch, {batch},
            from raw.{name} as t join ({displaced}) as r on {same}
            """
        )
        self.connection.execute(
            f"""
            delete from raw.{name} as t using (
                select _batch, _line, _file from ranked
                where origin in ('new', 'raw') and not is_winner
            ) as r
            where {same}
            """
        )
        won, lost_count, contested = self.connection.execute(
            """
            select
                count(*) filter (is_winner and not is_in_raw),
                count(*) filter (is_first_copy and not is_winner and not is_known),
                count(*),
            from ranked where origin = 'new'
            """
        ).fetchall()[0]
        self.counts.accepted = inserted - contested + won
        self.counts.conflicts = lost_count
        self.counts.duplicates = contested - won - lost_count


def rejected_objects(
    rejected: Sequence[tuple[int, str, str | None, str]],
) -> list[dict[str, Any]]:
    """Rejected records as JSON objects for the insert."""
    return [
        {"line": line, "reason": reason, "field": name, "payload": payload}
        for line, reason, name, payload in rejected
    ]


def check_balance(counts: Counts, path: str) -> None:
    """Refuse to commit a file whose lines did not all end in exactly one place."""
    ended = counts.accepted + counts.duplicates + counts.conflicts + counts.rejected
    if counts.lines != ended:
        raise LandingError(
            f"{path}: {counts.lines} lines read but {ended} accounted for; nothing of the file "
            "was kept. Please report this with the file."
        )
