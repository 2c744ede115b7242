"""From files at rest to raw tables: one transaction a file.

Belongs here: the order of the steps and what happens when one fails. Does not: the steps
(`discover`, `prescan`, `tabular`, `fastpath`, `examine`, `store`, `ledger`).
"""

import errno
import functools
import hashlib
import itertools
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import orjson

from landing import reasons
from landing.contract import MAX_LINE_BYTES, TABLES, event_types
from landing.discover import Found, days_named, discover
from landing.erasing import NO_DETAILS, Erased, read_erased, set_aside
from landing.examine import (
    EPOCH,
    MICROSECOND,
    Accepted,
    Examiner,
    Rejected,
    canonical,
    place_of_rejected,
)
from landing.fastpath import stage_sql
from landing.keys import create_keys
from landing.ledger import Entry, Ledger, roll_back
from landing.prescan import KEPT_OF_LONG_LINE, OddLine, Slice, TextScan, file_digest
from landing.reasons import FileFailure, Reason
from landing.schema import create_raw_schema
from landing.secrets import SecretRules, load_rules
from landing.store import Counts, FileRows, check_balance
from landing.tabular import OddRecord, csv_slices, parquet_slices, quote

FUTURE_TOLERANCE = timedelta(hours=24)
KEPT_OF_REJECTED = 64 << 10
PREFILTERED_LINES = 5_000
PREFILTERED_FROM_LINES = 500
# below this many bytes the set-up of the SQL path costs more than examining in Python
FAST_FROM_BYTES = 256 << 10

_log = logging.getLogger(__name__)
_NOT_THE_FILES_FAULT = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


@dataclass(frozen=True)
class FileResult:
    """What became of one file in this run; counts are lines."""

    path: str
    table_name: str | None
    status: str
    reason: str | None
    lines: int
    accepted: int
    duplicates: int
    conflicts: int
    rejected: int
    batch: int
    seconds: float
    redactions: dict[str, int] = field(default_factory=dict)

    @property
    def message(self) -> str | None:
        """What is wrong with the file and what to do, or None if nothing is."""
        return None if self.reason is None else reasons.message(self.path, self.reason)


@dataclass(frozen=True)
class LandingReport:
    """The files that were looked at in this run; settled ones are not listed."""

    files: list[FileResult] = field(default_factory=list)


def land(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    *,
    run_id: str,
    clock: datetime,
    on_file: Callable[[FileResult], None] | None = None,
) -> LandingReport:
    """Land every new file below `folder` into schema `raw` of the connection's database.

    clock: the landing time, with zone (without one it is taken as UTC); times more than 24 hours
    after it are rejected. on_file: called after each file's transaction. The connection must not
    be in a transaction. Raises LandingError when the folder does not exist.
    """
    landed_at = (clock.astimezone(UTC) if clock.tzinfo else clock).replace(tzinfo=None)
    create_raw_schema(connection)
    create_keys(connection)
    connection.execute("set preserve_insertion_order = true")  # line numbers depend on it
    # A checkpoint writes the last row group of every table anew: one for every 256 MB, not for
    # every small file (files of 10,000 lines: 24 ms of CPU each instead of 60).
    connection.execute("set wal_autocheckpoint = '256MB'")
    ledger = Ledger(connection, run_id, landed_at)
    ledger.load()
    report = LandingReport()
    with tempfile.TemporaryDirectory(prefix="rollcall-landing-") as work:
        erased = read_erased(connection)
        run = _Run(connection, ledger, Path(work), load_rules(), erased)
        for listed in discover(folder):
            found = listed._replace(path=erased.scrub(listed.path)) if erased else listed
            if ledger.is_settled(found):
                continue
            result = run.land_file(found)
            if result is not None:
                report.files.append(result)
                if on_file is not None:
                    on_file(result)
    for name in ("staged", "met", "contested", "ranked"):
        connection.execute(f"drop table if exists temp.{name}")
    return report


@dataclass
class _Run:
    connection: duckdb.DuckDBPyConnection
    ledger: Ledger
    work: Path
    rules: SecretRules
    erased: Erased

    def land_file(self, found: Found) -> FileResult | None:
        """One file in its own transaction; None if it has to wait for the next run."""
        started = time.perf_counter()
        self.connection.begin()
        try:
            result = self._land(found, started)
        except FileFailure as failure:
            roll_back(self.connection)
            return self._fail(found, failure, started)
        except OSError as error:
            roll_back(self.connection)
            if error.errno in _NOT_THE_FILES_FAULT:
                raise
            return self._fail(found, FileFailure(Reason.FILE_UNREADABLE, str(error)), started)
        except BaseException:
            roll_back(self.connection)
            raise
        if result is None:
            roll_back(self.connection)
        return result

    def _fail(self, found: Found, failure: FileFailure, started: float) -> FileResult:
        if failure.detail and failure.detail != failure.reason:
            # what a reader complains of may quote what it read
            detail = self.rules.redact_line(failure.detail, Counter())
            _log.warning("%s: %s", found.path, detail)
        self.connection.begin()
        try:
            entry = self.ledger.write(found, "failed", reason=failure.reason)
            return self._commit(found, entry, Counts(), started, reason=failure.reason)
        except BaseException:
            roll_back(self.connection)
            raise

    def _commit(  # noqa: PLR0913
        self,
        found: Found,
        entry: Entry,
        counts: Counts,
        started: float,
        *,
        reason: str | None = None,
        redactions: dict[str, int] | None = None,
    ) -> FileResult:
        batch = self.ledger.commit(entry)
        return FileResult(
            path=found.path,
            table_name=found.table_name,
            status=entry.status,
            reason=reason,
            lines=counts.lines,
            accepted=counts.accepted,
            duplicates=counts.duplicates,
            conflicts=counts.conflicts,
            rejected=counts.rejected,
            batch=batch,
            seconds=time.perf_counter() - started,
            redactions=redactions or {},
        )

    def _land(self, found: Found, started: float) -> FileResult | None:
        if found.problem is not None:
            raise FileFailure(found.problem)
        landed = self.ledger.landing_of(found.path)
        if landed is not None:
            digest = file_digest(found.absolute)
            if not _is_unchanged(found):
                return None
            if digest == landed.sha256:
                self.ledger.touch(found)
                self.connection.commit()
                self.connection.begin()
                return None
            entry = self.ledger.write(found, "changed", reason=Reason.FILE_CHANGED, sha256=digest)
            return self._commit(found, entry, Counts(), started, reason=Reason.FILE_CHANGED)
        if (found.table_name, found.bytes) in self.ledger.sizes:
            twin = self.ledger.by_content.get((found.table_name, file_digest(found.absolute)))
            if twin is not None:
                return self._land_same(found, started)
        table = TABLES[str(found.table_name)]
        rows = FileRows(
            self.connection, table, found.path, self.ledger.next_batch, self.ledger.landed_at
        )
        reader = _FileReader(self, found, rows)
        digest = reader.read()
        received = rows.finish(reader.redactions)
        check_balance(rows.counts, found.path)
        if not _is_unchanged(found):
            _log.warning("%s is still being written and is left for the next run", found.path)
            return None
        entry = self.ledger.write(
            found,
            "landed",
            sha256=digest,
            counts=rows.counts,
            covers=days_named(found.path) or received,
            received=received,
        )
        return self._commit(found, entry, rows.counts, started, redactions=dict(reader.redactions))

    def _land_same(self, found: Found, started: float) -> FileResult | None:
        digest = file_digest(found.absolute)
        twin = self.ledger.by_content[found.table_name, digest]
        if not _is_unchanged(found):
            return None
        counts = Counts(lines=twin.lines, duplicates=twin.lines)
        # not what the twin covers: its own name may have said so, and which one lands first must
        # not tell
        received = None
        if twin.received_from is not None and twin.received_to is not None:
            received = (twin.received_from, twin.received_to)
        if counts.duplicates:
            self.connection.execute(
                "insert into raw.duplicate_records values (?, ?, ?, ?)",
                [found.table_name, found.path, counts.duplicates, self.ledger.next_batch],
            )
            # what was rejected of the twin is a copy here, like every other line
            self.connection.execute(
                """
                insert into raw.received_lines
                select table_name, ?, environment, received_date, line_count, 0, ?
                from raw.received_lines where _file = ?
                """,
                [found.path, self.ledger.next_batch, twin.path],
            )
        entry = self.ledger.write(
            found,
            "same_content",
            sha256=digest,
            counts=counts,
            covers=days_named(found.path) or received,
            received=received,
        )
        return self._commit(found, entry, counts, started)


def _is_unchanged(found: Found) -> bool:
    status = found.absolute.stat()
    return (status.st_size, status.st_mtime_ns) == (found.bytes, found.mtime_ns)


class _FileReader:
    """Stages the records of one file, slice by slice, and hands them to its FileRows."""

    def __init__(self, run: _Run, found: Found, rows: FileRows) -> None:
        self.run = run
        self.connection = run.connection
        self.found = found
        self.table = rows.table
        self.rows = rows
        self.redactions: Counter[str] = Counter()
        self.twins: Counter[bytes] = Counter()  # audit records without id, by content
        latest = rows.landed_at.replace(tzinfo=UTC) + FUTURE_TOLERANCE
        self.examiner = Examiner(
            table=self.table,
            types=event_types().get(self.table.name, ()),
            rules=run.rules,
            latest_us=(latest - EPOCH) // MICROSECOND,
        )

    def read(self) -> str:
        """Stage and insert everything; returns the file's SHA-256."""
        if self.found.format == "parquet":
            digest = file_digest(self.found.absolute)
            [(memory,)] = self.connection.execute(
                "select current_setting('memory_limit')"
            ).fetchall()
            for part in parquet_slices(self.found.absolute, self.table, self.run.work, memory):
                self._read_slice(part)
            return digest
        scan = TextScan(self.found.absolute, self.found.compression)
        slices = (
            csv_slices(scan, self.table, self.run.work)
            if self.found.format == "csv"
            else scan.slices(self.run.work)
        )
        for part in slices:
            self._read_slice(part)
        return scan.sha256

    def _read_slice(self, part: Slice) -> None:
        size = part.path.stat().st_size
        if self.table.family != "event" or size < FAST_FROM_BYTES:
            self._examine(self._prefiltered(_lines(part)))
            self._examine_odd(part.odd)
            self.rows.insert_staged()
            return
        # small buffers, or a slice would be read by one thread
        lines = f"""
            select text
            from read_csv(
                {quote(str(part.path))}, columns = {{text: 'VARCHAR'}}, auto_detect = false,
                header = false, delim = chr(1), quote = '', escape = '', strict_mode = false,
                max_line_size = {2 * MAX_LINE_BYTES}, buffer_size = {4 * MAX_LINE_BYTES}
            )
        """
        self._stage(lines, part.first_line)
        self._examine_odd(part.odd)
        self.rows.insert_staged()

    def _stage(self, lines: str, first_line: int) -> None:
        """Stage the texts of a query: by SQL where possible, the others one by one."""
        query = stage_sql(
            self.table,
            lines,
            self.examiner.types,
            self.examiner.latest_us,
            self.run.rules.prefilter,
        )
        aside = functools.partial(set_aside, self.connection, self.table, self.run.erased)
        left = self.rows.stage(query, first_line, aside if self.run.erased else None)
        # to compile the pattern takes as long (10 ms) as to search some hundred lines without it
        rest = self.rows.left_over(
            "false" if left < PREFILTERED_FROM_LINES else self._is_clean("payload")
        )
        if rest:
            self._examine(rest)

    def _is_clean(self, text: str) -> str:
        """Return SQL: no value rule can match in the text."""
        matches = f"regexp_matches({text}, {quote(self.run.rules.prefilter)})"
        return f"not contains({text}, '\\') and not {matches}"

    def _prefiltered(self, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str, bool]]:
        """Say of each line whether no value rule can match it; RE2 does it 30 times faster."""
        query = f"select {self._is_clean('text')} from (select unnest(?::varchar[]) as text)"
        while chunk := list(itertools.islice(lines, PREFILTERED_LINES)):
            clean = self.connection.execute(query, [[text for _, text in chunk]]).fetchall()
            for (number, text), (is_clean,) in zip(chunk, clean, strict=True):
                yield number, text, is_clean

    def _examine(self, lines: Iterable[tuple[int, str, bool]]) -> None:
        """Examine lines in Python and insert what is accepted, quarantine what is not."""
        rejected: list[tuple[int, str, str | None, str]] = []
        found: Counter[str] = Counter()
        path = self.run.work / "examined"
        any_accepted = False
        with path.open("wb") as file:
            for line, text, values_clean in lines:
                self.rows.counts.lines += 1
                verdict = self.examiner.examine(text, found, values_clean=values_clean)
                if isinstance(verdict, Rejected):
                    found.clear()
                    rejected.append(self._rejection(line, verdict, text))
                    continue
                any_accepted = True
                if found:
                    self.redactions.update(found)
                    found.clear()
                if verdict.drift:
                    self.rows.note_drift(line, verdict.drift)
                file.write(self._staged_row(line, verdict, text))
                file.write(b"\n")
        if any_accepted:
            self.rows.insert_examined(path)
        path.unlink()
        self.rows.insert_rejected(rejected)

    def _staged_row(self, line: int, accepted: Accepted, text: str) -> bytes:
        values = accepted.values
        if self.table.family == "audit" and "id" not in values:
            values["id"] = self._derived_id(accepted)
        payload, extras = accepted.payload, accepted.extras
        if self.run.erased and self.run.erased.take_out(self.table.name, values, text):
            payload, extras = NO_DETAILS, None
        values["payload"] = payload
        values["extras"] = extras
        values["_line"] = line
        return orjson.dumps(values)

    def _derived_id(self, accepted: Accepted) -> str:
        """Hash of the content, and its ordinal among identical records of this file."""
        content = {k: v for k, v in accepted.values.items() if k != "received_at"}
        text = canonical({"values": content, "extras": accepted.extras})
        digest = hashlib.sha256(text.encode()).digest()[:16]
        self.twins[digest] += 1
        return f"{digest.hex()}-{self.twins[digest]}"

    def _rejection(
        self, line: int, verdict: Rejected, text: str
    ) -> tuple[int, str, str | None, str]:
        if self.table.family != "entity":
            place = place_of_rejected(self.table, text, self.examiner.latest_us)
            self.rows.note_rejected(*place)
        kept = self.run.rules.redact_line(text[:KEPT_OF_LONG_LINE], self.redactions)
        kept = kept[:KEPT_OF_REJECTED].replace("\0", "\\u0000")
        if self.run.erased and self.run.erased.is_named_in(kept):
            kept = ""
        at_fault = verdict.field
        if at_fault is not None:
            at_fault = self.run.rules.redact_value(at_fault, self.redactions)[:200]
        return line, verdict.reason, at_fault, kept

    def _examine_odd(self, odd: Iterable[OddLine]) -> None:
        """Lines that DuckDB's reader must not see; some are good all the same."""
        rejected = []
        readable = []
        for item in odd:
            if not isinstance(item, OddRecord) and not item.raw.strip():
                continue
            text = item.raw.decode("utf-8", "backslashreplace")
            if isinstance(item, OddRecord):
                verdict = Rejected(item.reason, item.field)
            elif item.is_too_long:
                verdict = Rejected(Reason.LINE_TOO_LONG)
            elif b"\0" in item.raw:
                verdict = Rejected(Reason.NUL_CHARACTER)
            elif text.encode() != item.raw:
                verdict = Rejected(Reason.INVALID_UTF8)
            else:
                readable.append((item.number, text, False))
                continue
            self.rows.counts.lines += 1
            rejected.append(self._rejection(item.number, verdict, text))
        self.rows.insert_rejected(rejected)
        if readable:
            self._examine(readable)


def _lines(part: Slice) -> Iterator[tuple[int, str]]:
    with part.path.open("rb") as file:
        for number, line in enumerate(file, start=part.first_line):
            if line.strip():
                yield number, line[:-1].decode()
