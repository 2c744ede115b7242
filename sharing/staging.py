"""One published snapshot, read for one share: what changed, and its files, on local disk.

Belongs here: the connection that reads, the fingerprint of a day, the Parquet files. Does not
belong here: what is read (compiler.py), whether it may go out (gates.py), where to (stores.py).

A file holds one day of one table, ordered by the table's key, so that the same rows are the same
bytes. They are read from where they lie, among rows of others, which could show in three ways: in
the order in which threads meet them, in where row groups end, and in what DuckDB 2.0.0 takes from
the statistics of the source: whether a column is REQUIRED (they are not asked for, so each is
OPTIONAL). Sorting settles the first two. It costs a fifth of the COPY, so a day is spared it that
lies in the order of the key already and becomes one row group.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from sharing.compiler import EVENT_KEY, Slice
from sharing.plans import Workspace
from sharing.treatments import bind_key

UNDATED = "undated"
ROWS_AT_ONCE = 10_000
FILES_AT_ONCE = 2
COLLECTED = "memory.collected"
# What a part says of itself: the columns that it is sorted by
SORTED_BY = "sorted_by"
# A row group of 122,880 rows, as DuckDB writes by itself, ends earlier or later by where those of
# the source end: a day of more rows than FEW becomes one as a whole, above MOST it is sorted.
FEW = 100_000
MOST = 400_000
# Where events that left before are known from: Parquet with the columns of EVENT_KEY.
SENT = "sent.parquet"


@dataclass(frozen=True)
class Snapshot:
    """A published version, by what it says of itself. `batch`: the newest that it holds.

    `generation`: how often the warehouse was rewritten before, so that somebody or something is
    nowhere in it any more.
    """

    number: int
    batch: int
    warehouse: str
    generation: int = 0


@dataclass(frozen=True)
class Print:
    """The rows of a day and a number that changes with them."""

    rows: int
    hash: str


NO_ROWS = Print(0, "0")


def print_of(slice_: Slice, day: str | None = None) -> str:
    """SQL of a Print over rows of a table; `day`: what stands for a column that they have not."""
    values = ", ".join(
        day if day and column.name == slice_.day else column.name for column in slice_.columns
    )
    return f"count(*), coalesce(cast(sum(hash({values})) as varchar), '{NO_ROWS.hash}')"


@dataclass(frozen=True)
class Staged:
    """A file on local disk that holds the rows of one day (None: of a table without days)."""

    model: str
    day: date | None
    path: Path
    row_count: int
    byte_count: int
    sha256: str


@contextmanager
def open_reader(
    published: Path, folder: Path, key: bytes | None, memory: str
) -> Iterator["Reader"]:
    """A connection that reads one version file and writes into one folder, and reaches no more.

    `memory`: DuckDB's memory_limit; what does not fit is spilled into the folder.
    """
    connection = duckdb.connect(
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    try:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"set memory_limit = '{memory}'")
        connection.execute(f"set temp_directory = '{_quoted(folder)}'")
        # what tells the writer that a column has no nulls, in rows that are not all the consumer's
        connection.execute("set disabled_optimizers = 'statistics_propagation'")
        connection.execute(f"attach '{_quoted(published)}' as snapshot (read_only)")
        parts = [
            _Part(mart, first, last, path)
            for mart, first, last, path in connection.execute(
                "select mart, first_date, last_date, path from snapshot.published.parts"
            ).fetchall()
        ]
        connection.execute(f"set allowed_paths = {_listed(parts)}")
        connection.execute(f"set allowed_directories = ['{_quoted(folder)}/']")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        if key is not None:
            bind_key(connection, key)
        by_mart = defaultdict(list)
        for part in parts:
            by_mart[part.mart].append(part)
        yield Reader(connection, _snapshot(connection), folder, by_mart, key)
    finally:
        connection.close()


def _snapshot(connection: duckdb.DuckDBPyConnection) -> Snapshot:
    found = connection.execute("select * from snapshot.published.version")
    names = [column[0] for column in found.description or ()]
    said = dict(zip(names, found.fetchall()[0], strict=True))
    # versions of before there were generations do not say
    generation = said.get("generation", 0)
    return Snapshot(said["version"], said["batch"], said["warehouse_id"], generation)


def _row_groups(rows: int) -> str:
    """SQL, among the options of a COPY, of how a file of so many rows is cut."""
    if not FEW < rows <= MOST:
        return ""
    # the limit of dictionaries stays that of other files: a fifth of 122,880
    return f", row_group_size {2 * MOST}, dictionary_size_limit 24576"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


@dataclass(frozen=True)
class _Part:
    """A file of a mart that is published in parts; without days: rows of no day."""

    mart: str
    first: date | None
    last: date | None
    path: str

    def covers(self, day: date) -> bool:
        return self.first is not None and self.last is not None and self.first <= day <= self.last


def _listed(parts: Iterable[_Part]) -> str:
    return "[" + ", ".join(f"'{_quoted(Path(part.path))}'" for part in parts) + "]"


@dataclass(frozen=True)
class Reader:
    """An open snapshot; files go to `folder`. `parts`: by mart, of those that are published so.

    `key`: that of keyed hashes; each cursor has to be told it, see treatments.py.
    """

    connection: duckdb.DuckDBPyConnection
    snapshot: Snapshot
    folder: Path
    parts: Mapping[str, Sequence[_Part]]
    key: bytes | None = field(repr=False)

    def workspaces(self, environment: str) -> dict[str, Workspace]:
        """Every workspace of the snapshot."""
        rows = self.connection.execute(
            "select workspace_id, plan_id, deleted_at is not null"
            f" from snapshot.{environment}.dim_workspaces"
        ).fetchall()
        return {row[0]: Workspace(*row) for row in rows}

    def projects(self, environment: str, workspaces: Collection[str]) -> list[tuple[str, str, str]]:
        """(project, its name, workspace) of some workspaces, in the order of their ids."""
        return self.connection.execute(
            "select project_id, coalesce(name, ''), workspace_id"
            f" from snapshot.{environment}.dim_projects"
            " where list_contains(?, workspace_id) order by workspace_id, project_id",
            [sorted(workspaces)],
        ).fetchall()

    def bind(self, oldest_days: Mapping[str, date]) -> None:
        """Say whose rows are read, and from which day on."""
        # no temporary table, which other cursors would not see
        self.connection.execute(
            "create or replace table scope (workspace_id varchar, oldest_date date)"
        )
        self.connection.executemany("insert into scope values (?, ?)", [*oldest_days.items()])

    def days(self, slice_: Slice) -> dict[date | None, int]:
        """Rows of every day there is to share; a table without days is one file, of day None."""
        if not slice_.day:
            return {None: self.count(slice_)}
        rows = self.connection.execute(
            f"select {slice_.day}, count(*) from ({slice_.query})"
            f" where {slice_.day} is not null group by all"
        )
        return dict(rows.fetchall())

    def prints(self, slice_: Slice) -> dict[date | None, Print]:
        """The fingerprint of every day there is to share."""
        day = slice_.day or "null::date"
        rows = self.connection.execute(
            f"select {day}, {print_of(slice_)} from ({slice_.query}) group by all"
        ).fetchall()
        found = {row[0]: Print(row[1], row[2]) for row in rows}
        # a table without days is one file, also when it is empty
        return found if slice_.day or found else {None: NO_ROWS}

    def count(self, slice_: Slice) -> int:
        """Rows there are to share, counted at their source."""
        [(rows,)] = self.connection.execute(f"select count(*) {slice_.source}").fetchall()
        return int(rows)

    def stage(
        self, slice_: Slice, days: Mapping[date | None, int], *, with_day: bool
    ) -> Iterator[Staged]:
        """Write the files of some days, of so many rows each.

        `with_day`: whether they hold the column of the day.
        """
        columns = f"* exclude ({slice_.day})" if slice_.day and not with_day else "*"
        sources = self._sources(slice_, days)

        def write(day: date | None) -> Staged:
            path = self.folder / f"{slice_.model}_{day or UNDATED}.parquet"
            with self._cursor() as cursor:
                [(rows,)] = cursor.execute(
                    f"copy (select {columns} {sources[day]}) to '{_quoted(path)}'"
                    # no Bloom filters: of columns of few values only, for a quarter of the
                    # writing (1M rows: 1.5 s of CPU, not 1.2)
                    " (format parquet, compression zstd, write_bloom_filter false"
                    f"{_row_groups(days[day])})"
                ).fetchall()
            content = path.read_bytes()
            sha256 = hashlib.sha256(content).hexdigest()
            return Staged(slice_.model, day, path, int(rows), len(content), sha256)

        # a file of one day is one row group or a few, which one core writes
        with ThreadPoolExecutor(FILES_AT_ONCE) as writers:
            yield from writers.map(write, sorted(days, key=str))
        self.connection.execute(f"drop table if exists {COLLECTED}")

    def _sources(self, slice_: Slice, days: Mapping[date | None, int]) -> dict[date | None, str]:
        """SQL of where the rows of each day come from, in the order of the key."""
        order = f"order by {', '.join(slice_.order)}"
        if not slice_.day or not days:
            return dict.fromkeys(days, f"from ({slice_.query}) {order}")
        found = {day: f"where {slice_.day} = date '{day}'" for day in days}
        parts = self.parts.get(slice_.model, ()) if slice_.is_cut_by_day else ()
        if not parts:
            self._collect(slice_, days)
            return {day: f"from {COLLECTED} {where} {order}" for day, where in found.items()}
        oldest = self.connection.execute("select workspace_id, oldest_date from scope").fetchall()
        covering = {day: [part for part in parts if day and part.covers(day)] for day in days}
        in_order = self._in_order(slice_, {part for some in covering.values() for part in some})
        for day, some in covering.items():
            owners = [id_ for id_, oldest_day in oldest if day and oldest_day <= day]
            rows = slice_.query_of(f"read_parquet({_listed(some)})", owners)
            found[day] = f"from ({rows}) {found[day]}"
            if len(some) > 1 or days[day] > MOST or not in_order.issuperset(some):
                found[day] += f" {order}"
        return found

    def _in_order(self, slice_: Slice, parts: Collection[_Part]) -> set[_Part]:
        """Those of some parts that tell to be sorted as the files are to be."""
        if not slice_.sorted_by or not parts:
            return set()
        rows = self.connection.execute(
            f"select file_name from parquet_kv_metadata({_listed(parts)})"
            " where key = encode(?) and value = encode(?)",
            [SORTED_BY, slice_.sorted_by],
        ).fetchall()
        names = {name for (name,) in rows}
        return {part for part in parts if part.path in names}

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self.connection.cursor() as cursor:
            if self.key is not None:
                bind_key(cursor, self.key)
            yield cursor

    def _collect(self, slice_: Slice, days: Collection[date | None]) -> None:
        """Put the rows of some days aside.

        A pass over the whole mart for each of them takes 10 times as long, of a year.
        """
        # no temporary table, which other cursors would not see
        self.connection.execute(
            f"create or replace table {COLLECTED} as select * from ({slice_.query})"
            f" where list_contains(?::date[], {slice_.day})",
            [sorted(filter(None, days))],
        )

    # single events, each of which leaves once

    def read_sent(self, lines: Sequence[tuple[str, ...]] = (), files: Sequence[Path] = ()) -> None:
        """Make known which events left before.

        From the Parquet file SENT in the reader's folder; or from lines of JSON in `files`, each of
        `lines` being a way to find the three parts of EVENT_KEY in a line.
        """
        key = ", ".join(EVENT_KEY)
        self.connection.execute(
            "create or replace temp table sent"
            " (workspace_id varchar, source_table varchar, event_id varchar)"
        )
        if (self.folder / SENT).exists():
            path = _quoted(self.folder / SENT)
            self.connection.execute(f"insert into sent select {key} from read_parquet('{path}')")
        if files:
            listed = ", ".join(f"'{_quoted(path)}'" for path in files)
            parts = ", ".join(
                "coalesce(" + ", ".join(f"json->>'{way[part]}'" for way in lines) + ")"
                for part in range(len(EVENT_KEY))
            )
            self.connection.execute(
                f"insert into sent select {parts}"
                f" from read_ndjson_objects([{listed}], compression = 'gzip')"
            )

    def stage_new(self, slice_: Slice, days: Collection[date | None] | None = None) -> int:
        """Put the events that did not leave before aside, of some days or of all; their number."""
        chosen = f" where list_contains(?::date[], {slice_.day})" if days is not None else ""
        self.connection.execute(
            f"create or replace temp table fresh as select * from ({slice_.query}) as found"
            f" anti join sent using ({', '.join(EVENT_KEY)}){chosen}",
            [sorted(day for day in days if day)] if days is not None else [],
        )
        [(rows,)] = self.connection.execute("select count(*) from fresh").fetchall()
        return int(rows)

    def new_rows(self, first: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """The events put aside by `stage_new` in the order of their time; `first`: before that."""
        order = ", ".join((*first, "occurred_at", *EVENT_KEY))
        found = self.connection.execute(f"select * from fresh order by {order}")
        names = [column[0] for column in found.description or ()]
        while rows := found.fetchmany(ROWS_AT_ONCE):
            yield from (dict(zip(names, row, strict=True)) for row in rows)

    def count_new(self, slice_: Slice, settled: Collection[date | None] = ()) -> int:
        """Events that did not leave before, counted at their source; without `settled` days."""
        key = ", ".join(EVENT_KEY)
        marts = ", ".join(f"mart.{name}" for name in EVENT_KEY)
        [(rows,)] = self.connection.execute(
            f"select count(*) from (select {marts}, cast(mart.occurred_at as date) as day"
            f" {slice_.source}) as found left join sent using ({key})"
            " where sent.event_id is null and not list_contains(?::date[], day)",
            [[day for day in settled if day]],
        ).fetchall()
        return int(rows)
