"""What a file's transaction writes: rows, quarantine, ledger; and who wins when ids meet.

For each key the raw table keeps the record received first; between different contents received
at the same time the greater content hash wins; copies of one content are one record, received
when the first of them was. So the table depends on the set of records alone, not on the order
or the files in which they landed. Belongs here: SQL on schema `raw`. Does not: reading files.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson

from landing.contract import ENVIRONMENTS, Table
from landing.devices import device_class
from landing.fastpath import ACTIVITY, content_hash, key_hash
from landing.keys import add_keys, batches_with, is_in
from landing.reasons import LandingError
from landing.schema import stored_columns
from landing.tabular import quote


@dataclass
class Counts:
    """Where the lines of one file ended."""

    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0


_NEW_CONTESTED = "create or replace temp table contested as"


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
    _is_staged: bool = field(default=False, init=False)
    _is_contested: bool = field(default=False, init=False)
    _met_batches: set[int] = field(default_factory=set, init=False)
    _origin: int = field(default=0, init=False)
    _row_count: int = field(default=0, init=False)
    _good_lines: Counter[tuple[str, date]] = field(default_factory=Counter, init=False)
    _bad_lines: Counter[tuple[str | None, date | None]] = field(default_factory=Counter, init=False)
    """Lines of events by environment and received day."""

    def stage(
        self, query: str, first_line: int, set_aside: Callable[[], None] | None = None
    ) -> int:
        """Begin a slice with the lines of a query of `stage_sql`; those taken count as read.

        `set_aside` may mark staged lines as not taken before they are counted. Returns the number
        of the others, which stay in temporary table `staged` with `is_ok` false, see `left_over`.
        """
        self.connection.execute(f"create or replace temp table staged as {query}")
        if set_aside:
            set_aside()
        taken, left, first_row = self.connection.execute(
            "select count(*) filter (is_ok), count(*) filter (not is_ok), min(rowid) from staged"
        ).fetchall()[0]
        self._is_staged = True
        self._origin = first_line - (first_row or 0)  # rows of an open transaction count from 2^55
        self.counts.lines += taken
        return int(left)

    def left_over(self, is_clean: str) -> list[tuple[int, str, bool]]:
        """(line, text, `is_clean` as SQL on `payload`) of the staged lines that were not taken."""
        return self.connection.execute(
            f"""
            select rowid + {self._origin}, payload, {is_clean}
            from staged where not is_ok and trim(payload, chr(32) || chr(9)) <> ''
            order by rowid
            """
        ).fetchall()

    def insert_examined(self, rows: Path) -> None:
        """Add examined records to the slice.

        rows: a file of JSON objects with the columns by name (instants as microseconds), payload,
        extras and _line.
        """
        columns = self.table.columns
        family = f"{ACTIVITY}, md5(extras) as _extras_hash"
        if self.table.family == "entity":
            family = f"{content_hash(columns, 'md5(extras)')} as _content_hash"
        typed = ", ".join(
            f"make_timestamp({name}) as {name}" if kind == "TIMESTAMP" else name
            for name, kind in columns
        )
        members = ", ".join(
            f"{name}: '{'BIGINT' if kind == 'TIMESTAMP' else kind}'" for name, kind in columns
        )
        into = "insert into" if self._is_staged else "create or replace temp table"
        self.connection.execute(
            f"""
            {into} staged {"by name" if self._is_staged else "as"}
            select
                {", ".join(name for name, _ in columns)},
                {family},
                payload,
                {key_hash(self.table.key)} as _key_hash,
                true as is_ok,
                _line,
            from (
                select {typed}, payload, extras, _line
                from read_json(
                    {quote(str(rows))},
                    format = 'newline_delimited',
                    maximum_object_size = 67108864,
                    columns = {{{members}, payload: 'VARCHAR', extras: 'VARCHAR', _line: 'BIGINT'}}
                )
            )
            """
        )
        self._is_staged = True

    def insert_staged(self) -> None:
        """End a slice: its rows go into the raw table, but for those that meet another.

        A row that is alone with its key is only ever appended. DuckDB writes such rows while they
        come; a single deleted row makes the commit write all of them again (2.6 of 5.9 µs a row).
        So rows that meet wait in temporary table `contested` until the file is read.
        """
        if not self._is_staged:
            return
        self._is_staged = False
        self._take_stock()
        name = self.table.name
        columns = [column for column, _ in stored_columns(self.table)]
        rows = f"""
            select
                {", ".join(columns[:-4])}, {quote(self.path)} as _file,
                coalesce(_line, rowid + {self._origin}) as _line,
                timestamp {quote(self.landed_at.isoformat(" "))} as _landed_at,
                {self.batch}::bigint as _batch,
            from staged where is_ok
        """
        keys = "select _key_hash from staged where is_ok"
        near = batches_with(self.connection, name, keys)
        self.connection.execute(
            f"""
            create or replace temp table met as
            select distinct _key_hash, _batch from raw.{name}
            where {is_in(near)} and _key_hash in ({keys})
            union all
            select _key_hash, null from staged where is_ok group by _key_hash having count(*) > 1
            """
        )
        met = [
            batch
            for (batch,) in self.connection.execute("select distinct _batch from met").fetchall()
        ]
        self._met_batches.update(batch for batch in met if batch is not None)
        if met:
            into = "insert into contested" if self._is_contested else _NEW_CONTESTED
            self.connection.execute(f"{into} {rows} and _key_hash in (select _key_hash from met)")
            self._is_contested = True
            alone = " and _key_hash not in (select _key_hash from met)"
            rows += alone
            keys += alone
        self.connection.execute(f"insert into raw.{name} {rows}")
        add_keys(self.connection, name, keys, self.batch)

    def _take_stock(self) -> None:
        """Note how many rows the slice has, which days and agents."""
        if self.table.family == "entity":
            query = "select count(*) from staged where is_ok"
            self._row_count += self.connection.execute(query).fetchall()[0][0]
            return
        self._insert_user_agents()
        days = self.connection.execute(
            "select environment, received_at::date, count(*) from staged where is_ok group by all"
        ).fetchall()
        for environment, day, count in days:
            self._good_lines[environment, day] += count
            self._row_count += count

    def note_rejected(self, environment: str | None, received: date | None) -> None:
        """Count a rejected line for its environment and received day, as far as it tells them."""
        self._bad_lines[environment, received] += 1

    def _insert_received_lines(self) -> tuple[date, date] | None:
        """Write the lines by received day; returns the first and the last such day."""
        days = [day for _, day in self._good_lines]
        received = (min(days), max(days)) if days else None
        counts: dict[tuple[str | None, date | None], list[int]] = {}
        last_days: dict[str, date] = {}
        for (environment, day), count in self._good_lines.items():
            counts.setdefault((environment, day), [0, 0])[0] += count
            last_days[environment] = max(day, last_days.get(environment, day))
        for (named, own_day), count in self._bad_lines.items():
            # of its own environment: no line of sandbox may move one of production
            place = (named, own_day or last_days.get(named or ENVIRONMENTS[0]))
            row = counts.setdefault(place, [0, 0])
            row[0] += count
            row[1] += count
        rows = [
            {"environment": place[0], "day": place[1], "lines": lines, "rejected": rejected}
            for place, (lines, rejected) in counts.items()
        ]
        if rows:
            self.connection.execute(
                """
                insert into raw.received_lines
                select ?, ?, row.environment, row.day, row.lines, row.rejected, ?
                from (
                    select unnest(from_json(?, '[{"environment":"VARCHAR","day":"DATE",
                        "lines":"BIGINT","rejected":"BIGINT"}]')) as row
                )
                """,
                [self.table.name, self.path, self.batch, orjson.dumps(rows).decode()],
            )
        return received

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
        self.counts.accepted = self._row_count
        if self._is_contested:
            if self.table.family == "entity":
                self._settle_versions()
            else:
                self._settle_ids()
            settled = f"""
                select _key_hash from raw.{name}
                where _batch = {self.batch} and _key_hash in (select _key_hash from contested)
            """
            add_keys(self.connection, name, settled, self.batch)
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
        return self._insert_received_lines()

    def _insert_user_agents(self) -> None:
        rows = self.connection.execute(
            """
            select distinct user_agent from staged where is_ok and user_agent is not null
            except
            select user_agent from raw.user_agents
            """
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

    def _met_rows(self) -> str:
        """SQL: the rows that wait, and those in the raw table that they meet (`is_stored`)."""
        return f"""
            (
                select *, true as is_stored from raw.{self.table.name}
                where {self._is_in_met_batches()} and _key_hash in (select _key_hash from contested)
                union all
                select *, false as is_stored from contested
            )
        """

    def _is_in_met_batches(self) -> str:
        """SQL on a raw table's rows that prunes all that landed with none of the rows met.

        This batch counts too: a later slice may have brought, alone, what waits already.
        """
        return is_in({*self._met_batches, self.batch})

    def _settle_versions(self) -> None:
        """Entities: every content of a key is a version; copies are left out."""
        (waiting,) = self.connection.execute("select count(*) from contested").fetchall()[0]
        (versions,) = self.connection.execute(
            f"""
            insert into raw.{self.table.name}
            select * exclude (is_stored)
            from {self._met_rows()}
            qualify not is_stored and row_number() over (
                partition by {", ".join(self.table.key)}, _content_hash
                order by is_stored desc, _line
            ) = 1
            """
        ).fetchall()[0]
        self.counts.duplicates = waiting - versions
        self.counts.accepted -= self.counts.duplicates

    def _settle_ids(self) -> None:
        """Events: one row a key. All that meet are ranked: old, new and earlier losers."""
        name, batch = self.table.name, self.batch
        self.connection.execute(f"create or replace temp table met as from {self._met_rows()}")
        self.connection.execute(
            f"""
            create or replace temp table ranked as
            with candidates as (
                select
                    if(_batch = {batch}, 'new', 'raw') as origin, is_stored,
                    workspace_id, environment, id, received_at,
                    {content_hash(self.table.columns)} as _content_hash, _batch, _line, _file,
                from met
                union all
                select
                    'conflict', false, workspace_id, environment, id, received_at, _content_hash,
                    _batch, _line, _file,
                from raw.id_conflicts
                where table_name = {quote(name)} and (workspace_id, environment, id) in (
                    select (workspace_id, environment, id) from met
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
                r._batch, r._line, r._file, r._content_hash,
                r._content_hash = winner._content_hash as is_same_content,
            from ranked as r
            join ranked as winner using (workspace_id, environment, id)
            where r.origin = 'raw' and not r.is_winner and winner.is_winner
        """
        lost = """
            select _batch, _line, _file, _content_hash from ranked
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
                t.payload, r._content_hash, t._file, t._line, t._landed_at, {batch},
            from met as t join ({lost}) as r on {same}
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
                r._content_hash, r.is_same_content, t._file, t._line, t._landed_at, t._batch,
                {batch},
            from met as t join ({displaced}) as r on {same}
            """
        )
        (has_losers,) = self.connection.execute(
            "select bool_or(is_stored and not is_winner) from ranked"
        ).fetchall()[0]
        if has_losers:
            self.connection.execute(
                f"""
                delete from raw.{name} as t using (
                    select _batch, _line, _file from ranked where is_stored and not is_winner
                ) as r
                where {same} and t.{self._is_in_met_batches()}
                """
            )
        self.connection.execute(
            f"""
            insert into raw.{name}
            select t.* exclude (is_stored)
            from met as t
            join (
                select _batch, _line, _file from ranked
                where origin = 'new' and not is_stored and is_winner
            ) as r on {same}
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
        self.counts.accepted = self._row_count - contested + won
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
