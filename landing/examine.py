"""The rules of a single record, as pure functions: accepted with typed values, or rejected.

This is the reference: the SQL of `fastpath` only takes over records on which both agree by
construction (a property test holds them together). Belongs here: parsing one JSON text, typing,
required fields, closed lists, times, drift. Does not: storage, duplicates, files.
"""

import functools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from landing.contract import CLOCK_SKEW_MINUTES, ENVIRONMENTS, Field, Table, matches
from landing.reasons import Reason
from landing.secrets import SecretRules

MAX_DEPTH = 64
CLOCK_SKEW_US = CLOCK_SKEW_MINUTES * 60 * 1_000_000
SEPARATOR = "\x1e"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
BIGINT_MAX = 2**63 - 1
JSON_CELLS = frozenset({"data", "actor", "targets", "context", "metadata"})

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt]([0-2]\d:[0-5]\d:[0-5]\d)(?:\.(\d+))?(?:([Zz])|([+-][0-2]\d:[0-5]\d))",
    re.ASCII,
)
_DATE = re.compile(r"\d{4}-?\d\d-?\d\d", re.ASCII)
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_JSON_TYPES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    dict: "object",
    list: "array",
    type(None): "null",
}


class Rejected(NamedTuple):
    """Why a record is not accepted, and the field at fault if there is one."""

    reason: Reason
    field: str | None = None


class Accepted(NamedTuple):
    """A record as it will be stored.

    `values` by column; instants in microseconds since 1970 (UTC). `extras` is the canonical JSON
    of all content that has no column, or None. `payload` is the record as JSON after redaction.
    `drift` lists unknown fields with their JSON types.
    """

    values: dict[str, Any]
    extras: str | None
    payload: str
    drift: list[tuple[str, str]]


class _Reject(Exception):
    def __init__(self, reason: Reason, field: str | None = None) -> None:
        self.verdict = Rejected(reason, field)


@dataclass(frozen=True)
class Examiner:
    """Examines the records of one table.

    types: exact types and prefixes ending in `*`; latest_us: the latest acceptable instant,
    microseconds since 1970.
    """

    table: Table
    types: tuple[str, ...]
    rules: SecretRules
    latest_us: int

    @functools.cached_property
    def prefixes(self) -> tuple[str, ...]:
        """The types that stand for all that begin like them."""
        return tuple(kind for kind in self.types if kind.endswith("*"))

    def examine(
        self, text: str, found: Counter[str], *, values_clean: bool = False
    ) -> Accepted | Rejected:
        """Return the verdict on one JSON text; redactions are counted into `found` by rule.

        `values_clean` says that no value rule can match (the caller ran the prefilter), which
        saves the search and changes nothing else.
        """
        try:
            record = parse(text)
            plain = ""
            if not values_clean:
                plain = orjson.dumps(record).decode() if "\\" in text else text
            clean = self.rules.redact(record, plain, found)
            if clean is not record:
                for key in self._identifiers(record):
                    if record.get(key) != clean.get(key):
                        return Rejected(Reason.SECRET_IN_KEY, key)
                text = orjson.dumps(clean).decode()
            examined = _EXAMINE[self.table.family](self, clean)
        except _Reject as rejection:
            return rejection.verdict
        values, extras, drift = examined
        if SEPARATOR in text or "\\u001e" in text or "\\u001E" in text:
            # the hash separates columns by this character: say once more, quoted, what they hold
            extras = {**extras, SEPARATOR: values}
        return Accepted(values, canonical(extras) if extras else None, text, drift)

    def _identifiers(self, record: Mapping[str, Any]) -> Iterator[str]:
        for key in (*self.table.key, "project_id", "type"):
            if key in record:
                yield key


def parse(text: str) -> dict[str, Any]:
    """Return the object that a JSON text holds; raises the reason if it is not exactly one."""
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _Reject(diagnose(text)) from None
    if type(record) is not dict:
        raise _Reject(Reason.NOT_AN_OBJECT)
    key_count, depth = _measure(record, 1)
    if depth > MAX_DEPTH:
        raise _Reject(Reason.TOO_DEEP)
    # With no blank before a colon, each key shows as `":`; if there are no more of these than
    # distinct keys, none stands twice. Otherwise ask the slower parser (10 µs a line).
    has_blank = " :" in text or "\t" in text or "\r" in text or "\n" in text
    if has_blank or text.count('":') != key_count:
        json.loads(text, object_pairs_hook=_refuse_duplicates)
    if "\\u0000" in text and _holds_nul(record):
        raise _Reject(Reason.NUL_CHARACTER)
    return record


def _measure(value: dict[str, Any], depth: int) -> tuple[int, int]:
    """Distinct keys and depth of an object, all levels; deeper than MAX_DEPTH is not walked."""
    count, deepest = len(value), depth
    nested: list[tuple[Any, int]] = [
        (item, depth + 1) for item in value.values() if type(item) is dict or type(item) is list
    ]
    while nested:
        item, level = nested.pop()
        deepest = max(deepest, level)
        if level > MAX_DEPTH:
            break
        if type(item) is dict:
            count += len(item)
            item = item.values()
        nested += [(sub, level + 1) for sub in item if type(sub) is dict or type(sub) is list]
    return count, deepest


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _Reject(Reason.DUPLICATE_KEY, repeated)
    return keys


def _holds_nul(value: Any) -> bool:
    if type(value) is str:
        return "\0" in value
    if type(value) is dict:
        return any("\0" in key or _holds_nul(item) for key, item in value.items())
    return type(value) is list and any(_holds_nul(item) for item in value)


def diagnose(text: str) -> Reason:  # noqa: PLR0911 - one return a reason
    """Why a text that the strict parser refused is not one JSON object."""
    if "\0" in text:
        return Reason.NUL_CHARACTER
    unusual: list[str] = []

    def note(token: str) -> float:
        unusual.append(token)
        return 0.0

    def number(token: str) -> float:
        value = float(token)
        return value if math.isfinite(value) else note(token)

    try:
        json.loads(text, parse_constant=note, parse_float=number)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return Reason.SEVERAL_VALUES
        return Reason.INVALID_JSON
    except RecursionError:
        return Reason.TOO_DEEP
    except ValueError:  # an integer of more digits than Python converts
        return Reason.NOT_A_NUMBER
    if unusual:
        return Reason.NOT_A_NUMBER
    if re.search(r"\\u[dD][89abAB-fF]", text):
        return Reason.LONE_SURROGATE
    # what the lenient parser reads and the strict one refuses otherwise: too deep, control
    # characters, numbers beyond a 64-bit float
    if text.count("[") + text.count("{") > 1000:
        return Reason.TOO_DEEP
    return Reason.INVALID_JSON


def canonical(value: Any) -> str:
    """Canonical JSON: keys sorted, nulls of objects dropped."""
    return orjson.dumps(_without_nulls(value), option=orjson.OPT_SORT_KEYS).decode()


def _without_nulls(value: Any) -> Any:
    if type(value) is dict:
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if type(value) is list:
        return [_without_nulls(item) for item in value]
    return value


def parse_time(value: Any, field: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time; finer digits are cut off."""
    if type(value) is not str:
        raise _Reject(Reason.WRONG_TYPE, field)
    match = _TIME.fullmatch(value)
    if match is None:
        if _LOCAL_TIME.fullmatch(value):
            raise _Reject(Reason.TIME_WITHOUT_OFFSET, field)
        if _DATE.fullmatch(value):
            raise _Reject(Reason.DATE_WITHOUT_TIME, field)
        raise _Reject(Reason.INVALID_TIME, field)
    day, clock, fraction, zulu, offset = match.groups()
    iso = f"{day}T{clock}.{(fraction or '')[:6]:0<6}{'+00:00' if zulu else offset}"
    try:
        return (datetime.fromisoformat(iso) - EPOCH) // MICROSECOND
    except (ValueError, OverflowError):
        raise _Reject(Reason.INVALID_TIME, field) from None


def place_of_rejected(table: Table, text: str, latest_us: int) -> tuple[str | None, date | None]:
    """(environment, received day) of a rejected text of an event, each None where it can't tell.

    A time that is itself too far ahead tells nothing.
    """
    try:
        record = orjson.loads(text)
    except ValueError:
        return None, None
    if type(record) is not dict:
        return None, None
    environment = record.get("environment")
    occurred, received = record.get("occurred_at"), record.get("received_at")
    if table.family == "audit":
        environment = environment or "production"
        occurred, received = record.get("occurredAt"), received or record.get("receivedAt")
    try:
        at = parse_time(received or occurred, "received_at")
    except _Reject:
        at = None
    is_told = at is not None and at <= latest_us
    return (
        environment if environment in ENVIRONMENTS else None,
        (EPOCH + at * MICROSECOND).date() if at is not None and is_told else None,
    )


class _Misfit(Exception):
    pass


def _typed(value: Any, item: Field) -> Any:  # noqa: PLR0911 - one branch a kind
    """Return the stored value of a non-null JSON value; raises _Misfit if the type is another."""
    kind = item.kind
    if kind == "text":
        if type(value) is str:
            return value or None
    elif kind == "boolean":
        if type(value) is bool:
            return value
    elif kind == "integer":
        if type(value) is int and -BIGINT_MAX - 1 <= value <= BIGINT_MAX:
            return value
        if type(value) is float and value.is_integer() and abs(value) < 2**53:
            return int(value)
    elif kind == "number":
        if type(value) is int or type(value) is float:
            return float(value) + 0.0  # -0.0 becomes 0.0
    elif kind == "text_or_integer":
        if type(value) is str:
            return value or None
        if type(value) is int or type(value) is float:
            return str(value)
    raise _Misfit


def _envelope_value(value: Any, item: Field) -> Any:
    if item.kind == "time":
        return parse_time(value, item.name)
    try:
        return _typed(value, item)
    except _Misfit:
        raise _Reject(Reason.WRONG_TYPE, item.name) from None


@functools.cache
def _envelope(table: Table) -> dict[str, Field]:
    return {item.name: item for item in table.fields}


@functools.cache
def _data(table: Table) -> dict[str, Field]:
    return {item.name: item for item in table.data_fields}


_Examined = tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]


def _split(table: Table, record: Mapping[str, Any]) -> _Examined:
    """Typed values of the known top-level fields, and the rest as extras and drift."""
    fields = _envelope(table)
    values: dict[str, Any] = {}
    extras: dict[str, Any] = {}
    drift: list[tuple[str, str]] = []
    for key, value in record.items():
        if value is None or value == "":
            continue
        item = fields.get(key)
        if item is None:
            extras[key] = value
            drift.append((key, _JSON_TYPES[type(value)]))
        elif item.kind == "text" and type(value) is str:
            values[key] = value
        else:
            values[key] = _envelope_value(value, item)
    for name in table.required:
        if name not in values:
            raise _Reject(Reason.MISSING_FIELD, name)
    return values, extras, drift


def _check_event_times(examiner: Examiner, values: dict[str, Any]) -> None:
    occurred = values["occurred_at"]
    received = values.setdefault("received_at", occurred)
    if received > examiner.latest_us:
        field = "occurred_at" if received == occurred else "received_at"
        raise _Reject(Reason.TIME_IN_FUTURE, field)
    effective = received if occurred > received + CLOCK_SKEW_US else occurred
    if effective > examiner.latest_us:
        raise _Reject(Reason.TIME_IN_FUTURE, "occurred_at")


def _examine_event(examiner: Examiner, record: Mapping[str, Any]) -> _Examined:
    table = examiner.table
    data = record.get("data")
    if data is None:
        data = {}
    elif type(data) is not dict:
        raise _Reject(Reason.WRONG_TYPE, "data")
    else:
        record = {key: value for key, value in record.items() if key != "data"}
    values, extras, drift = _split(table, record)
    event_type = values["type"]
    is_exact = event_type in examiner.types
    if not is_exact and not any(matches(event_type, kind) for kind in examiner.prefixes):
        raise _Reject(Reason.UNKNOWN_TYPE, "type")
    if values["environment"] not in ENVIRONMENTS:
        raise _Reject(Reason.UNKNOWN_ENVIRONMENT, "environment")
    values.setdefault("is_test", False)
    _check_event_times(examiner, values)

    free = _examine_data(table, data, event_type if is_exact else None, values, drift)
    if free:
        extras["data"] = free
    if is_exact:
        _check_rules(table, event_type, values)
    return values, extras, drift


def _examine_data(
    table: Table,
    data: Mapping[str, Any],
    enforced_type: str | None,
    values: dict[str, Any],
    drift: list[tuple[str, str]],
) -> dict[str, Any]:
    """Put what has a column into `values` and return the rest.

    enforced_type: the event's type, or None if its data is free.
    """
    fields = _data(table)
    free: dict[str, Any] = {}
    for key, value in data.items():
        if value is None:
            continue
        item = fields.get(key)
        if item is None:
            free[key] = value
            if enforced_type is not None:
                drift.append((f"data.{key}", _JSON_TYPES[type(value)]))
            continue
        try:
            if item.kind == "metric":
                values.update(_metric(value))
            elif (typed := _typed(value, item)) is not None:
                values[key] = typed
        except _Misfit:
            if enforced_type is not None and (item.types is None or enforced_type in item.types):
                raise _Reject(Reason.WRONG_TYPE, f"data.{key}") from None
            free[key] = value
    return free


def _metric(value: Any) -> dict[str, Any]:
    if type(value) is str:
        return {"text_value": value}
    if type(value) is int or type(value) is float:
        return {"numeric_value": float(value) + 0.0}
    raise _Misfit


def _check_rules(table: Table, event_type: str, values: Mapping[str, Any]) -> None:
    for rule in table.rules:
        if not rule.applies_to(event_type):
            continue
        value = values.get(rule.field)
        if rule.field == "value":
            value = values.get("numeric_value", values.get("text_value"))
        if value is None:
            raise _Reject(Reason.MISSING_FIELD, f"data.{rule.field}")
        if rule.allowed is not None and value not in rule.allowed:
            raise _Reject(Reason.UNKNOWN_VALUE, f"data.{rule.field}")
        if rule.minimum is not None and value < rule.minimum:
            raise _Reject(Reason.OUT_OF_RANGE, f"data.{rule.field}")


def _examine_entity(examiner: Examiner, record: Mapping[str, Any]) -> _Examined:
    table = examiner.table
    values, extras, drift = _split(table, record)
    for name, allowed in table.allowed.items():
        if values[name] not in allowed:
            raise _Reject(Reason.UNKNOWN_VALUE, name)
    for name in table.uuids:
        if not _UUID.fullmatch(values[name]):
            raise _Reject(Reason.INVALID_UUID, name)
    for name in ("created_at", "updated_at", "requested_at"):
        if name in values and values[name] > examiner.latest_us:
            raise _Reject(Reason.TIME_IN_FUTURE, name)
    return values, extras, drift


def _text(source: Any, key: str, path: str, *, keep_empty: bool = False) -> str | None:
    value = source.get(key) if type(source) is dict else None
    if value is None or (value == "" and not keep_empty):
        return None
    if type(value) is not str:
        raise _Reject(Reason.WRONG_TYPE, f"{path}.{key}")
    return value


_AUDIT_KNOWN = frozenset(
    {
        "id",
        "action",
        "occurredAt",
        "receivedAt",
        "received_at",
        "environment",
        "version",
        "actor",
        "targets",
        "context",
        "metadata",
    }
)


def _audit_targets(record: Mapping[str, Any]) -> tuple[str, str]:
    """(project_id, workspace_id) of the first project target."""
    targets = record.get("targets")
    if targets is not None and type(targets) is not list:
        raise _Reject(Reason.WRONG_TYPE, "targets")
    for target in targets or []:
        if type(target) is dict and target.get("type") == "project":
            project = _text(target, "id", "targets")
            workspace = _text(target.get("metadata"), "organization_id", "targets.metadata")
            if project is None:
                raise _Reject(Reason.MISSING_FIELD, "targets.id")
            if workspace is None:
                raise _Reject(Reason.MISSING_FIELD, "targets.metadata.organization_id")
            return project, workspace
    raise _Reject(Reason.MISSING_FIELD, "targets")


def _examine_audit(examiner: Examiner, record: Mapping[str, Any]) -> _Examined:
    """Document V's shape; extras hold the whole record but id and received time."""
    for name in ("actor", "context", "metadata"):
        if record.get(name) is None:
            raise _Reject(Reason.MISSING_FIELD, name)
        if type(record[name]) is not dict:
            raise _Reject(Reason.WRONG_TYPE, name)
    actor, context, metadata = record["actor"], record["context"], record["metadata"]
    received = record.get("received_at") or record.get("receivedAt")
    top = {
        "id": record.get("id"),
        "action": record.get("action"),
        "occurred_at": record.get("occurredAt"),
        "received_at": received,
        "environment": record.get("environment") or "production",
        "version": record.get("version"),
    }
    try:
        values, _, _ = _split(examiner.table, top)
    except _Reject as rejection:
        reason, at_fault = rejection.verdict
        sent = "occurredAt" if at_fault == "occurred_at" else at_fault
        raise _Reject(reason, sent) from None
    if values["environment"] not in ENVIRONMENTS:
        raise _Reject(Reason.UNKNOWN_ENVIRONMENT, "environment")
    _check_event_times(examiner, values)
    project, workspace = _audit_targets(record)
    person = actor.get("metadata")
    found = {
        "workspace_id": workspace,
        "project_id": project,
        "actor_type": _text(actor, "type", "actor"),
        "actor_id": _text(actor, "id", "actor"),
        "impersonator_email": _text(person, "impersonator_email", "actor.metadata"),
        "impersonator_reason": _text(person, "impersonator_reason", "actor.metadata"),
        "source": _text(metadata, "source", "metadata"),
        "view_interval": _text(metadata, "interval", "metadata", keep_empty=True),
        "ip": _text(context, "location", "context"),
        "user_agent": _text(context, "userAgent", "context"),
    }
    values.update({name: text for name, text in found.items() if text is not None})
    for name, key in (("range_start_at", "start_date"), ("range_end_at", "end_date")):
        if metadata.get(key) not in (None, ""):
            values[name] = parse_time(metadata[key], f"metadata.{key}")
    unknown = [key for key in record if key not in _AUDIT_KNOWN and record[key] is not None]
    drift = [(key, _JSON_TYPES[type(record[key])]) for key in unknown]
    extras = {key: record[key] for key in ("actor", "targets", "context", "metadata", *unknown)}
    return values, extras, drift


_EXAMINE = {"event": _examine_event, "entity": _examine_entity, "audit": _examine_audit}
