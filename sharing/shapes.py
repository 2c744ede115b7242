"""What a line of JSON says of an event, by format: written from a row, and found again in a line.

Belongs here: the shape of each line, and where a gate finds whose event it is. Does not belong
here: how lines become files (streams.py) or requests (hec.py, heap.py, ga4.py), what of them the
receiver would refuse (the same modules), OCSF's own mapping (ocsf.py).

Every shape carries the event's key, its workspace and its environment: what is in the bytes can be
looked at, and whoever receives an event twice can tell.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sharing import ocsf
from sharing.compiler import EVENT_KEY

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Shape:
    """A format's line: `line` makes it; the others are JSON paths in it, `day` is SQL over `json`.

    `key`: paths of workspace, source table and event id.
    """

    line: Callable[[Row], dict[str, Any]]
    key: tuple[str, str, str]
    environment: str
    day: str


def plain(row: Row) -> dict[str, Any]:
    """The columns as they are: times in UTC with milliseconds, days as dates, nulls kept."""
    return {name: told(value) for name, value in row.items()}


def told(value: Any) -> Any:
    """A value as JSON says it."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    return value.isoformat() if isinstance(value, date) else value


def known(row: Row, *left_out: str) -> dict[str, Any]:
    """The columns that say something."""
    return {
        name: told(value)
        for name, value in row.items()
        if value is not None and name not in left_out
    }


def hec(row: Row) -> dict[str, Any]:
    """Splunk's envelope; time in seconds. `fields` are indexed: what tells an event from others."""
    return {
        "time": round(row["occurred_at"].timestamp(), 3),
        "event": known(row),
        "fields": {name: row[name] for name in EVENT_KEY},
    }


def heap(row: Row) -> dict[str, Any]:
    """Heap's custom event; the identity is whom the share names, hashed or not."""
    identity = row.get("user_id") or row.get("anonymous_id")
    return {
        **({"identity": identity} if identity else {}),
        "event": row["type"],
        "timestamp": told(row["occurred_at"]),
        "idempotency_key": "/".join(row[name] for name in EVENT_KEY),
        "properties": {
            name: ", ".join(value) if isinstance(value, list) else value
            for name, value in known(row, "user_id", "anonymous_id").items()
        },
    }


def ga4(row: Row) -> dict[str, Any]:
    """An event of the Measurement Protocol beside its visitor, whom a keyed hash stands for."""
    client = row.get("user_id") or row.get("anonymous_id")
    params = known(row, "user_id", "anonymous_id", "type", "occurred_at")
    # this name is Google's own, for a number
    if "session_id" in params:
        params["source_session_id"] = params.pop("session_id")
    return {
        **({"client_id": client} if client else {}),
        "event": {
            "name": row["type"].replace(".", "_"),
            "timestamp_micros": round(row["occurred_at"].timestamp() * 1e6),
            "params": {
                name: ",".join(value) if isinstance(value, list) else value
                for name, value in params.items()
            },
        },
    }


def _within(prefix: str) -> tuple[str, str, str]:
    workspace, table, event = (f"$.{prefix}{name}" for name in EVENT_KEY)
    return workspace, table, event


SHAPES = {
    "ndjson": Shape(
        plain, _within(""), "$.environment", "cast(left(json->>'$.occurred_at', 10) as date)"
    ),
    "ocsf": Shape(
        ocsf.event,
        ("$.metadata.tenant_uid", "$.metadata.log_name", "$.metadata.uid"),
        "$.unmapped.environment",
        "cast(make_timestamp(cast(json->>'$.time' as bigint) * 1000) as date)",
    ),
    "hec": Shape(
        hec,
        _within("fields."),
        "$.event.environment",
        "cast(make_timestamp(cast(cast(json->>'$.time' as double) * 1e6 as bigint)) as date)",
    ),
    "heap": Shape(
        heap,
        _within("properties."),
        "$.properties.environment",
        "cast(left(json->>'$.timestamp', 10) as date)",
    ),
    "ga4": Shape(
        ga4,
        _within("event.params."),
        "$.event.params.environment",
        "cast(make_timestamp(cast(json->>'$.event.timestamp_micros' as bigint)) as date)",
    ),
}
