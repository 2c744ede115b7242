"""The gates between written files and their consumer: what is in the files, not what was asked.

Belongs here: questions to the bytes. Does not belong here: what happens when one fails
(exporting.py).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from landing.secrets import load_rules
from sharing.compiler import Slice
from sharing.staging import Reader, Staged


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
    for code, condition in _strangers(slice_).items():
        [(count,)] = reader.connection.execute(
            "select count(*) from written left join scope"
            " on written.workspace_id = scope.workspace_id"
            f" where {condition}",
            {"environment": written.environment} if "$environment" in condition else {},
        ).fetchall()
        if count:
            found.failed.append(Finding(code, f"{slice_.model}: {count} rows"))
    _scan(reader, slice_, found)


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


def _scan(reader: Reader, slice_: Slice, found: Findings) -> None:
    """Hold the text of a table against the rules that landing redacts by."""
    texts = []
    for column in slice_.columns:
        if column.type.removesuffix("[]") in ("string", "varchar"):
            is_list = column.type.endswith("[]")
            text = f"array_to_string({column.name}, chr(10))" if is_list else column.name
            texts.append(f"{{'name': '{column.name}', 'text': {text}}}")
    rules = load_rules()
    # one alternation in DuckDB, compiled once for all columns (25 ms), and the rules one by one
    # for the few values that it lets through
    suspects = reader.connection.execute(
        "select cell.name, cell.text, count(*)"
        f" from (select unnest([{', '.join(texts)}]) as cell from written)"
        " where regexp_matches(cell.text, ?) group by all order by all",
        [rules.prefilter],
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
