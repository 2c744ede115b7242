"""Events as the Open Cybersecurity Schema Framework says them, and what its schema says of them.

Belongs here: which class and activity an event is, and the check against the schema of VERSION.
Does not belong here: who gets it (compiler.py), files (streams.py).

The schema is data of the package ocsf-json-schema (code MIT, schemas Apache-2.0), compiled there
from the framework's releases; nothing is fetched. Classes:

    3001 Account Change      sign-ups, password resets
    3002 Authentication      logins, logouts, tokens, MFA, sessions that end
    3004 Entity Management   audit events: somebody created, changed, deleted or read something
    3006 Group Management    memberships of a project
    6003 API Activity        API requests and every other platform event

What has no attribute of its own goes into `unmapped`.
"""

import functools
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jsonschema_rs
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

VERSION = "1.8.0"
PRODUCT = {"name": "Rollcall", "vendor_name": "Rollcall"}
INFORMATIONAL, UNKNOWN, OTHER = 1, 0, 99

CLASSES = {
    3001: "account_change",
    3002: "authentication",
    3004: "entity_management",
    3006: "group_management",
    6003: "api_activity",
}
# type → (class, activity); what a type is not here for follows from its table
ACTIVITIES = {
    "login": (3002, 1),
    "logout": (3002, 2),
    "token_refresh": (3002, 5),
    "token_exchange": (3002, 4),
    "mfa_challenge": (3002, 6),
    "mfa_verification": (3002, 6),
    "session.started": (3002, 1),
    "session.ended": (3002, 2),
    "session.revoked": (3002, 2),
    "signup": (3001, 1),
    "password_reset": (3001, 4),
    "membership.invited": (3006, OTHER),
    "membership.added": (3006, 3),
    "membership.role_changed": (3006, 1),
    "membership.removed": (3006, 4),
}
# the last word of an audit action → activity of Entity Management
VERBS = {
    **dict.fromkeys(("create", "created", "add", "added", "invite", "invited"), 1),
    **dict.fromkeys(("read", "view", "viewed", "export", "exported", "list", "listed"), 2),
    **dict.fromkeys(("update", "updated", "change", "changed", "rename", "renamed"), 3),
    **dict.fromkeys(("delete", "deleted", "remove", "removed", "revoke", "revoked"), 4),
    **dict.fromkeys(("enable", "enabled"), 8),
    **dict.fromkeys(("disable", "disabled"), 9),
}
STATUSES = {"success": 1, "delivered": 1, "failure": 2, "failed": 2}
# columns that an attribute of every event is made of, and those of the classes that have one
MAPPED = frozenset(
    (
        "workspace_id",
        "source_table",
        "event_id",
        "type",
        "occurred_at",
        "received_at",
        "user_id",
        "trace_id",
    )
)
MAPPED_IN = {3002: {"session_id", "service_id"}, 6003: {"service_id", "status_code"}}


def classify(table: str, type_: str) -> tuple[int, int]:
    """(class, activity) of an event by its table and type."""
    if type_ in ACTIVITIES:
        return ACTIVITIES[type_]
    if table == "auth_events":
        return 3002, OTHER
    if table == "audit_events":
        return 3004, VERBS.get(type_.replace("_", ".").rsplit(".", 1)[-1].lower(), OTHER)
    return 6003, OTHER


def event(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of fct_events as an event of its class; columns it lacks are left out."""
    class_, activity = classify(row["source_table"], row["type"])
    made: dict[str, Any] = {
        "activity_id": activity,
        "category_uid": class_ // 1000,
        "class_uid": class_,
        "type_uid": class_ * 100 + activity,
        "severity_id": INFORMATIONAL,
        "status_id": STATUSES.get(row.get("outcome") or "", UNKNOWN),
        "time": _milliseconds(row["occurred_at"]),
        "metadata": {
            "version": VERSION,
            "product": PRODUCT,
            "uid": row["event_id"],
            "tenant_uid": row["workspace_id"],
            "log_name": row["source_table"],
            "event_code": row["type"],
        },
    }
    if activity == OTHER:
        made["activity_name"] = row["type"]
    if row.get("received_at"):
        made["metadata"]["logged_time"] = _milliseconds(row["received_at"])
    if row.get("trace_id"):
        made["metadata"]["correlation_uid"] = row["trace_id"]
    made |= _of_class(class_, row)
    told = MAPPED | MAPPED_IN.get(class_, set())
    if made["status_id"] != UNKNOWN:
        told |= {"outcome"}
    left = {
        name: str(value) if hasattr(value, "isoformat") else value
        for name, value in row.items()
        if name not in told and value is not None
    }
    # whoever a class has no user for is not lost
    if row.get("user_id") and class_ in (3004, 6003):
        made["actor"] = {"user": {"uid": row["user_id"]}}
    return {**made, "unmapped": left}


def _of_class(class_: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a class asks for beside what every event has."""
    user = {"uid": row.get("user_id") or "unknown"}
    session = {"session": {"uid": row["session_id"]}} if row.get("session_id") else {}
    service = {"uid": row.get("service_id") or row.get("project_id") or row["workspace_id"]}
    project = {"uid": row.get("project_id") or row["workspace_id"]}
    if class_ == 3001:
        return {"user": user}
    if class_ == 3002:
        return {"user": user, "service": service, **session}
    if class_ == 3004:
        return {"entity": {**project, "type": "project"}}
    if class_ == 3006:
        return {"group": {**project, "type": "project"}, "user": user}
    code = row.get("status_code")
    answer = {} if code is None else {"http_response": {"code": code}}
    return {
        "api": {"operation": row["type"], "service": service},
        "actor": {"app_uid": service["uid"]},
        # addresses are not kept in events
        "src_endpoint": {"name": "not recorded"},
        **answer,
    }


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def faults(made: Mapping[str, Any], found: Counter[str]) -> None:
    """Count what the schema has against an event, by class and place; no value is told."""
    validator = _validators()[made["class_uid"]]
    if not validator.is_valid(made):
        for error in validator.iter_errors(made):
            place = ".".join(map(str, error.instance_path)) or "event"
            found[f"{CLASSES[made['class_uid']]}, {place}"] += 1


@functools.cache
def _validators() -> dict[int, jsonschema_rs.Draft202012Validator]:
    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(VERSION))
    return {
        uid: jsonschema_rs.Draft202012Validator(schemas.get_class_schema(name))
        for uid, name in CLASSES.items()
    }
