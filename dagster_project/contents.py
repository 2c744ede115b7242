"""What a published version says of itself: schema `published` inside its file, and its views.

Belongs here: the bookkeeping of a version, its views over parts, the batches behind its figures,
SQL macros for readers. Does not belong here: how parts are written (parts.py), names and files
(snapshots.py), the order of steps (defs/publish.py).

Views name their parts by absolute path, as DuckDB resolves a relative one against the reader's
own folder. After ROLLCALL_HOME was moved or copied, publish again: the next publish finds the
parts by name under its own folder, whatever path is on record, and writes the views anew.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from dagster_project import snapshots
from dagster_project.builds import Inputs
from dagster_project.parts import DailyMart, Part, Span, folder_of
from dagster_project.snapshots import Version
from dagster_project.warehouse import NO_DOWNLOADS, quoted
from landing import TABLES

# Entities have no day of their own: a merge or a plan can move any.
BATCHES = """
    batch bigint not null,
    source_table varchar not null,
    activity_date date,
    landed_at timestamp,
    path varchar,
    accepted bigint not null,
    displaced bigint not null
"""

BATCHES_BEHIND = """
    create macro published.batches_behind(
        source_tables, from_day, to_day, after_batch
    ) as table
    select
        batch,
        landed_at,
        path,
        source_table,
        min(activity_date) as first_date,
        max(activity_date) as last_date,
        cast(sum(accepted) as bigint) as accepted,
        cast(sum(displaced) as bigint) as displaced
    from published.batches
    where batch > after_batch
        and list_contains(source_tables, source_table)
        and (activity_date between from_day and to_day or activity_date is null)
    group by batch, landed_at, path, source_table
    order by batch
"""


@dataclass(frozen=True)
class Published:
    """What a version file says: of which inputs it is, when it was published, its parts.

    `definitions` is the fingerprint of how its daily marts are cut, `published_at` UTC without
    zone.
    """

    version: Version
    logic: str
    warehouse: str
    definitions: str
    published_at: datetime
    parts: tuple[Part, ...]

    def parts_of(self, mart: str, published: Path) -> list[Part]:
        """The parts of one mart as they are to be found under a published folder."""
        folder = folder_of(published, mart)
        return [
            Part(mart, part.span, folder / part.path.name, part.row_count, part.byte_count)
            for part in self.parts
            if part.mart == mart
        ]


def definitions_of(daily: Sequence[DailyMart], generation: int = 0) -> str:
    """A fingerprint of days, keys and logs; they stand in .yml files, which are no logic.

    `generation`: how often raw was rewritten, after which no part is what it was.
    """
    text = json.dumps([asdict(mart) for mart in daily]) + (str(generation) if generation else "")
    return hashlib.sha256(text.encode()).hexdigest()


def must_renew_everything(before: Published | None, inputs: Inputs, definitions: str) -> bool:
    """Whether no part of the version before can be trusted to be as the marts are now."""
    return before is None or (before.warehouse, before.logic, before.definitions) != (
        inputs.warehouse,
        inputs.logic,
        definitions,
    )


def read(path: Path) -> Published | None:
    """What a version file says of itself; None when it is from before versions did.

    Opens a connection of its own, also while the same file is open elsewhere. Raises
    duckdb.Error when the file is none of DuckDB's.
    """
    with _reader() as connection:
        return _read(connection, path)


def read_all(folder: Path) -> tuple[dict[Version, datetime], dict[Version, Published], bool]:
    """All versions of a published folder: when each was published, and what each says.

    The last value is whether every file could be read; 3 ms a version.
    """
    moments: dict[Version, datetime] = {}
    said: dict[Version, Published] = {}
    is_certain = True
    with _reader() as connection:
        for version in snapshots.versions(folder):
            path = folder / version.file_name
            # by the file's time where it does not say
            moments[version] = datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(
                tzinfo=None
            )
            try:
                found = _read(connection, path)
            except duckdb.Error:
                is_certain = False
                continue
            if found:
                said[version] = found
                moments[version] = found.published_at
    return moments, said, is_certain


def _reader() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={**NO_DOWNLOADS, "threads": 1})


def _read(connection: duckdb.DuckDBPyConnection, path: Path) -> Published | None:
    version = snapshots.parse_version(path.name)
    connection.execute(f"attach '{quoted(path)}' as this (read_only)")
    try:
        [(logic, warehouse, definitions, moment)] = connection.execute(
            "select logic, warehouse_id, definitions, published_at from this.published.version"
        ).fetchall()
        parts = connection.execute(
            "select mart, first_date, last_date, path, row_count, byte_count"
            " from this.published.parts"
        ).fetchall()
    except duckdb.CatalogException:
        return None
    finally:
        connection.execute("detach this")
    listed = tuple(
        Part(mart, Span(first, last), Path(part), rows, size)
        for mart, first, last, part, rows, size in parts
    )
    return Published(version, logic, warehouse, definitions, moment, listed) if version else None


def read_current(folder: Path) -> Published | None:
    """What the newest version of a published folder says; None where there is nothing to read."""
    current = snapshots.current_version(folder)
    try:
        return read(folder / current.file_name) if current else None
    except duckdb.Error:
        # publishing everything anew is the cure
        return None


def lacks_parts(folder: Path) -> bool:
    """Whether the newest version lists a part that is not there: it has to be published anew.

    So it is after the folder was moved. Costs one small file and a stat a part.
    """
    said = read_current(folder)
    return said is not None and not all(part.is_whole for part in said.parts)


@dataclass(frozen=True)
class Candidate:
    """A version being written: attached to the connection of the build file as `catalog`."""

    connection: duckdb.DuckDBPyConnection
    environment: str
    catalog: str = "candidate"

    def describe(self, version: Version, inputs: Inputs, definitions: str, now: datetime) -> None:
        """Create schema published and say which version this is."""
        self.connection.execute(
            f"""
            create schema {self.catalog}.published;
            create table {self.catalog}.published.version (
                version bigint not null,
                batch bigint not null,
                digest varchar not null,
                logic varchar not null,
                warehouse_id varchar not null,
                definitions varchar not null,
                published_at timestamp not null,
                generation bigint not null
            );
            create table {self.catalog}.published.parts (
                mart varchar not null,
                first_date date,
                last_date date,
                path varchar not null,
                row_count bigint not null,
                byte_count bigint not null
            );
            create table {self.catalog}.published.batches ({BATCHES});
            """
        )
        # a macro's tables are looked for when it is created, in the current database
        [(build,)] = self.connection.execute("select current_database()").fetchall()
        self.connection.execute(f"use {self.catalog}")
        self.connection.execute(BATCHES_BEHIND)
        self.connection.execute(f'use "{build}"')
        self.connection.execute(
            f"insert into {self.catalog}.published.version values (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                version.number,
                version.batch,
                version.digest,
                inputs.logic,
                inputs.warehouse,
                definitions,
                now.replace(tzinfo=None),
                inputs.generation,
            ],
        )

    def list_parts(self, parts: Sequence[Part]) -> None:
        """Record parts in published.parts."""
        columns = zip(
            *(
                (p.mart, p.span.first, p.span.last, str(p.path), p.row_count, p.byte_count)
                for p in parts
            ),
            strict=True,
        )
        # one statement: row by row, 1,000 parts (12 marts, 300 days) took a second
        if parts:
            self.connection.execute(
                f"insert into {self.catalog}.published.parts select unnest(?::varchar[]),"
                " unnest(?::date[]), unnest(?::date[]), unnest(?::varchar[]), unnest(?::bigint[]),"
                " unnest(?::bigint[])",
                [list(column) for column in columns],
            )

    def show(self, mart: str, parts: Iterable[Part]) -> None:
        """Replace a mart's view over the build file by one over its parts, columns named.

        Raises ValueError when Parquet gave a column another type than the model has.
        """
        expected = self._columns(f"{self.environment}_marts", mart)
        paths = ", ".join(f"'{quoted(part.path)}'" for part in parts)
        names = ", ".join(f'"{name}"' for name, _ in expected)
        view = f'{self.catalog}.{self.environment}."{mart}"'
        self.connection.execute(f"drop view if exists {view}")
        self.connection.execute(
            f"create view {view} as select {names} from read_parquet([{paths}])"
        )
        if (found := self._columns(self.catalog, mart)) != expected:
            changed = [f"{was} became {now}" for was, now in zip(expected, found, strict=True)]
            raise ValueError(f"{mart} can't be published in Parquet: {'; '.join(changed)}")

    def _columns(self, catalog: str, mart: str) -> list[tuple[str, str]]:
        rows = self.connection.execute(f'describe {catalog}.{self.environment}."{mart}"').fetchall()
        return [(row[0], row[1]) for row in rows]

    def note_batches(self, inputs: Inputs, before: Path | None, batch: int) -> None:
        """Fill published.batches: those of the version before, and what landed after `batch`.

        Which batch brought or displaced how many rows of which day of this environment. What a
        later batch displaced still counts as brought by its own, so that no order of publishes
        makes a difference. The batches of the version before are copied, 30 bytes a row; of the
        raw tables only the newer batches are read.
        """
        if before:
            self.connection.execute(f"attach '{quoted(before)}' as version_before (read_only)")
            self.connection.execute(
                f"insert into {self.catalog}.published.batches"
                " from version_before.published.batches where batch <= ?",
                [batch],
            )
            self.connection.execute("detach version_before")
        tables = self._raw_tables()
        if not tables:
            return
        moved = " union all ".join(_moved_by(table) for table in tables)
        self.connection.execute(
            f"""
            insert into {self.catalog}.published.batches
            with moved as ({moved})
            select
                moved.batch,
                moved.source_table,
                moved.activity_date,
                any_value(landed_files.landed_at),
                any_value(landed_files.path),
                cast(sum(moved.accepted) as bigint),
                cast(sum(moved.displaced) as bigint)
            from moved
            left join raw.landed_files on moved.batch = landed_files._batch
            group by all
            order by all
            """,
            {"after": batch, "upto": inputs.batch, "environment": self.environment},
        )

    def _raw_tables(self) -> list[str]:
        """Record tables that are there; none before the first landing."""
        rows = self.connection.execute(
            "select table_name from duckdb_tables()"
            " where database_name = current_database() and schema_name = 'raw'"
        ).fetchall()
        return sorted({name for (name,) in rows} & set(TABLES))


def _moved_by(name: str) -> str:
    """SELECT of what batches moved in one raw table: (batch, table, day, accepted, displaced)."""
    if TABLES[name].family == "entity":
        # of no environment and no day: it may touch every figure
        return f"""
            select _batch as batch, '{name}' as source_table, null::date as activity_date,
                count(*) as accepted, 0 as displaced
            from raw.{name} where _batch > $after and _batch <= $upto group by all
        """
    return " union all ".join(
        f"""
        select {batch} as batch, '{name}' as source_table, _activity_date as activity_date,
            {accepted} as accepted, {displaced} as displaced
        from raw.{table}
        where {batch} > $after and {batch} <= $upto and environment = $environment
            {condition} group by all
        """
        for table, batch, accepted, displaced, condition in (
            (name, "_batch", "count(*)", "0", ""),
            ("superseded_records", "_superseded_batch", "count(*)", "0", _only(name)),
            ("superseded_records", "_batch", "0", "count(*)", _only(name)),
        )
    )


def _only(table: str) -> str:
    return f"and table_name = '{table}'"
