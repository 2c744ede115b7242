"""The SQL that types and checks the plainly clean lines of an event file, vectorised.

A line is taken here only if nothing about it needs thought: no escapes, no secret in sight, only
known keys, each once, each of its type, and every value inside the rules. All others go through
`examine`. Belongs here: SQL made from the contract. Does not: verdicts; nothing is rejected here.

That there are no other keys is seen by counting. In JSON without escapes each quote opens or
closes a string, and a string is a key or a value. So if half the quotes are as many as the known
keys that are there and their string values, no other key, repeated key or string can be in the
line. (Listing the keys of each line instead costs the same and needs a table of key lists.)
"""

import re
from collections.abc import Sequence

from landing.contract import ENVIRONMENTS, Field, Rule, Table
from landing.examine import CLOCK_SKEW_US
from landing.tabular import quote

TRAILING_COMMA = r",\s*[\]}]"  # which DuckDB's JSON functions let pass
TIME = (
    r"(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d"
    r"(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
)

_IS_SKEWED = f"epoch_us(occurred_at) > epoch_us(received_at) + {CLOCK_SKEW_US}"


def content_hash(columns: tuple[tuple[str, str], ...], extras: str) -> str:
    """Return SQL of `_content_hash`.

    It is md5 over name=value of every non-null column but id and received time, and over the
    extras; built from plain text, so that it stays the same across versions.
    """
    parts = []
    for name, kind in columns:
        if name in ("id", "received_at"):
            continue
        value = {"TIMESTAMP": f"epoch_us({name})", "VARCHAR": name}.get(kind, f"{name}::varchar")
        parts.append(f"chr(30) || '{name}=' || {value}")
    return f"md5(concat({', '.join(parts)}, chr(30) || '=' || {extras}))"


def key_hash(key: tuple[str, ...]) -> str:
    """Return SQL of `_key_hash`: 64 bits of md5, the probe in front of an exact comparison."""
    return f"md5_number_lower(concat_ws(chr(31), {', '.join(key)}))"


def activity(table: Table) -> str:
    """Return SQL of `_activity_date` and `_is_clock_skewed`, with a comma; "" for entities.

    Both over occurred_at and received_at as they are stored (received_at is never null).
    """
    if table.family == "entity":
        return ""
    return f"""
        case when {_IS_SKEWED} then received_at else occurred_at end::date as _activity_date,
        {_IS_SKEWED} as _is_clock_skewed,
    """


def _raw(table: Table, item: Field) -> str:
    """Return SQL of a field's JSON text; null where the field is absent or JSON null."""
    return f"raw[{1 + (table.fields + table.data_fields).index(item)}]"


def _paths(table: Table) -> str:
    """Return the JSON paths behind `raw`."""
    paths = [f"$.{item.name}" for item in table.fields]
    paths += [f"$.data.{item.name}" for item in table.data_fields]
    return ", ".join(map(quote, paths))


def _typed(table: Table, item: Field) -> dict[str, str]:
    """Return SQL of one field by column; null where the value does not fit.

    No line with an escape is taken, so that a string is what stands between its quotes.
    """
    raw = _raw(table, item)
    string = f"case when starts_with({raw}, '\"') then {raw}[2:-2] end"
    number = f"case when not starts_with({raw}, '\"') then try_cast({raw} as double) + 0.0 end"
    integer = f"case when regexp_full_match({raw}, '-?\\d{{1,18}}') then {raw} end"
    time = f"make_timestamp(epoch_us(try_cast({raw}[2:-2] as timestamptz)))"
    if item.kind == "metric":
        return {"numeric_value": number, "text_value": string}
    by_kind = {
        "text": f"nullif({string}, '')",
        "time": f"case when regexp_full_match({raw}, '\"{TIME}\"') then {time} end",
        "boolean": f"case {raw} when 'true' then true when 'false' then false end",
        "integer": f"try_cast({integer} as bigint)",
        "number": number,
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
        raw = _raw(table, item)
        # a value that is there must have become a value
        fits = {
            "number": f"isfinite({item.name})",
            "metric": "text_value is not null or isfinite(numeric_value)",
        }.get(item.kind, f"{item.name} is not null")
        checks.append(
            f"coalesce({fits}, false) or {raw} is null or {raw} = 'null' or {raw} = '\"\"'"
        )
    raws = [_raw(table, item) for item in table.fields + table.data_fields]
    keys = [f"({raw} is not null)::integer" for raw in raws]
    strings = [
        f"coalesce(starts_with({_raw(table, item)}, '\"'), false)::integer"
        for item in table.fields + table.data_fields
        if item.kind in ("text", "time", "metric", "text_or_integer")
    ]
    checks += [
        "data_type is null or data_type = 'OBJECT' or data_type = 'NULL'",
        "strlen(text) - strlen(replace(text, '\"', '')) = 2 * ("
        f"(data_type is not null)::integer + {' + '.join(keys + strings)})",
    ]
    return checks


def stage_sql(
    table: Table, lines: str, types: tuple[str, ...], latest_us: int, prefilter: str
) -> str:
    """Return the query that stages the texts of `lines` (a query of one column, text).

    Columns: the table's, payload (the line), _content_hash, _key_hash, is_ok (taken),
    is_clean (no value rule can match). Rows that are not ok hold guesses in their columns
    and have to be replaced by what `examine` says. No window function numbers the lines: it would
    keep all that follows on one thread. Rows come in the order of the lines as long as nothing
    here is a join (see `_is_one_of`).
    """
    typed = [
        f"{sql} as {name}"
        for item in table.fields + table.data_fields
        for name, sql in _typed(table, item).items()
    ]
    checks = " and ".join(f"({check})" for check in _checks(table, types, latest_us))
    stored = [_column(table, name) for name, _ in table.columns]
    return f"""
        with lines as ({lines}),
        judged as (
            select
                text,
                starts_with(text, '{{') and json_valid(text) as is_object,
                not contains(text, '\\')
                    and not regexp_matches(text, {quote(f"{prefilter}|{TRAILING_COMMA}")})
                    as is_clean,
            from lines
        ),
        objects as (
            select
                text,
                is_object and is_clean as is_clean,
                case when is_object then text else '{{}}' end as object,
            from judged
        ),
        parsed as (
            select
                text,
                is_clean,
                json_extract(object, [{_paths(table)}])::varchar[] as raw,
                json_type(object, '$.data') as data_type,
            from objects
        ),
        typed as (
            select
                {", ".join(typed)},
                text, is_clean, raw, data_type,
            from parsed
        ),
        checked as (
            select
                {", ".join(stored)},
                text as payload, is_clean,
                coalesce(is_clean and {checks}, false) as is_ok,
            from typed
        )
        select
            {", ".join(name for name, _ in table.columns)},
            payload,
            {content_hash(table.columns, "null::varchar")} as _content_hash,
            {key_hash(table.key)} as _key_hash,
            is_ok,
            is_clean,
        from checked
    """
