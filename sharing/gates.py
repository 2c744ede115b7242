"""The gates between written files and their consumer: what is in the files, not what was asked.

Belongs here: questions to the bytes. Does not belong here: what happens when one fails
(exporting.py).
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landing.secrets import load_rules
from sharing.compiler import Slice
from sharing.shapes import Shape
from sharing.staging import ROWS_AT_ONCE, Reader, Staged


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


def examine(reader: Reader, written: Written, found: Findings) -> None:
    """Look into the files of one table; what speaks against them is added to `found`."""
    slice_, staged = written.slice_, written.staged
    rows = written.standing_rows + sum(file.row_count for file in staged)
    expected = reader.count(slice_)
    if rows != expected:
        said = f"{slice_.model}: {rows} rows for a consumer whose filter finds {expected}"
        found.failed.append(Finding("rows_differ", said))
    if not staged:
        return
    _load(reader, slice_, staged)
    strangers = _strangers(slice_)
    counts = ", ".join(f"count(*) filter ({condition})" for condition in strangers.values())
    [row] = reader.connection.execute(
        f"select {counts} from written left join scope"
        " on written.workspace_id = scope.workspace_id",
        {"environment": written.environment},
    ).fetchall()
    for code, count in zip(strangers, row, strict=True):
        if count:
            found.failed.append(Finding(code, f"{slice_.model}: {count} rows"))
    _scan(reader, slice_, staged, found)


def _load(reader: Reader, slice_: Slice, staged: Sequence[Staged]) -> None:
    # the day is the file's own where the format keeps it in the path
    reader.connection.execute("create or replace temp table days (path varchar, day date)")
    reader.connection.executemany(
        "insert into days values (?, ?)", [(str(file.path), file.day) for file in staged]
    )
    day = "days.day" if slice_.day else "null::date"
    reader.connection.execute(
        "create or replace temp view written as"
        f" select files.*, {day} as _day, files.filename as _path"
        " from read_parquet(list_value("
        + ", ".join(f"'{str(file.path).replace(chr(39), chr(39) * 2)}'" for file in staged)
        + "), filename = true, hive_partitioning = false) as files"
        " inner join days on files.filename = days.path"
    )


def _strangers(slice_: Slice) -> Mapping[str, str]:
    conditions = {
        "foreign_workspace": "scope.workspace_id is null",
        "foreign_environment": "written.environment is distinct from $environment",
    }
    if slice_.day:
        conditions["beyond_retention"] = (
            "scope.workspace_id is not null and"
            " (written._day < scope.oldest_date or written._day is null)"
        )
    return conditions


def _scan(reader: Reader, slice_: Slice, staged: Sequence[Staged], found: Findings) -> None:
    """Hold the text of a table against the rules that landing redacts by."""
    texts = {
        column.name: f"array_to_string({column.name}, chr(10))"
        if column.type.endswith("[]")
        else column.name
        for column in slice_.columns
        if column.type.removesuffix("[]") in ("string", "varchar")
    }
    # one alternation in DuckDB, and the rules one by one for the few values that it lets through:
    # over each value once where a column repeats its values, over a row's other texts at once, each
    # on a line of its own with the anchors of a line (1M rows of 13 texts, 7 of them repeated:
    # 0.5 s of CPU; all of a row at once 0.9, cell by cell 1.3)
    repeated = sorted(_repeated(reader, staged) & texts.keys())
    others = {name: text for name, text in texts.items() if name not in repeated}
    looks = []
    if repeated:
        looks.append(
            # materialized, or the alternation is pushed below the grouping, to every row
            f"(with seen as materialized (select {', '.join(repeated)}, count(*) as count"
            f" from written group by grouping sets (({'), ('.join(repeated)})))"
            " select cell.name as name, cell.text as text, count"
            f" from (select unnest([{_cells({name: name for name in repeated})}]) as cell, count"
            " from seen) where regexp_matches(cell.text, $prefilter))"
        )
    if others:
        looks.append(
            f"(select cell.name as name, cell.text as text, count(*) as count"
            f" from (select unnest([{_cells(others)}]) as cell from written where"
            f" regexp_matches(concat_ws(chr(10), {', '.join(others.values())}),"
            " '(?m)' || $prefilter)) where regexp_matches(cell.text, $prefilter) group by all)"
        )
    rules = load_rules()
    suspects = reader.connection.execute(
        f"{' union all '.join(looks)} order by all", {"prefilter": rules.prefilter}
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
