"""Published parts: event-grain marts as immutable Parquet files, one for a range of days.

Belongs here: which marts are published so, which of their parts a publish writes anew, how a part
is written. Does not belong here: when (defs/publish.py), what a version says of its parts
(contents.py), which files are deleted (snapshots.py).

A part is `parts/<mart>/2025-01-31_v000012.parquet`, or of a whole calendar month
`2025-01-01_2025-01-31_v000012.parquet`; the number is that of the version it was written for. Its
metadata tell by which columns it is sorted (`sorted_by`), which shares go by.
"""

import calendar
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb

from dagster_project import catalog, snapshots
from dagster_project.warehouse import quoted

# A change costs the part it falls into: of 100,000 rows a day (30 million rows, 782 MB in 300 days)
# a day takes 0.2 s of CPU, its month 6.6 s. With a week's wait, a run of eight days changed took
# 1.9 s of CPU when they were the newest, 14.7 s when some were up to 65 days late. A reader gains
# little: 36 files instead of 320 make a count 0.02 s instead of 0.04, a look at one day 0.04
# instead of 0.05. So a month waits until hardly anything is late for it; ten years are about 210
# files instead of 3,650.
DAYS_PAST_MONTH = 60
META = "published_by_day"
UNDATED = "undated"


@dataclass(frozen=True)
class DailyMart:
    """A mart that is published in parts, as its model says under `meta: published_by_day`.

    `day` is an SQL expression of its columns, `changed_in` the log of changed days in schema
    <environment>_intermediate, `source_table` that of the log's rows which count (None: all).
    `key` orders the rows of a day; empty means by all columns.
    """

    name: str
    day: str
    changed_in: str
    source_table: str | None = None
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Span:
    """The days of a part, first and last; both None for the rows that have no day."""

    first: date | None
    last: date | None

    def covers(self, day: date) -> bool:
        """Whether a day is among them."""
        return self.first is not None and self.last is not None and self.first <= day <= self.last


NO_DAY = Span(None, None)


@dataclass(frozen=True)
class Part:
    """One published file of a mart."""

    mart: str
    span: Span
    path: Path
    row_count: int
    byte_count: int

    @property
    def is_whole(self) -> bool:
        """Whether the file is there with the size it was written with."""
        try:
            return self.path.stat().st_size == self.byte_count
        except OSError:
            return False


def daily_marts(manifest: Mapping[str, Any], environment: str) -> list[DailyMart]:
    """The marts of an environment that are published in parts; sorted by name."""
    found = []
    for model in catalog.models(manifest):
        meta = (model["config"].get("meta") or {}).get(META)
        if model["schema"] == environment and meta:
            found.append(
                DailyMart(
                    name=catalog.asset_path(model)[1],
                    day=meta["day"],
                    changed_in=meta["changed_in"],
                    source_table=meta.get("source_table"),
                    key=tuple(catalog.key_columns(manifest, model["unique_id"])),
                )
            )
    return sorted(found, key=lambda mart: mart.name)


def span_of(day: date, newest: date) -> Span:
    """The part a day belongs to when the newest day of its mart is `newest`."""
    last = day.replace(day=calendar.monthrange(day.year, day.month)[1])
    if newest - last >= timedelta(days=DAYS_PAST_MONTH):
        return Span(day.replace(day=1), last)
    return Span(day, day)


def spans_to_write(
    standing: Collection[Span], changed: Iterable[date], lost: Collection[Span] = ()
) -> set[Span]:
    """Which spans a publish writes anew, given those that stand, the changed days and lost files.

    Written are: what holds a changed day, what was lost, and a month whose days are due to become
    one part. A month that is one part stays one. Spans that stand and are not within a written one
    are kept as they are. NO_DAY is nobody's business here.
    """
    months = [span for span in standing if span.first != span.last]
    firsts = {span.first: span for span in standing if span.first}
    changed = set(changed)
    newest = max(changed | {span.last for span in standing if span.last}, default=None)
    if newest is None:
        return set()

    def home(day: date) -> Span:
        return next((month for month in months if month.covers(day)), span_of(day, newest))

    written = {home(day) for day in changed}
    for first, span in firsts.items():
        if home(first) != span or span in lost:
            written.add(home(first))
    return written


def is_replaced(span: Span, written: Iterable[Span]) -> bool:
    """Whether a standing span goes because a written one holds its days."""
    return span.first is not None and any(other.covers(span.first) for other in written)


def file_name(span: Span, number: int) -> str:
    """`2025-01-31_v000012.parquet`; the last day too where it is another."""
    days = dict.fromkeys(str(day) for day in (span.first, span.last) if day) or [UNDATED]
    return f"{'_'.join(days)}_v{number:06d}.parquet"


def folder_of(published: Path, mart: str) -> Path:
    """The parts of one mart in the published folder of an environment."""
    return published / "parts" / mart


@dataclass(frozen=True)
class Writer:
    """Writes the parts of one version from the marts as they are built.

    `schema` is the qualified schema of the marts on `connection`, `published` the folder of the
    environment, `number` that of the version.
    """

    connection: duckdb.DuckDBPyConnection
    schema: str
    published: Path
    number: int

    def renew(
        self, mart: DailyMart, standing: Sequence[Part], changed: Collection[date] | None
    ) -> list[Part]:
        """Write what changed of a mart; returns all parts it has now, reused and new, by day.

        `changed` None means every day, whatever stands. A day that became empty has no part any
        more; a mart without rows has one empty part, which gives its columns and types.
        """
        folder_of(self.published, mart.name).mkdir(parents=True, exist_ok=True)
        if changed is None:
            standing, changed = [], self._days(mart)
        dated = [part for part in standing if part.span != NO_DAY]
        lost = [part.span for part in dated if not part.is_whole]
        spans = spans_to_write([part.span for part in dated], changed, lost)
        parts = [part for part in dated if not is_replaced(part.span, spans)]
        written = [self._write(mart, span) for span in sorted(spans, key=str)]
        parts += [part for part in written if part]
        parts += self._undated(mart, standing, is_needed=not parts)
        snapshots.flush(folder_of(self.published, mart.name))
        return sorted(parts, key=lambda part: str(part.span.first or ""))

    def _days(self, mart: DailyMart) -> set[date]:
        query = f"select distinct {mart.day} from {self.schema}.{mart.name}"
        return {day for (day,) in self.connection.execute(query).fetchall() if day}

    def _undated(self, mart: DailyMart, standing: Sequence[Part], *, is_needed: bool) -> list[Part]:
        # The log speaks of days, so these rows are written anew each time. To find that there are
        # none costs 1 ms for 30 million rows: column statistics say so.
        rows = self.connection.execute(
            f"select count(*) from {self.schema}.{mart.name} where ({mart.day}) is null"
        ).fetchall()[0][0]
        if not rows and not is_needed:
            return []
        empty = [p for p in standing if p.span == NO_DAY and not p.row_count and p.is_whole]
        if not rows and empty:
            return empty
        part = self._write(mart, NO_DAY, may_be_empty=True)
        return [part] if part else []

    def _write(self, mart: DailyMart, span: Span, *, may_be_empty: bool = False) -> Part | None:
        final = folder_of(self.published, mart.name) / file_name(span, self.number)
        unfinished = final.with_name(f".{final.name}.tmp")
        order = [mart.day, *(mart.key or self._columns(mart))]
        (rows,) = self.connection.execute(
            f"""
            copy (
                select * from {self.schema}.{mart.name}
                where {condition(mart.day, span)} order by ({"), (".join(order)})
            ) to '{quoted(unfinished)}' (
                format parquet, compression zstd,
                kv_metadata {{sorted_by: '{", ".join(order).replace("'", "''")}'}}
            )
            """
        ).fetchall()[0]
        if not rows and not may_be_empty:
            unfinished.unlink()
            return None
        # DuckDB's list of paths that a locked-down reader may read lets it write there too
        unfinished.chmod(0o444)
        snapshots.flush(unfinished)
        unfinished.replace(final)
        return Part(mart.name, span, final, int(rows), final.stat().st_size)

    def _columns(self, mart: DailyMart) -> list[str]:
        rows = self.connection.execute(f"describe {self.schema}.{mart.name}").fetchall()
        return [f'"{row[0]}"' for row in rows]


def condition(day: str, span: Span) -> str:
    """SQL that is true of the rows of a span.

    A day is asked for by equality: DuckDB then skips the row groups of other days, also where
    the day is a cast (8 ms of 30 million rows, where `between` reads them all: 300 ms).
    """
    if span.first is None or span.last is None:
        return f"({day}) is null"
    days = (span.first + timedelta(days=n) for n in range((span.last - span.first).days + 1))
    return "(" + " or ".join(f"({day}) = date '{one}'" for one in days) + ")"


def read_changed_days(
    connection: duckdb.DuckDBPyConnection, environment: str, mart: DailyMart, batch: int
) -> set[date]:
    """The days of a mart that changed after a batch, from its log."""
    query = (
        f"select distinct activity_date from {environment}_intermediate.{mart.changed_in}"
        " where _batch > ? and activity_date is not null"
    )
    values: list[Any] = [batch]
    if mart.source_table:
        query += " and source_table = ?"
        values.append(mart.source_table)
    return {day for (day,) in connection.execute(query, values).fetchall()}
