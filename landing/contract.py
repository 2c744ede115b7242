"""The landing contract as data: tables, their fields, and what each event type requires.

Belongs here: names, kinds and closed lists. Does not: how a value is checked (`examine`), how
it is stored (`schema`, `store`).
"""

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SEEDS = Path(__file__).resolve().parent.parent / "seeds"
MAX_LINE_BYTES = 1 << 20
# occurred_at more than this after received_at: the clock of the source ran ahead, and the record
# counts for the day on which it was received
CLOCK_SKEW_MINUTES = 5

Kind = Literal["text", "text_or_integer", "boolean", "integer", "number", "metric", "time"]
Family = Literal["event", "audit", "entity"]

SQL_TYPES: Mapping[Kind, str] = {
    "text": "VARCHAR",
    "text_or_integer": "VARCHAR",
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "time": "TIMESTAMP",
}
ENVIRONMENTS = ("production", "sandbox")


@dataclass(frozen=True)
class Field:
    """One typed field; `types` limits the event types that enforce its kind (None = all).

    A type that does not enforce it fills the column when the value fits and otherwise keeps the
    value as an extra. Prefix types (`custom.*`) never enforce.
    """

    name: str
    kind: Kind = "text"
    types: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Rule:
    """What events of some types must carry in data; types ending in `.*` are prefixes."""

    types: tuple[str, ...]
    field: str
    allowed: tuple[str, ...] | None = None
    minimum: int | None = None

    def applies_to(self, event_type: str) -> bool:
        """Whether an event of this type has to satisfy the rule."""
        return any(matches(event_type, pattern) for pattern in self.types)


@dataclass(frozen=True)
class Table:
    """One raw table: the fields of its records, its key, and its stored columns in order."""

    name: str
    family: Family
    fields: tuple[Field, ...]
    required: tuple[str, ...]
    key: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    data_fields: tuple[Field, ...] = ()
    rules: tuple[Rule, ...] = ()
    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    uuids: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash(self.name)


def matches(event_type: str, pattern: str) -> bool:
    """Whether a type equals the pattern, or begins with it when the pattern ends in `*`."""
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1]) and len(event_type) > len(pattern) - 1
    return event_type == pattern


ENVELOPE = (
    Field("id"),
    Field("type"),
    Field("occurred_at", "time"),
    Field("received_at", "time"),
    Field("environment"),
    Field("workspace_id"),
    Field("project_id"),
    Field("user_id"),
    Field("session_id"),
    Field("service_id"),
    Field("trace_id"),
    Field("api_key_id"),
    Field("anonymous_id"),
    Field("impersonator_id"),
    Field("is_test", "boolean"),
    Field("ip"),
    Field("user_agent"),
)
ENVELOPE_REQUIRED = ("id", "type", "occurred_at", "environment", "workspace_id", "project_id")


def _columns(fields: tuple[Field, ...]) -> tuple[tuple[str, str], ...]:
    columns: list[tuple[str, str]] = []
    for item in fields:
        if item.kind == "metric":
            columns += [("numeric_value", "DOUBLE"), ("text_value", "VARCHAR")]
        else:
            columns.append((item.name, SQL_TYPES[item.kind]))
    return tuple(columns)


def _event(name: str, data_fields: tuple[Field, ...], rules: tuple[Rule, ...]) -> Table:
    return Table(
        name=name,
        family="event",
        fields=ENVELOPE,
        required=ENVELOPE_REQUIRED,
        key=("workspace_id", "environment", "id"),
        columns=_columns(ENVELOPE + data_fields),
        data_fields=data_fields,
        rules=rules,
    )


def _entity(  # noqa: PLR0913 - a row of the contract, by name
    name: str,
    fields: tuple[Field, ...],
    *,
    optional: tuple[str, ...] = (),
    key: tuple[str, ...] = ("id",),
    allowed: Mapping[str, tuple[str, ...]] | None = None,
    uuids: tuple[str, ...] = (),
) -> Table:
    return Table(
        name=name,
        family="entity",
        fields=fields,
        required=tuple(item.name for item in fields if item.name not in optional),
        key=key,
        columns=_columns(fields),
        allowed=allowed or {},
        uuids=uuids,
    )


_OUTCOME_TYPES = (
    "login",
    "signup",
    "token_refresh",
    "token_exchange",
    "mfa_verification",
    "password_reset",
)
_METRIC = ("metric.logged",)
_JOURNEY = ("journey.begun", "journey.step", "journey.completed")
_REVOKED = ("session.revoked",)
_CREATED = Field("created_at", "time")
_UPDATED = Field("updated_at", "time")
_DELETED = Field("deleted_at", "time")

_AUDIT_FIELDS = (
    Field("id"),
    Field("action"),
    Field("occurred_at", "time"),
    Field("received_at", "time"),
    Field("environment"),
    Field("workspace_id"),
    Field("project_id"),
    Field("version", "integer"),
    Field("actor_type"),
    Field("actor_id"),
    Field("impersonator_email"),
    Field("impersonator_reason"),
    Field("source"),
    Field("range_start_at", "time"),
    Field("range_end_at", "time"),
    Field("view_interval"),
    Field("ip"),
    Field("user_agent"),
)

_TABLES = (
    _event(
        "auth_events",
        (
            Field("outcome", types=_OUTCOME_TYPES),
            Field("provider"),
            Field("method"),
            Field("failure_reason"),
        ),
        (Rule(_OUTCOME_TYPES, "outcome", allowed=("success", "failure")),),
    ),
    _event(
        "session_events",
        (
            Field("reason", types=_REVOKED),
            Field("revoked_by_kind", types=_REVOKED),
            Field("name", types=_METRIC),
            Field("value", "metric", types=_METRIC),
            Field("unit", types=_METRIC),
            Field("journey_id", types=_JOURNEY),
            Field("journey_name", types=_JOURNEY),
            Field("step", "text_or_integer", types=_JOURNEY),
            Field("action_name", types=("action.run",)),
        ),
        (Rule(("journey.*",), "journey_id"), Rule(_METRIC, "name"), Rule(_METRIC, "value")),
    ),
    _event(
        "platform_events",
        (
            Field("method"),
            Field("route"),
            Field("status_code", "integer"),
            Field("latency_ms", "number"),
            Field("safety_flagged", "boolean"),
            Field("safety_category"),
        ),
        (),
    ),
    _event(
        "membership_events",
        (Field("membership_id"), Field("role"), Field("previous_role"), Field("actor_id")),
        (),
    ),
    _event(
        "webhook_deliveries",
        (
            Field("delivery_id"),
            Field("endpoint_id"),
            Field("event_type"),
            Field("attempt", "integer"),
            Field("outcome"),
            Field("status_code", "integer"),
            Field("latency_ms", "number"),
            Field("will_retry", "boolean"),
        ),
        (
            Rule(("webhook.attempted",), "delivery_id"),
            Rule(("webhook.attempted",), "endpoint_id"),
            Rule(("webhook.attempted",), "attempt", minimum=1),
            Rule(("webhook.attempted",), "outcome", allowed=("delivered", "failed")),
        ),
    ),
    _event(
        "campaign_events",
        (Field("campaign_id"), Field("message_id"), Field("channel")),
        (Rule(("message.*",), "message_id"),),
    ),
    _event(
        "loyalty_events",
        (
            Field("program_id"),
            Field("points", "integer"),
            Field("tier"),
            Field("reward_id"),
            Field("membership_id"),
            Field("source_event_id"),
        ),
        (
            Rule(("points.adjusted",), "points"),
            Rule(("points.earned", "points.redeemed", "points.expired"), "points", minimum=0),
        ),
    ),
    _event(
        "notification_events",
        (Field("notification_id"), Field("channel")),
        (Rule(("notification.*",), "notification_id"),),
    ),
    Table(
        name="audit_events",
        family="audit",
        fields=_AUDIT_FIELDS,
        required=("action", "occurred_at"),
        key=("workspace_id", "environment", "id"),
        columns=_columns(_AUDIT_FIELDS),
    ),
    _entity(
        "workspaces",
        (
            Field("id"),
            Field("slug"),
            Field("name"),
            Field("plan_id"),
            _CREATED,
            _UPDATED,
            _DELETED,
        ),
        optional=("name", "plan_id", "deleted_at"),
    ),
    _entity(
        "projects",
        (Field("id"), Field("workspace_id"), Field("name"), _CREATED, _UPDATED, _DELETED),
        optional=("name", "deleted_at"),
    ),
    _entity(
        "services",
        (
            Field("id"),
            Field("workspace_id"),
            Field("project_id"),
            Field("name"),
            _CREATED,
            _UPDATED,
        ),
        optional=("name",),
        uuids=("id",),
    ),
    _entity(
        "users",
        (
            Field("id"),
            Field("workspace_id"),
            Field("kind"),
            Field("merged_into"),
            _CREATED,
            _UPDATED,
            _DELETED,
        ),
        optional=("workspace_id", "merged_into", "deleted_at"),
        allowed={"kind": ("human", "service", "bot")},
    ),
    _entity(
        "members",
        (
            Field("workspace_id"),
            Field("user_id"),
            Field("role"),
            _CREATED,
            _UPDATED,
            Field("removed_at", "time"),
        ),
        optional=("removed_at",),
        key=("workspace_id", "user_id"),
        allowed={"role": ("owner", "admin", "member")},
    ),
    _entity(
        "erasures",
        (Field("user_id"), Field("requested_at", "time"), Field("requested_by")),
        optional=("requested_by",),
        key=("user_id",),
    ),
)
TABLES: Mapping[str, Table] = {table.name: table for table in _TABLES}


@functools.cache
def event_types(path: Path = SEEDS / "event_catalog.csv") -> Mapping[str, tuple[str, ...]]:
    """Return the types of each table (exact, or prefixes ending in `*`), from the catalogue."""
    types: dict[str, list[str]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            types.setdefault(row["table_name"], []).append(row["type"])
    return {table: tuple(listed) for table, listed in types.items()}
