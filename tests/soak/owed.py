"""What each consumer should find: SQL by hand on what is published, treatments recomputed.

Belongs here: the tables and events of each share, and what they come to. Does not belong here: how
a consumer reads (reading.py), the order of the soak (consumers.py). Nothing of sharing/ is used:
were it wrong, it would be wrong here too.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from tests.conftest import ROOT

HASH_KEY = "fedcba9876543210" * 4
# Named in every share. No mart holds an address, so `ip` tells that naming it harms nothing.
PII = {"user_id": "keyed_hash", "anonymous_id": "keyed_hash", "ip": "truncate"}
HASHED = ("user_id", "anonymous_id")

MINE = "list_contains(getvariable('workspaces'), workspace_id)"
OLDEST = "getvariable('oldest')"
# What an export leaves behind would otherwise be the reason for the next one.
NOT_OWN = """not (source_table = 'audit_events' and type in ('analytics.export',
    'analytics.export_refused', 'share.revoked', 'share.read', 'share.read_refused'))"""

# model → (what shares.yml says, what that comes to)
TABLES: dict[str, tuple[dict[str, Any], str]] = {
    "fct_auth_attempts": (
        {"profile": "full"},
        f"""select workspace_id, event_id, project_id, type, occurred_at, user_id, service_id,
            session_id, provider, method, outcome, failure_reason, trace_id, device_class, is_test,
            is_impersonated, is_clock_skewed, activity_date, environment
        from fct_auth_attempts where {MINE} and activity_date >= {OLDEST}""",
    ),
    "fct_auth_daily": (
        {"columns": ["project_id", "provider", "attempt_count", "success_rate", "user_count"]},
        f"""select workspace_id, project_id, provider, activity_date, attempt_count, success_rate,
            user_count, environment
        from fct_auth_daily where {MINE} and activity_date >= {OLDEST}""",
    ),
    # its day follows from its hour, and goes along
    "fct_failure_signals": (
        {"columns": ["project_id", "kind", "activity_hour_at", "failure_rate", "trace_ids"]},
        f"""select workspace_id, project_id, kind, activity_hour_at, failure_rate, trace_ids,
            cast(activity_hour_at as date) as activity_date, environment
        from fct_failure_signals
        where {MINE} and cast(activity_hour_at as date) >= {OLDEST}""",
    ),
    # the profile leaves out who impersonated: shares.yml says nothing of that
    "fct_events": (
        {"profile": "full"},
        f"""select workspace_id, source_table, event_id, project_id, category, type, origin,
            occurred_at, received_at, user_id, anonymous_id, session_id, session_key, service_id,
            api_key_id, trace_id, outcome, device_class, is_test, is_impersonated, is_clock_skewed,
            summary, actor_type, auth_provider, auth_method, status_code, latency_ms,
            is_safety_flagged, is_qualifying, activity_date, environment
        from fct_events where {MINE} and activity_date >= {OLDEST} and {NOT_OWN}""",
    ),
    "fct_sessions": (
        {"columns": ["session_key", "user_id", "started_at", "duration_seconds", "event_count"]},
        f"""select session_key, workspace_id, user_id, started_at, session_date,
            duration_seconds, event_count, environment
        from fct_sessions where {MINE} and session_date >= {OLDEST}""",
    ),
    "fct_active_user_days": (
        {"columns": ["project_id", "user_id", "qualifying_count", "is_first_day_in_project"]},
        f"""select workspace_id, project_id, user_id, activity_date, qualifying_count,
            is_first_day_in_project, environment
        from fct_active_user_days where {MINE} and activity_date >= {OLDEST}""",
    ),
    # without days: one file, whatever the boundary
    "dim_projects": (
        {"profile": "full"},
        f"""select project_id, workspace_id, name, created_at, updated_at, deleted_at, environment
        from dim_projects where {MINE}""",
    ),
}

STREAM = """workspace_id, source_table, event_id, project_id, category, type, origin, occurred_at,
    received_at, user_id, session_id, service_id, trace_id, outcome, is_test, activity_date,
    environment"""
VISITS = """workspace_id, source_table, event_id, project_id, category, type, occurred_at, user_id,
    anonymous_id, session_id, trace_id, is_test, activity_date, environment"""
STREAMED = {"profile": "stream"}
VISITED = {
    "columns": ["project_id", "user_id", "anonymous_id", "session_id", "trace_id", "is_test"]
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Scope:
    """Whose rows of which snapshot, from which day on; `types`: of events, those named."""

    snapshot: Path
    environment: str
    workspaces: Sequence[str]
    oldest: date
    types: Sequence[str] = ()


def oldest_day(plan: str, environment: str, today: date, days: int | None) -> date:
    """The first day that may be shown: that of the plan, or of the share where that is less."""
    with (ROOT / "seeds" / "plans.csv").open() as file:
        [limit] = [
            int(row["retention_days"])
            for row in csv.DictReader(file)
            if (row["plan_id"], row["environment"]) == (plan, environment)
        ]
    return today - timedelta(days=min(limit, days or limit))


def table(scope: Scope, model: str) -> tuple[list[str], Counter[tuple[Any, ...]]]:
    """The columns of a table and its rows, each as often as it is there."""
    names, rows = _asked(scope, TABLES[model][1])
    return names, Counter(tuple(row.values()) for row in rows)


def events(scope: Scope, columns: str, categories: Sequence[str]) -> dict[str, Row]:
    """Events by their key; of named types, else of the categories that a format takes."""
    listed = ", ".join(f"'{one}'" for one in scope.types or categories)
    chosen = f"{'type' if scope.types else 'category'} in ({listed})"
    _, rows = _asked(
        scope,
        f"select {columns} from fct_events"
        f" where {MINE} and activity_date >= {OLDEST} and {NOT_OWN} and {chosen}",
    )
    return {key_of(row): row for row in rows}


def own_events(scope: Scope) -> int:
    """Events of exporting and reading among those of the consumer: they must not leave."""
    _, rows = _asked(scope, f"select event_id from fct_events where {MINE} and not ({NOT_OWN})")
    return len(rows)


def key_of(row: Mapping[str, Any]) -> str:
    """What tells an event from all others."""
    return "/".join((row["workspace_id"], row["source_table"], row["event_id"]))


def _asked(scope: Scope, query: str) -> tuple[list[str], list[Row]]:
    with duckdb.connect(str(scope.snapshot.resolve()), read_only=True) as connection:
        connection.execute(f"set TimeZone = 'UTC'; set schema = '{scope.environment}'")
        connection.execute("set variable workspaces = ?", [list(scope.workspaces)])
        connection.execute("set variable oldest = cast(? as date)", [scope.oldest])
        found = connection.execute(query)
        names = [column[0] for column in found.description or ()]
        rows = found.fetchall()
    return names, [_treated(dict(zip(names, map(plain, row), strict=True))) for row in rows]


def _treated(row: Row) -> Row:
    return {
        name: hashed(value) if name in HASHED and value is not None else value
        for name, value in row.items()
    }


def hashed(value: str) -> str:
    """A keyed hash as README says it: the key's id, and HMAC-SHA256 in hexadecimal digits."""
    return f"k1:{hmac.new(HASH_KEY.encode(), value.encode(), hashlib.sha256).hexdigest()}"


def plain(value: Any) -> Any:
    """A value as Python says it, whoever read it: times in UTC without zone, lists as tuples."""
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime()
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, list):
        return tuple(map(plain, value))
    # what pandas and numpy have for null is not equal to itself
    return None if value != value else value  # noqa: PLR0124


def said(value: Any) -> Any:
    """A value as JSON says it: times in UTC to the millisecond, days in ISO 8601."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"
    return f"{value:%Y-%m-%d}" if isinstance(value, date) else value


def line(row: Row) -> Row:
    """A row as JSON, nulls kept."""
    return {name: said(value) for name, value in row.items()}


def known(row: Row, *left_out: str) -> Row:
    """A row as JSON, without nulls."""
    told = line(row).items()
    return {name: value for name, value in told if value is not None and name not in left_out}


def milliseconds(moment: datetime) -> int:
    """Since 1970."""
    return round((moment - datetime(1970, 1, 1)) / timedelta(milliseconds=1))


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def differences(read: Counter[Any], right: Counter[Any]) -> Iterable[str]:
    """What is missing and what is too much; numbers, no values."""
    if missing := (right - read).total():
        yield f"{missing} rows are missing"
    if strange := (read - right).total():
        yield f"{strange} rows should not be there"
