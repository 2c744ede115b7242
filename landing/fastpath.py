"""The SQL that types and checks the plainly clean lines of an event file, vectorised.

A line is taken here only if nothing about it needs thought: no escapes, no secret in sight, only
known keys, each once, each of its type, and every value inside the rules. All others go through
`examine`. Belongs here: SQL made from the contract. Does not: verdicts; nothing is rejected here.

`from_json` finds all known fields in one pass, but says nothing of other keys and turns a number
into text where text is asked for. So one regular expression looks for all that must not be there
(`_odd`: escapes, secrets, known keys with a value of another type), and the keys are counted: as
many as there are known fields with a value or null, then no other and no repeated key is there.
"""

import re
from collections.abc import Mapping, Sequence

from landing.contract import ENVIRONMENTS, Field, Kind, Rule, Table
from landing.examine import CLOCK_SKEW_US
from landing.tabular import quote

TRAILING_COMMA = r",\s*[\]}]"  # which DuckDB's JSON functions let pass, as they do NaN
TIME = (
    r"(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d"
    r"(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
)

_IS_SKEWED = f"epoch_us(occurred_at) > epoch_us(received_at) + {CLOCK_SKEW_US}"
# over occurred_at and received_at as they are stored (received_at is never null)
ACTIVITY = f"""
    case when {_IS_SKEWED} then received_at else occurred_at end::date as _activity_date,
    {_IS_SKEWED} as _is_clock_skewed
"""


def content_hash(columns: tuple[tuple[str, str], ...], extras_hash: str = "_extras_hash") -> str:
    """Return SQL of a record's content hash.

    It is md5 over name=value of every non-null column but id and received time, and over the
    hash of the extras; built from plain text, so that it stays the same across versions.
    """
    parts = []
    for name, kind in columns:
        if name in ("id", "received_at"):
            continue
        value = {"TIMESTAMP": f"epoch_us({name})", "VARCHAR": name}.get(kind, f"{name}::varchar")
        parts.append(f"chr(30) || '{name}=' || {value}")
    return f"md5(concat({', '.join(parts)}, chr(30) || '=' || {extras_hash}))"


def key_hash(key: tuple[str, ...]) -> str:
    """Return SQL of `_key_hash`: 64 bits of md5, the probe in front of an exact comparison."""
    return f"md5_number_lower(concat_ws(chr(31), {', '.join(key)}))"


_READ_AS: Mapping[Kind, str] = {
    "text": "VARCHAR",
    "time": "VARCHAR",
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
    "number": "DOUBLE",
    # two types are possible: kept as JSON, where a string shows its quotes
    "metric": "JSON",
    "text_or_integer": "JSON",
}
# How a value that does not fit begins; `[^u]` because NaN, in any case, passes as a number.
_MISFIT: Mapping[Kind, str] = {
    "text": r'[^"n\s]|n[^u]',
    "time": r'[^"n\s]|n[^u]',
    "boolean": r"[^tfn\s]|n[^u]",
    "integer": r"[^-0-9n\s]|n[^u]|-?\d*[.eE]|-\D",
    "number": r"[^-0-9n\s]|n[^u]|-\D",
}


def _odd(table: Table, prefilter: str) -> str:
    """Return a pattern that matches every line whose values need thought.

    One pattern, because one pass of RE2 costs about the same whatever it looks for (1.4 of the
    8 µs a line).
    """
    names: dict[str, list[str]] = {}
    for item in table.fields + table.data_fields:
        if item.kind in _MISFIT:
            names.setdefault(_MISFIT[item.kind], []).append(item.name)
    misfits = [rf'"(?:{"|".join(listed)})"\s*:\s*(?:{misfit})' for misfit, listed in names.items()]
    misfits.append(r'"data"\s*:\s*(?:[^{n\s]|n[^u])')
    return "|".join([prefilter, r"\\", TRAILING_COMMA, *misfits])


def _structure(table: Table) -> str:
    """Return the structure that `from_json` reads a record into."""

    def members(fields: tuple[Field, ...]) -> str:
        return ",".join(f'"{item.name}":"{_READ_AS[item.kind]}"' for item in fields)

    return f'{{{members(table.fields)},"data":{{{members(table.data_fields)}}}}}'


def _path(table: Table, item: Field) -> str:
    return f"data.{item.name}" if item in table.data_fields else item.name


def _read(table: Table, item: Field) -> str:
    """Return SQL of a field as `from_json` read it; null where the field is absent or null."""
    column = f"record.{_path(table, item)}"
    return f"nullif({column}, 'null')" if _READ_AS[item.kind] == "JSON" else column


def _typed(item: Field) -> dict[str, str]:
    """Return SQL of one field by column, over those of `_read`; null where it does not fit."""
    read = f"read_{item.name}"
    string = f"case when starts_with({read}, '\"') then {read}[2:-2] end"
    number = f"case when not starts_with({read}, '\"') then try_cast({read} as double) + 0.0 end"
    integer = f"case when regexp_full_match({read}, '-?\\d{{1,18}}') then {read} end"
    time = f"make_timestamp(epoch_us(try_cast({read} as timestamptz)))"
    if item.kind == "metric":
        return {"numeric_value": number, "text_value": string}
    by_kind = {
        "text": f"nullif({read}, '')",
        "time": f"case when regexp_full_match({read}, '{TIME}') then {time} end",
        "boolean": read,
        "integer": read,
        "number": f"{read} + 0.0",
        "text_or_integer": f"coalesce(nullif({string}, ''), {integer})",
    }
    return {item.name: by_kind[item.kind]}


def _column(table: Table, name: str) -> str:
    """Return SQL of a stored column, over those of `_typed`."""
    if name == "received_at":
        return "coalesce(received_at, occurred_at) as received_at"
    if name == "is_test":
        return "coalesce(is_test, false) as is_test"
    return name


def _is_one_of(name: str, patterns: Sequence[str]) -> str:
    """SQL: the column holds one of these, of which some may be prefixes.

    A regular expression, because the optimizer makes a join of `in` and of `list_contains`.
    """
    alternatives = "|".join(
        re.escape(p[:-1]) + "(?s:.+)" if p.endswith("*") else re.escape(p) for p in patterns
    )
    return f"regexp_full_match({name}, {quote(alternatives)})"


def _rule(rule: Rule) -> str:
    value = "coalesce(numeric_value::varchar, text_value)" if rule.field == "value" else rule.field
    holds = f"{value} is not null"
    if rule.allowed is not None:
        holds += f" and {_is_one_of(rule.field, rule.allowed)}"
    if rule.minimum is not None:
        holds += f" and {value} >= {rule.minimum}"
    return f"(not {_is_one_of('type', rule.types)} or ({holds}))"


def _checks(table: Table, types: tuple[str, ...], latest_us: int) -> list[str]:
    checks = [
        _is_one_of("type", types),
        _is_one_of("environment", ENVIRONMENTS),
        *(f"{name} is not null" for name in table.required),
        f"epoch_us(coalesce(received_at, occurred_at)) <= {latest_us}",
        f"(received_at is null or epoch_us(occurred_at) <= {latest_us} or {_IS_SKEWED})",
        *(_rule(rule) for rule in table.rules),
    ]
    for item in table.fields + table.data_fields:
        read = f"read_{item.name}"
        # a value that is there must have become a value
        if item.kind == "time":
            checks.append(f"{item.name} is not null or {read} is null or {read} = ''")
        elif item.kind == "number":
            checks.append(f"{read} is null or isfinite({read})")
        elif item.kind == "metric":
            checks.append(
                f"{read} is null or text_value is not null"
                " or coalesce(isfinite(numeric_value), false)"
            )
        elif item.kind == "text_or_integer":
            checks.append(f"{item.name} is not null or {read} is null or {read} = '\"\"'")
    return checks


def stage_sql(
    table: Table, lines: str, types: tuple[str, ...], latest_us: int, prefilter: str
) -> str:
    """Return the query that stages the texts of `lines` (a query of one column, text).

    Columns: the table's, _activity_date, _is_clock_skewed, payload (the line), _key_hash, is_ok
    (taken), and _extras_hash and _line, which are null. Rows that are not ok hold guesses in their
    columns and have to be replaced by what `examine` says. No window function numbers the lines:
    it would keep all that follows on one thread. Rows come in the order of the lines as long as
    nothing here is a join (see `_is_one_of`).
    """
    fields = table.fields + table.data_fields
    read = ", ".join(f"{_read(table, item)} as read_{item.name}" for item in fields)
    typed = ", ".join(f"{sql} as {name}" for item in fields for name, sql in _typed(item).items())
    there = [f"(read_{item.name} is not null)::utinyint" for item in fields]
    paths = [quote(f"$.{path}") for path in ("data", *(_path(table, item) for item in fields))]
    checks = " and ".join(f"({check})" for check in _checks(table, types, latest_us))
    odd = quote(_odd(table, prefilter))
    stored = [_column(table, name) for name, _ in table.columns]
    return f"""
        with lines as ({lines}),
        judged as (
            select
                text,
                starts_with(text, '{{') and not regexp_matches(text, {odd}) and json_valid(text)
                    as is_plain,
            from lines
        ),
        objects as (
            select text, is_plain, case when is_plain then text else '{{}}' end as object
            from judged
        ),
        parsed as (
            select
                text,
                is_plain,
                object,
                from_json(object, {quote(_structure(table))}) as record,
                json_keys(object, ['$', '$.data']) as keys,
            from objects
        ),
        fields as (
            select
                {read},
                text,
                is_plain,
                object,
                len(keys[1]) + coalesce(len(keys[2]), 0) as key_count,
                (record.data is not null)::utinyint as data_count,
            from parsed
        ),
        typed as (
            select
                {typed},
                *,
                {" + ".join(there)} + data_count as value_count,
            from fields
        ),
        checked as (
            select
                {", ".join(stored)},
                text as payload,
                coalesce(
                    is_plain and {checks}
                    and key_count = value_count + case when key_count = value_count then 0
                        else len(list_filter(
                            json_type(object, [{", ".join(paths)}]), lambda kind: kind = 'NULL'
                        ))
                    end,
                    false
                ) as is_ok,
            from typed
        )
        select
            {", ".join(name for name, _ in table.columns)},
            {ACTIVITY},
            payload,
            {key_hash(table.key)} as _key_hash,
            is_ok,
            null::varchar as _extras_hash,
            null::bigint as _line,
        from checked
    """
