"""CSV and Parquet files as lines of JSON, one record a line, so that one set of rules follows.

A CSV record stands on the line number where it began in the file, a Parquet row on its row
number. Belongs here: cells and columns to JSON. Does not: what a record must hold.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import orjson

from landing.contract import MAX_LINE_BYTES, Field, Table
from landing.examine import JSON_CELLS
from landing.prescan import (
    PARQUET_MAGIC,
    SLICE_BYTES,
    OddLine,
    Slice,
    TextScan,
    is_odd,
    lines_in_block,
)
from landing.reasons import FileFailure, Reason

# a record with an unclosed quote would swallow the file: after this many lines its first line
# is rejected alone and reading goes on with the second
MAX_RECORD_LINES = 256
ROWS_PER_SLICE = 100_000
ROWS_AT_ONCE = 2_048

_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,18})", re.ASCII)


class RejectedRecord(Exception):
    """A CSV record that cannot be turned into JSON."""

    def __init__(self, reason: Reason, field: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field


class OddRecord(OddLine):
    """A rejected CSV record: where it began, its bytes, why."""

    reason: Reason
    field: str | None

    @classmethod
    def of(cls, number: int, raw: bytes, verdict: RejectedRecord) -> "OddRecord":
        """Return the record that began on line `number`."""
        record = cls(number, raw)
        record.reason, record.field = verdict.reason, verdict.field
        return record


def _physical_lines(scan: TextScan) -> Iterator[tuple[int, bytes, bool]]:
    """Return (number, bytes, whether it is too long) of every line, odd ones included."""
    for block in scan.blocks():
        odd = {line.number: line for line in block.odd}
        for index, line in enumerate(block.lines.split(b"\n")[:-1]):
            number = block.first_line + index
            if number in odd:
                yield number, odd[number].raw, odd[number].is_too_long
            else:
                yield number, line, False


def _records(
    lines: Iterable[tuple[int, bytes, bool]],
) -> Iterator[tuple[int, list[bytes], Reason | None]]:
    """Physical lines gathered into records by the parity of their quotes."""
    source = iter(lines)
    pending: list[tuple[int, bytes, bool]] = []  # lines read ahead and given back

    while True:
        item = pending.pop(0) if pending else next(source, None)
        if item is None:
            return
        number, raw, is_too_long = item
        if is_too_long:
            yield number, [raw], Reason.LINE_TOO_LONG
            continue
        if raw.count(b'"') % 2 == 0:
            if raw.strip():
                yield number, [raw], None
            continue
        gathered, size, closed = [item], len(raw), False
        while len(gathered) < MAX_RECORD_LINES and size <= MAX_LINE_BYTES:
            following = pending.pop(0) if pending else next(source, None)
            if following is None:
                break
            gathered.append(following)
            size += len(following[1])
            if following[2]:
                break
            if following[1].count(b'"') % 2:
                closed = True
                break
        if closed and _is_record([line for _, line, _ in gathered]):
            yield number, [line for _, line, _ in gathered], None
        else:
            pending = gathered[1:] + pending
            yield number, [raw], Reason.CSV_QUOTE


def _cells(raw: list[bytes]) -> list[str]:
    try:
        lines = [line.decode() + "\n" for line in raw]
    except UnicodeDecodeError:
        raise RejectedRecord(Reason.INVALID_UTF8) from None
    if any("\0" in line for line in lines):
        raise RejectedRecord(Reason.NUL_CHARACTER)
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error:
        raise RejectedRecord(Reason.CSV_SYNTAX) from None
    if len(rows) != 1:
        raise RejectedRecord(Reason.CSV_SYNTAX)
    return rows[0]


def _is_record(raw: list[bytes]) -> bool:
    """Whether lines that their quotes hold together are one record, not a stray quote and more."""
    try:
        _cells(raw)
    except RejectedRecord as verdict:
        return verdict.reason is not Reason.CSV_SYNTAX
    return True


def _cell(name: str, cell: str, kinds: dict[str, str]) -> object:
    """Return a cell as JSON; text that does not fit its kind stays text and is rejected later."""
    if name in JSON_CELLS:
        try:
            orjson.loads(cell)  # or a cell could close the object it is put into
        except orjson.JSONDecodeError:
            raise RejectedRecord(Reason.INVALID_JSON, name) from None
        return orjson.Fragment(cell.replace("\r", " ").replace("\n", " "))
    kind = kinds.get(name)
    if kind == "boolean" and cell in ("true", "false"):
        return cell == "true"
    if kind == "integer" and _INTEGER.fullmatch(cell):
        return int(cell)
    return cell


def _header(raw: list[bytes], table: Table) -> list[str]:
    try:
        names = _cells(raw)
    except RejectedRecord as verdict:
        raise FileFailure(Reason.FILE_CSV_HEADER, verdict.reason) from None
    known = {item.name for item in table.fields} | JSON_CELLS | {"occurredAt", "receivedAt"}
    if len(set(names)) != len(names) or "" in names or not known.intersection(names):
        raise FileFailure(Reason.FILE_CSV_HEADER)
    return names


def _json_line(raw: list[bytes], names: list[str], kinds: dict[str, str]) -> bytes:
    cells = _cells(raw)
    if len(cells) != len(names):
        raise RejectedRecord(Reason.CSV_CELL_COUNT)
    record = {
        name: _cell(name, cell, kinds)
        for name, cell in zip(names, cells, strict=True)
        if cell != ""
    }
    try:
        line = orjson.dumps(record)
    except orjson.JSONEncodeError:
        raise RejectedRecord(Reason.INVALID_UTF8) from None
    if len(line) > MAX_LINE_BYTES:
        raise RejectedRecord(Reason.LINE_TOO_LONG)
    return line


def csv_slices(scan: TextScan, table: Table, folder: Path) -> Iterator[Slice]:
    """Iterate over the records of a CSV file as slices of JSON lines.

    Raises FileFailure when the header or the file as a whole is no good.
    """
    csv.field_size_limit(2 * MAX_LINE_BYTES)
    fields: tuple[Field, ...] = table.fields
    kinds = {item.name: str(item.kind) for item in fields}
    names: list[str] | None = None
    path = folder / "csv"
    written, first_line, next_line, odd = 0, 1, 1, list[OddLine]()
    file = path.open("wb")
    try:
        for number, raw, reason in _records(_physical_lines(scan)):
            if names is None:
                if reason is not None:
                    raise FileFailure(Reason.FILE_CSV_HEADER, reason)
                names = _header(raw, table)
                first_line = next_line = number + 1
                continue
            try:
                if reason is not None:
                    raise RejectedRecord(reason)
                line = _json_line(raw, names, kinds)
            except RejectedRecord as verdict:
                odd.append(OddRecord.of(number, b"\n".join(raw), verdict))
                continue
            if is_odd(line):
                odd.append(OddLine(number, line))
                continue
            written += file.write(b"\n" * (number - next_line) + line + b"\n")
            next_line = number + 1
            if written >= SLICE_BYTES:
                file.close()
                yield Slice(path, first_line, odd)
                written, odd, first_line = 0, [], next_line
                file = path.open("wb")
        file.close()
        if written or odd:
            yield Slice(path, first_line, odd)
    finally:
        file.close()
        path.unlink(missing_ok=True)


def check_parquet_magic(path: Path) -> None:
    """Both ends of the file must say PAR1."""
    with path.open("rb") as file:
        head = file.read(4)
        if not head:
            raise FileFailure(Reason.FILE_TRUNCATED)
        if head != PARQUET_MAGIC:
            raise FileFailure(Reason.FILE_WRONG_MAGIC)
        file.seek(-4, 2)
        if file.read(4) != PARQUET_MAGIC:
            raise FileFailure(Reason.FILE_TRUNCATED)


def parquet_slices(path: Path, table: Table, folder: Path, memory: str) -> Iterator[Slice]:
    """Iterate over the rows of a Parquet file as slices of JSON lines; a row's number is its line.

    By a DuckDB of its own that may take `memory`: a damaged file can throw it into a state in which
    it refuses whatever follows ("database has been invalidated"), and the warehouse's would then
    land nothing more. Raises FileFailure when the file cannot be read as Parquet.
    """
    check_parquet_magic(path)
    target = folder / "parquet"
    first_line = 1
    try:
        with duckdb.connect(config=_reader_settings(folder, memory)) as reader:
            reader.execute("set TimeZone = 'UTC'")  # in which times inside of objects are told
            described = reader.execute(
                f"describe select * from read_parquet({quote(str(path))})"
            ).fetchall()
            members = [
                f"{quote(name)}: {_parquet_json(name, kind)}" for name, kind, *_ in described
            ]
            reader.execute(
                f"select to_json({{{', '.join(members)}}})::varchar"
                f" from read_parquet({quote(str(path))})"
            )
            while lines := _up_to_a_slice(reader):
                block = lines_in_block(first_line, lines)
                target.write_bytes(block.lines)
                yield Slice(target, first_line, block.odd)
                first_line += len(lines)
    except duckdb.Error as error:
        if is_want_of_space(error):
            raise
        raise FileFailure(Reason.FILE_UNREADABLE_PARQUET, str(error)) from error
    finally:
        target.unlink(missing_ok=True)


def _reader_settings(folder: Path, memory: str) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "memory_limit": memory,
        "temp_directory": str(folder / "spill"),
    }


def _up_to_a_slice(reader: duckdb.DuckDBPyConnection) -> list[bytes]:
    """The next rows of a query of one text, until they fill a slice."""
    lines: list[bytes] = []
    size = 0
    while size < SLICE_BYTES and len(lines) < ROWS_PER_SLICE:
        rows = reader.fetchmany(ROWS_AT_ONCE)
        if not rows:
            break
        lines += [text.encode() for (text,) in rows]
        size += sum(len(line) for line in lines[-len(rows) :])
    return lines


def is_want_of_space(error: duckdb.Error) -> bool:
    """Whether DuckDB lacked memory or disk: no file is to be called broken for that."""
    return isinstance(error, duckdb.OutOfMemoryException) or "No space left" in str(error)


def _parquet_json(name: str, kind: str) -> str:
    """Return SQL that turns a Parquet column into what JSON would hold.

    A timestamp without zone becomes a time without offset, which is then rejected.
    """
    column = identifier(name)
    if kind in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"):
        utc = f"make_timestamp(epoch_us({column}))"
        return f"strftime({utc}, '%Y-%m-%dT%H:%M:%S.%fZ')"
    if kind.startswith("TIMESTAMP"):
        return f"strftime({column}::timestamp, '%Y-%m-%dT%H:%M:%S.%f')"
    if kind in ("DOUBLE", "FLOAT"):
        # JSON has no NaN: say it as text, so that the line is rejected and not guessed
        return f"case when isfinite({column}) then to_json({column}) else 'NaN'::json end"
    if kind == "VARCHAR" and name in JSON_CELLS:
        return f"case when json_valid({column}) then {column}::json else to_json({column}) end"
    return column


def quote(text: str) -> str:
    """Return a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
