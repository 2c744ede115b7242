"""The SQL that types and checks the plainly clean lines of an event file, vectorised.

A line is taken here only if nothing about it needs thought: no escapes, no secret in sight, only
known keys, each once, each of its type, and every value inside the rules. All others go through
`examine`. The shapes of a file (its lists of keys and types) are few, so each is classified once
in Python. Belongs here: SQL made from the contract. Does not: verdicts; nothing is rejected here.
"""

from landing.contract import ENVIRONMENTS, Field, Rule, Table
from landing.examine import CLOCK_SKEW_US
from landing.tabular import quote

UNIT = "\x1f"
GROUP = "\x1d"

TIME = (
    r"(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d"
    r"(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
)

_JSON_TYPES = {
    "text": {"VARCHAR"},
    "time": {"VARCHAR"},
    "boolean": {"BOOLEAN"},
    "integer": {"UBIGINT", "BIGINT"},
    "number": {"UBIGINT", "BIGINT", "DOUBLE"},
    "metric": {"UBIGINT", "BIGINT", "DOUBLE", "VARCHAR"},
    "text_or_integer": {"UBIGINT", "VARCHAR"},
}
_NUMBERS = "('UBIGINT', 'BIGINT', 'DOUBLE')"


def is_plain_shape(shape: str, table: Table) -> bool:
    """Whether records of this shape hold known keys only, each once and of its type."""
    keys_text, data_keys_text, types_text = shape.split(GROUP)
    keys = keys_text.split(UNIT) if keys_text else []
    data_keys = data_keys_text.split(UNIT) if data_keys_text else []
    if len(set(keys)) != len(keys) or len(set(data_keys)) != len(data_keys):
        return False
    known = {item.name for item in table.fields} | {"data"}
    if not known.issuperset(keys):
        return False
    if not {item.name for item in table.data_fields}.issuperset(data_keys):
        return False
    types = [part.strip() for part in types_text.strip("[]").split(",")]
    expected = [{"OBJECT"}] + [_JSON_TYPES[i.kind] for i in table.fields + table.data_fields]
    return all(
        kind == "NULL" or kind in good for kind, good in zip(types, expected, strict=True)
    )


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


def _paths(table: Table) -> list[str]:
    return (
        ["$.data"]
        + [f"$.{item.name}" for item in table.fields]
        + [f"$.data.{item.name}" for item in table.data_fields]
    )


def _structure(table: Table) -> str:
    def member(item: Field) -> str:
        kind = {"boolean": "BOOLEAN", "integer": "BIGINT", "number": "DOUBLE"}
        return f'"{item.name}":"{kind.get(item.kind, "VARCHAR")}"'

    envelope = ",".join(member(item) for item in table.fields)
    data = ",".join(member(item) for item in table.data_fields)
    return f'{{{envelope},"data":{{{data}}}}}'


def _type_of(table: Table, item: Field) -> str:
    return f"types[{2 + len(table.fields) + table.data_fields.index(item)}]"


def _value(table: Table, item: Field) -> list[tuple[str, str]]:
    """(column, SQL) of one field of the parsed record."""
    if item in table.fields:
        if item.kind == "time":
            text = f"record.{item.name}"
            time = f"make_timestamp(epoch_us(try_cast({text} as timestamptz)))"
            return [(item.name, f"case when regexp_full_match({text}, '{TIME}') then {time} end")]
        if item.kind == "boolean":
            return [(item.name, f"coalesce(record.{item.name}, false)")]
        return [(item.name, f"nullif(record.{item.name}, '')")]
    value = f"record.data.{item.name}"
    if item.kind == "metric":
        kind = _type_of(table, item)
        number = f"try_cast({value} as double) + 0.0"
        return [
            ("numeric_value", f"case when {kind} in {_NUMBERS} then {number} end"),
            ("text_value", f"case when {kind} = 'VARCHAR' then {value} end"),
        ]
    if item.kind in ("text", "text_or_integer"):
        return [(item.name, f"nullif({value}, '')")]
    if item.kind == "number":
        return [(item.name, f"{value} + 0.0")]
    return [(item.name, value)]


def _rule(rule: Rule) -> str:
    applies = " or ".join(
        f"starts_with(type, {quote(pattern[:-1])})" if pattern.endswith("*") else
        f"type = {quote(pattern)}"
        for pattern in rule.types
    )
    value = "coalesce(numeric_value::varchar, text_value)" if rule.field == "value" else rule.field
    holds = f"{value} is not null"
    if rule.allowed is not None:
        holds += f" and {value} in ({', '.join(map(quote, rule.allowed))})"
    if rule.minimum is not None:
        holds += f" and {value} >= {rule.minimum}"
    return f"(({applies}) is false or ({holds}))"


def _checks(table: Table, types: tuple[str, ...], latest_us: int) -> list[str]:
    exact = ", ".join(quote(kind) for kind in types if not kind.endswith("*"))
    known = [f"type in ({exact})"] if exact else []
    known += [
        f"(starts_with(type, {quote(kind[:-1])}) and type <> {quote(kind[:-1])})"
        for kind in types
        if kind.endswith("*")
    ]
    checks = [
        f"({' or '.join(known)})",
        f"environment in ({', '.join(map(quote, ENVIRONMENTS))})",
        *(f"{name} is not null" for name in table.required),
        "(received_at is not null or record.received_at is null)",
        f"epoch_us(coalesce(received_at, occurred_at)) <= {latest_us}",
        f"(epoch_us(occurred_at) <= {latest_us} or epoch_us(occurred_at) > "
        f"epoch_us(received_at) + {CLOCK_SKEW_US})",
        *(_rule(rule) for rule in table.rules),
    ]
    for item in table.data_fields:
        column = "numeric_value" if item.kind == "metric" else item.name
        if item.kind in ("integer", "number", "metric"):
            finite = "" if item.kind == "integer" else f" and isfinite({column})"
            checks.append(
                f"({_type_of(table, item)} in {_NUMBERS}) is not true"
                f" or ({column} is not null{finite})"
            )
    return checks


def stage_sql(
    table: Table, lines: str, types: tuple[str, ...], latest_us: int, prefilter: str
) -> str:
    """The query that stages the lines of `lines` (a query of _line and text).

    Columns: the table's, payload (the line), _content_hash, _key_hash, _line, is_ok (values pass
    and the line is clean), is_clean, shape. Rows that are not ok or not of a plain shape hold
    guesses in their columns and have to be replaced by what `examine` says.
    """
    paths = ", ".join(quote(path) for path in _paths(table))
    columns = [pair for item in table.fields + table.data_fields for pair in _value(table, item)]
    checks = " and ".join(f"({check})" for check in _checks(table, types, latest_us))
    names = [
        "coalesce(received_at, occurred_at) as received_at" if name == "received_at" else name
        for name, _ in table.columns
    ]
    return f"""
        with lines as ({lines}),
        judged as (
            select
                *,
                not contains(text, '\\') and not regexp_matches(text, {quote(prefilter)})
                    as is_clean,
                starts_with(text, '{{') and json_valid(text) as is_object,
            from lines
        ),
        parsed as (
            select
                _line,
                text,
                is_clean,
                is_object,
                case when is_object then json_type(text, [{paths}]) end as types,
                case when is_object then from_json(text, {quote(_structure(table))}) end as record,
                case when is_object then concat(
                    array_to_string(json_keys(text), chr(31)), chr(29),
                    array_to_string(json_keys(text, '$.data'), chr(31)), chr(29),
                    json_type(text, [{paths}])::varchar
                ) end as shape,
            from judged
        ),
        typed as (
            select
                {", ".join(f"{sql} as {name}" for name, sql in columns)},
                text as payload, _line, is_clean, is_object, shape, types, record,
            from parsed
        )
        select
            {", ".join(names)},
            payload,
            {content_hash(table.columns, "null::varchar")} as _content_hash,
            {key_hash(table.key)} as _key_hash,
            _line,
            coalesce(is_clean and is_object and {checks}, false) as is_ok,
            is_clean,
            shape,
        from typed
    """
