"""The gates between written files and their consumer: what is in the files, not what was asked.

Belongs here: questions to the bytes. Does not belong here: what happens when one fails
(exporting.py).
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from landing.secrets import load_rules
from sharing.compiler import Slice
from sharing.shapes import Shape
from sharing.staging import NO_ROWS, ROWS_AT_ONCE, Print, Reader, Staged, print_of


@dataclass(frozen=True)
class Finding:
    """A gate that failed: a word of a closed list, and what was found, without any value."""

    code: str
    message: str


@dataclass
class Findings:
    """Everything that speaks against the files of a batch; secrets are counted by rule."""

    failed: list[Finding] = field(default_factory=list)
    secrets: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Written:
    """The files of one table on local disk; `standing_rows` are in those that stay as they are."""

    slice_: Slice
    environment: str
    staged: Sequence[Staged]
    standing_rows: int


def examine(reader: Reader, written: Written, found: Findings) -> dict[date | None, Print]:
    """Look into the files of one table; what speaks against them is added to `found`.

    Returns the fingerprint of each file's rows, which are read once for all questions.
    """
    slice_, staged = written.slice_, written.staged
    rows = written.standing_rows + sum(file.row_count for file in staged)
    expected = reader.count(slice_)
    if rows != expected:
        said = f"{slice_.model}: {rows} rows for a consumer whose filter finds {expected}"
        found.failed.append(Finding("rows_differ", said))
    prints: dict[date | None, Print] = {file.day: NO_ROWS for file in staged}
    if not staged:
        return prints
    _load(reader, slice_, staged)
    strangers, rules = _strangers(slice_), load_rules()
    counts = ", ".join(f"count(*) filter ({condition})" for condition in strangers.values())
    looks = reader.connection.execute(
        f"select _day, {print_of(slice_, '_day')}, {counts}, {_suspicion(reader, slice_, staged)}"
        " from written group by all",
        {"environment": written.environment, "prefilter": rules.prefilter},
    ).fetchall()
    prints |= {day: Print(count, hash_) for day, count, hash_, *_ in looks}
    for place, code in enumerate(strangers, 3):
        if count := sum(look[place] for look in looks):
            found.failed.append(Finding(code, f"{slice_.model}: {count} rows"))
    if suspect := [day for day, *_, is_suspect in looks if is_suspect]:
        _scan(reader, slice_, suspect, found)
    return prints


def _load(reader: Reader, slice_: Slice, staged: Sequence[Staged]) -> None:
    # the day is the file's own where the format keeps it in the path
    reader.connection.execute("create or replace temp table days (path varchar, day date)")
    reader.connection.executemany(
        "insert into days values (?, ?)", [(str(file.path), file.day) for file in staged]
    )
    day = "days.day" if slice_.day else "null::date"
    reader.connection.execute(
        "create or replace temp view written as"
        f" select files.*, {day} as _day, scope.workspace_id as _owner, oldest_date as _oldest"
        " from read_parquet(list_value("
        + ", ".join(f"'{str(file.path).replace(chr(39), chr(39) * 2)}'" for file in staged)
        + "), filename = true, hive_partitioning = false) as files"
        " inner join days on files.filename = days.path"
        " left join scope on files.workspace_id = scope.workspace_id"
    )


def _strangers(slice_: Slice) -> Mapping[str, str]:
    conditions = {
        "foreign_workspace": "_owner is null",
        "foreign_environment": "environment is distinct from $environment",
    }
    if slice_.day:
        conditions["beyond_retention"] = "_owner is not null and (_day < _oldest or _day is null)"
    return conditions


def _texts_of(slice_: Slice) -> dict[str, str]:
    """SQL of every column's text, by name."""
    return {
        column.name: f"array_to_string({column.name}, chr(10))"
        if column.type.endswith("[]")
        else column.name
        for column in slice_.columns
        if column.type.removesuffix("[]") in ("string", "varchar")
    }


def _suspicion(reader: Reader, slice_: Slice, staged: Sequence[Staged]) -> str:
    """SQL of whether any text of some rows may be a secret: one that the rules should look at.

    All rules as one alternation: over each value once where a column repeats its values, over a
    row's other texts at once, each on a line of its own with the anchors of a line. 1M rows of 13
    texts, 7 of them repeated: 0.5 s of CPU; all of a row at once 0.9, cell by cell 1.3.
    """
    texts = _texts_of(slice_)
    repeated = sorted(_repeated(reader, staged) & texts.keys())
    others = [text for name, text in texts.items() if name not in repeated]
    looks = [
        f"len(list_filter(list(distinct {name}), lambda x: regexp_matches(x, $prefilter))) > 0"
        for name in repeated
    ]
    if others:
        looks.append(
            f"bool_or(regexp_matches(concat_ws(chr(10), {', '.join(others)}),"
            " '(?m)' || $prefilter))"
        )
    return f"({' or '.join(looks) or 'false'})"


def _scan(reader: Reader, slice_: Slice, days: Sequence[date | None], found: Findings) -> None:
    """Hold the texts of some days against the rules that landing redacts by."""
    rules = load_rules()
    # the rules one by one for the few values that the alternation lets through
    suspects = reader.connection.execute(
        "select cell.name, cell.text, count(*)"
        f" from (select unnest([{_cells(_texts_of(slice_))}]) as cell from written"
        " where list_contains($days::date[], _day) or _day is null)"
        " where regexp_matches(cell.text, $prefilter) group by all order by all",
        {"days": [day for day in days if day], "prefilter": rules.prefilter},
    ).fetchall()
    hits: Counter[str] = Counter()
    for name, text, count in suspects:
        by_rule: Counter[str] = Counter()
        # what a rule leaves behind may match it once more, and changes no further
        if rules.redact_value(text, by_rule) != text:
            hits[name] += count
            found.secrets.update({rule: number * count for rule, number in by_rule.items()})
    found.failed += [
        Finding("secret_found", f"{slice_.model}.{name}: {count} rows")
        for name, count in hits.items()
    ]


def _cells(texts: Mapping[str, str]) -> str:
    return ", ".join(f"{{'name': '{name}', 'text': {text}}}" for name, text in texts.items())


def _repeated(reader: Reader, staged: Sequence[Staged]) -> set[str]:
    """Columns most of whose values are in dictionaries of their files, so few to each."""
    rows = reader.connection.execute(
        "select path_in_schema from parquet_metadata(?) group by all"
        " having sum(num_values) filter (dictionary_page_offset is null) is null"
        " or sum(num_values) filter (dictionary_page_offset is null) < 0.1 * sum(num_values)",
        [[str(file.path) for file in staged]],
    ).fetchall()
    return {name for (name,) in rows}


# lines of JSON


@dataclass(frozen=True)
class Lines:
    """Files of lines that are about to leave: events, each for the first time.

    `expected`: how many the consumer's filter finds that did not leave before.
    """

    slice_: Slice
    shape: Shape
    environment: str
    paths: Sequence[Path]
    rows: int
    expected: int


def examine_lines(reader: Reader, lines: Lines, found: Findings) -> None:
    """Look into lines of JSON; what speaks against them is added to `found`."""
    model = lines.slice_.model
    if lines.rows != lines.expected:
        said = f"{model}: {lines.rows} events where {lines.expected} did not leave yet"
        found.failed.append(Finding("rows_differ", said))
    if not lines.paths:
        return
    _load_lines(reader, lines)
    for code, (condition, values) in _line_faults(lines.environment).items():
        [(count,)] = reader.connection.execute(
            f"select count(*) from lines left join scope using (workspace_id) where {condition}",
            values,
        ).fetchall()
        if count:
            found.failed.append(Finding(code, f"{model}: {count} events"))
    [(count, doubled)] = reader.connection.execute(
        "select count(*), count(*) - count(distinct (workspace_id, source_table, event_id))"
        " from lines"
    ).fetchall()
    if doubled or count != lines.rows:
        said = f"{model}: {count} lines, {doubled} of them doubled, for {lines.rows} events"
        found.failed.append(Finding("events_doubled", said))
    _scan_lines(reader, model, found)


def _load_lines(reader: Reader, lines: Lines) -> None:
    workspace, table, event = lines.shape.key
    listed = ", ".join(f"'{str(path).replace(chr(39), chr(39) * 2)}'" for path in lines.paths)
    reader.connection.execute(
        "create or replace temp table lines as select cast(json as varchar) as text,"
        f" json->>'{workspace}' as workspace_id, json->>'{table}' as source_table,"
        f" json->>'{event}' as event_id, json->>'{lines.shape.environment}' as environment,"
        f" {lines.shape.day} as day from read_ndjson_objects([{listed}])"
    )


def _line_faults(environment: str) -> Mapping[str, tuple[str, list[Any]]]:
    return {
        "foreign_workspace": ("scope.oldest_date is null", []),
        "foreign_environment": ("lines.environment is distinct from ?", [environment]),
        "beyond_retention": (
            "scope.oldest_date is not null"
            " and (lines.day < scope.oldest_date or lines.day is null)",
            [],
        ),
    }


def _scan_lines(reader: Reader, model: str, found: Findings) -> None:
    """Hold every text of the lines against the rules that landing redacts by."""
    rules = load_rules()
    # an escape could hide a value from the alternation
    suspects = reader.connection.execute(
        "select text from lines where regexp_matches(text, ?) or contains(text, '\\')",
        [rules.prefilter],
    )
    hits: Counter[str] = Counter()
    while rows := suspects.fetchmany(ROWS_AT_ONCE):
        for name, text in (cell for (line,) in rows for cell in _texts(json.loads(line))):
            by_rule: Counter[str] = Counter()
            if rules.redact_value(text, by_rule) != text:
                hits[name] += 1
                found.secrets.update(by_rule)
    found.failed += [
        Finding("secret_found", f"{model}, {name}: {count} events") for name, count in hits.items()
    ]


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """(place, text) of every text in a JSON value."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, f"{place}.{name}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, place)
