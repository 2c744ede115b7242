"""The SQL that types and checks the plainly clean lines of an event file, vectorised.

A line is taken here only if nothing about it needs thought: no escapes, no secret in sight, only
known keys, each once, each of its type, and every value inside the rules. All others go through
`examine`. The shapes of a file (its lists of keys and types) are few, so each is classified once
in Python. Belongs here: SQL made from the contract. Does not: verdicts; nothing is rejected here.
"""

import re
from collections.abc import Sequence

from landing.contract import ENVIRONMENTS, Field, Rule, Table
from landing.examine import CLOCK_SKEW_US
from landing.tabular import quote

TIME = (
    r"(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d"
    r"(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
)


def is_plain_shape(
    keys: Sequence[str], data_keys: Sequence[str], data_type: str | None, table: Table
) -> bool:
    """Whether records of this shape hold known keys only, each once, and data as an object."""
    if len(set(keys)) != len(keys) or len(set(data_keys)) != len(data_keys):
        return False
    return (
        {"data", *(item.name for item in table.fields)}.issuperset(keys)
        and {item.name for item in table.data_fields}.issuperset(data_keys)
        and data_type in (None, "NULL", "OBJECT")
    )


SHAPE = "json_keys({text}), json_keys({text}, '$.data'), json_type({text}, '$.data')"


def content_hash(columns: tuple[tuple[str, str], ...], extras: str) -> str:
    """SQL of `_content_hash`: md5 over name=value of every non-null column but id and received
    time, and over the extras. Built from plain text, so that it stays the same across versions.
    """
    parts = []
    for name, kind in columns:
        if name in ("id", "received_at"):
            continue
        value = {"TIMESTAMP": f"epoch_us({name})", "VARCHAR": name}.get(kind, f"{name}::varchar")
        parts.append(f"chr(30) || '{name}=' || {value}")
    return f"md5(concat({', '.join(parts)}, chr(30) || '=' || {extras}))"


def key_hash(key: tuple[str, ...]) -> str:
    """SQL of `_key_hash`: 64 bits of md5, the cheap probe in front of an exact comparison."""
    return f"md5_number_lower(concat_ws(chr(31), {', '.join(key)}))"


def _raw(table: Table, item: Field) -> str:
    """SQL of a field's JSON text; null where the field is absent or JSON null."""
    return f"raw[{1 + (table.fields + table.data_fields).index(item)}]"


def _paths(table: Table) -> str:
    """The JSON paths behind `raw`."""
    paths = [f"$.{item.name}" for item in table.fields]
    paths += [f"$.data.{item.name}" for item in table.data_fields]
    return ", ".join(map(quote, paths))


def _typed(table: Table, item: Field) -> list[tuple[str, str]]:
    """(column, SQL) of one field; null where the value does not fit. No line with an escape is
    taken, so that a string is what stands between its quotes.
    """
    raw = _raw(table, item)
    string = f"case when starts_with({raw}, '\"') then {raw}[2:-2] end"
    number = f"case when not starts_with({raw}, '\"') then try_cast({raw} as double) + 0.0 end"
    integer = f"case when regexp_full_match({raw}, '-?\\d{{1,18}}') then {raw} end"
    match item.kind:
        case "text":
            return [(item.name, f"nullif({string}, '')")]
        case "time":
            text = f"{raw}[2:-2]"
            time = f"make_timestamp(epoch_us(try_cast({text} as timestamptz)))"
            fits = f"regexp_full_match({raw}, '\"{TIME}\"')"
            return [(item.name, f"case when {fits} then {time} end")]
        case "boolean":
            return [(item.name, f"case {raw} when 'true' then true when 'false' then false end")]
        case "integer":
            return [(item.name, f"try_cast({integer} as bigint)")]
        case "number":
            return [(item.name, number)]
        case "text_or_integer":
            return [(item.name, f"coalesce(nullif({string}, ''), {integer})")]
        case "metric":
            return [("numeric_value", number), ("text_value", string)]


def _column(table: Table, name: str) -> str:
    """SQL of a stored column, over those of `_typed`: what absent and empty values become."""
    if name == "received_at":
        return "coalesce(received_at, occurred_at) as received_at"
    if name == "is_test":
        return "coalesce(is_test, false) as is_test"
    return name


def _is_one_of(name: str, patterns: Sequence[str]) -> str:
    """SQL: the column holds one of these, of which some may be prefixes.

    A regular expression, because the optimizer makes a join of `in` and of `list_contains`.
    """
    alternatives = "|".join(re.escape(p[:-1]) + "(?s:.+)" if p.endswith("*") else re.escape(p)
                            for p in patterns)
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
        f"(received_at is null or epoch_us(occurred_at) <= {latest_us} or"
        f" epoch_us(occurred_at) > epoch_us(received_at) + {CLOCK_SKEW_US})",
        *(_rule(rule) for rule in table.rules),
    ]
    for item in table.fields + table.data_fields:
        raw = _raw(table, item)
        if item.kind == "metric":
            checks.append(f"{raw} is null or {raw} = 'null' or text_value is not null"
                          " or isfinite(numeric_value)")
            continue
        # a value that is there must have become a value
        fits = f"isfinite({item.name})" if item.kind == "number" else f"{item.name} is not null"
        checks.append(
            f"{raw} is null or {raw} = 'null' or {raw} = '\"\"' or coalesce({fits}, false)"
        )
    return checks


def stage_sql(
    table: Table, lines: str, types: tuple[str, ...], latest_us: int, prefilter: str
) -> str:
    """The query that stages the texts of `lines` (a query of one column, text).

    Columns: the table's, payload (the line), _content_hash, _key_hash, _line (null), is_ok
    (values pass and the line is clean), is_clean, shape. Rows that are not ok or not of a plain
    shape hold guesses in their columns and have to be replaced by what `examine` says. No window
    function numbers the lines: it would keep all that follows on one thread. Rows come in the
    order of the lines as long as nothing here is a join (see `_is_one_of`).
    """
    typed = [pair for item in table.fields + table.data_fields for pair in _typed(table, item)]
    checks = " and ".join(f"({check})" for check in _checks(table, types, latest_us))
    stored = [_column(table, name) for name, _ in table.columns]
    return f"""
        with lines as ({lines}),
        judged as (
            select
                text,
                starts_with(text, '{{') and json_valid(text)
                    -- DuckDB allows a comma after the last member
                    and not regexp_matches(text, ',\s*[\]}}]') as is_object,
                not contains(text, '\\')
                    and not regexp_matches(text, {quote(prefilter)}) as is_clean,
            from lines
        ),
        parsed as (
            select
                text,
                is_object and is_clean as is_clean,
                case when is_object then json_extract(text, [{_paths(table)}])::varchar[] end
                    as raw,
                case when is_object then json_keys(text) end as keys,
                case when is_object then json_keys(text, '$.data') end as data_keys,
            from judged
        ),
        shaped as (
            select
                *,
                case
                    when len(data_keys) > 0 then concat(keys::varchar, data_keys::varchar)
                    when is_clean then concat(keys::varchar, json_type(text, '$.data'))
                end as shape,
            from parsed
        ),
        typed as (
            select
                {", ".join(f"{sql} as {name}" for name, sql in typed)},
                text, is_clean, raw, shape,
            from shaped
        ),
        checked as (
            select
                {", ".join(stored)},
                text as payload, is_clean, shape,
                coalesce(is_clean and {checks}, false) as is_ok,
            from typed
        )
        select
            {", ".join(name for name, _ in table.columns)},
            payload,
            {content_hash(table.columns, "null::varchar")} as _content_hash,
            {key_hash(table.key)} as _key_hash,
            null::bigint as _line,
            is_ok,
            is_clean,
            shape,
        from checked
    """
