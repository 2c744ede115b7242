"""The definitions once more, in plain Python: one event after the other, no window functions.

Shares nothing with the SQL it is held against, and is written to be read beside the definitions of
the README rather than to be fast. Events are landing records (dicts) that are valid and unique;
times are datetimes in UTC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

Record = Mapping[str, Any]

GAP = timedelta(minutes=30)
SKEW = timedelta(minutes=5)
CLOSES = {"session.ended", "session.revoked"}
ACTIVE_TYPES = {
    *("login", "signup", "token_refresh", "token_exchange", "mfa_verification"),
    *("session.started", "session.activity", "metric.logged", "api.request"),
    *("journey.begun", "journey.step", "journey.completed"),
}
ATTEMPTS = {"login", "signup", "mfa_verification", "password_reset"}


def time_of(event: Record) -> datetime:
    """When it happened: clamped where the clock ran more than five minutes ahead."""
    received = event.get("received_at") or event["occurred_at"]
    return received if event["occurred_at"] > received + SKEW else event["occurred_at"]


def survivor(user_id: str, merged_into: Mapping[str, str]) -> str:
    """The user at the end of the merges; who is in a cycle stays unmerged."""
    seen = [user_id]
    while seen[-1] in merged_into:
        following = merged_into[seen[-1]]
        if following in seen:
            return following
        seen.append(following)
    return seen[-1]


def active_days(
    events: Iterable[Record], kinds: Mapping[str, str], merged_into: Mapping[str, str]
) -> set[tuple[str, str, str | None, str, date]]:
    """(workspace, project, service, user, day) with at least one qualifying event."""
    days = set()
    for event in events:
        user = event.get("user_id")
        if (
            user is None
            or event.get("is_test")
            or event.get("impersonator_id")
            or event["type"] not in ACTIVE_TYPES
            or (event.get("data") or {}).get("outcome") == "failure"
        ):
            continue
        user = survivor(user, merged_into)
        if kinds.get(user, "human") == "human":
            days.add(
                (
                    event["workspace_id"],
                    event["project_id"],
                    event.get("service_id"),
                    user,
                    time_of(event).date(),
                )
            )
    return days


def users_by_scope(
    days: Iterable[tuple[str, str, str | None, str, date]], last_day: date, windows: Iterable[int]
) -> dict[tuple[str, str, str | None, str | None, date], dict[int, int]]:
    """(scope, workspace, project, service, day) → distinct users of each window, by brute force."""
    by_scope: dict[tuple[str, str, str | None, str | None], set[tuple[str, date]]]
    by_scope = defaultdict(set)
    for workspace, project, service, user, day in days:
        by_scope["workspace", workspace, None, None].add((user, day))
        by_scope["project", workspace, project, None].add((user, day))
        if service is not None:
            by_scope["service", workspace, project, service].add((user, day))
    counted = {}
    for scope, user_days in by_scope.items():
        day = min(day for _, day in user_days)
        while day <= last_day:
            counted[(*scope, day)] = {
                length: len({user for user, at in user_days if 0 <= (day - at).days < length})
                for length in windows
            }
            day += timedelta(days=1)
    return counted


def is_engaging(event_type: str) -> bool:
    """Whether two events of such types make a session engaged."""
    return event_type in {"session.activity", "action.run", "metric.logged"} or (
        event_type.startswith(("journey.", "custom."))
    )


def first_of(events: Iterable[Record], field: str) -> Any:
    """The field of the first event that has one."""
    return next((event[field] for event in events if event.get(field) is not None), None)


def describe_session(
    events: list[Record], close: Record | None, devices: Mapping[str, str]
) -> dict[str, Any]:
    """A session's row of fct_sessions, less its keys; `events` in order, close apart or None."""
    last_at = time_of(events[-1])
    started_at, ended_at = time_of(events[0]), time_of(close) if close else last_at
    duration = (ended_at - started_at) / timedelta(seconds=1)
    revoke = close if close is not None and close["type"] == "session.revoked" else None
    agents = [dict(e, device=devices[e["user_agent"]]) for e in events if e.get("user_agent")]
    return {
        "anonymous_id": first_of(events, "anonymous_id"),
        "started_at": started_at,
        "ended_at": ended_at,
        "session_date": started_at.date(),
        "duration_seconds": duration,
        "event_count": len(events),
        "action_run_count": sum(event["type"] == "action.run" for event in events),
        "device_class": first_of(agents, "device"),
        "is_engaged": duration > 10
        or sum(is_engaging(event["type"]) for event in events) >= 2
        or any(event["type"] == "journey.completed" for event in events),
        "is_overlong": duration > 24 * 60 * 60,
        "is_ended": close is not None,
        "is_revoked": revoke is not None,
        "revoked_at": time_of(revoke) if revoke else None,
        "revoke_reason": (revoke.get("data") or {}).get("reason") if revoke else None,
        "revoked_by_kind": (revoke.get("data") or {}).get("revoked_by_kind") if revoke else None,
        "trace_id": (revoke or {}).get("trace_id") or first_of(events, "trace_id"),
        "is_test": any(event.get("is_test") or False for event in events),
        "is_impersonated": any(event.get("impersonator_id") for event in events),
    }


def split_by_gap(events: Iterable[Record]) -> list[tuple[list[Record], Record | None]]:
    """A visitor's events without session id, as sessions: their events and what closed each."""
    found: list[tuple[list[Record], Record | None]] = []
    open_events: list[Record] = []
    for event in sorted(events, key=lambda e: (time_of(e), e["type"] in CLOSES, e["id"])):
        is_recent = open_events and time_of(event) - time_of(open_events[-1]) <= GAP
        if event["type"] in CLOSES:
            if is_recent:
                found.append((open_events, event))
                open_events = []
            continue
        if open_events and not is_recent:
            found.append((open_events, None))
            open_events = []
        open_events.append(event)
    if open_events:
        found.append((open_events, None))
    return found


def sessions(
    events: Iterable[Record], merged_into: Mapping[str, str], devices: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Rows of fct_sessions, less session_key and environment, in no order."""
    with_id = defaultdict(list)
    by_visitor = defaultdict(list)
    for event in events:
        user = event.get("user_id")
        user = None if user is None else survivor(user, merged_into)
        place = (event["workspace_id"], event["project_id"])
        if event.get("session_id") is not None:
            with_id[(*place, event["session_id"])].append(dict(event, user_id=user))
        elif user is not None or event.get("anonymous_id") is not None:
            visitor = (user, None if user is not None else event["anonymous_id"])
            by_visitor[(*place, visitor, event.get("is_test") or False)].append(
                dict(event, user_id=user)
            )
    found = []
    for (workspace, project, session_id), own in with_id.items():
        own.sort(key=lambda event: (time_of(event), event["id"]))
        closes = [event for event in own if event["type"] in CLOSES]
        # an end and a revoke at the same time: a revoke has to come before the end
        closes.sort(key=lambda event: (time_of(event), event["type"], event["id"]))
        row = describe_session(own, closes[0] if closes else None, devices)
        found.append(
            {
                "workspace_id": workspace,
                "project_id": project,
                "session_id": session_id,
                "user_id": first_of(own, "user_id"),
                **row,
            }
        )
    for (workspace, project, (user, _), _), own in by_visitor.items():
        for events_of_session, close in split_by_gap(own):
            row = describe_session(events_of_session, close, devices)
            found.append(
                {
                    "workspace_id": workspace,
                    "project_id": project,
                    "session_id": None,
                    "user_id": user,
                    **row,
                }
            )
    return found


def auth_by_day(
    events: Iterable[Record], kinds: Mapping[str, str], merged_into: Mapping[str, str]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """(workspace, project, service, provider, method, day) → measures of fct_auth_daily."""
    rows: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for event in events:
        if not event.get("is_test") and event["type"] != "logout":
            data = event.get("data") or {}
            rows[
                event["workspace_id"],
                event["project_id"],
                event.get("service_id"),
                data.get("provider"),
                data.get("method"),
                time_of(event).date(),
            ].append(dict(event, outcome=data.get("outcome")))

    def ratio(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    measured = {}
    for key, own in rows.items():
        attempts = [event for event in own if event["type"] in ATTEMPTS]
        failures = [event for event in attempts if event["outcome"] == "failure"]
        logins = [event for event in own if event["type"] == "login"]
        login_successes = sum(event["outcome"] == "success" for event in logins)
        challenges = sum(event["type"] == "mfa_challenge" for event in own)
        passes = sum(
            event["type"] == "mfa_verification" and event["outcome"] == "success" for event in own
        )
        users = {
            survivor(event["user_id"], merged_into)
            for event in own
            if event.get("user_id") and not event.get("impersonator_id")
        }
        successes = len(attempts) - len(failures)
        measured[key] = {
            "attempt_count": len(attempts),
            "success_count": successes,
            "failure_count": len(failures),
            "success_rate": ratio(successes, len(attempts)),
            "login_count": len(logins),
            "login_success_count": login_successes,
            "token_refresh_count": sum(event["type"] == "token_refresh" for event in own),
            "token_exchange_count": sum(event["type"] == "token_exchange" for event in own),
            "mfa_challenge_count": challenges,
            "mfa_pass_count": passes,
            "mfa_challenge_rate": ratio(challenges, login_successes),
            "mfa_pass_rate": ratio(passes, challenges),
            "user_count": sum(kinds.get(user, "human") == "human" for user in users),
            "failures_with_trace_count": sum(
                event.get("trace_id") is not None for event in failures
            ),
        }
    return measured


def in_time(events: Iterable[Record]) -> list[Record]:
    """By time; at the same instant by id."""
    return sorted(events, key=lambda event: (time_of(event), event["id"]))


def is_same_place(one: Record, other: Record) -> bool:
    return all(one[key] == other[key] for key in ("workspace_id", "project_id"))


def surviving_user(event: Record, merged_into: Mapping[str, str]) -> str | None:
    """Who the event's user is, after merges."""
    user = event.get("user_id")
    return None if user is None else survivor(user, merged_into)


def membership_of(
    event: Record, changes: Iterable[Record], merged_into: Mapping[str, str]
) -> str | None:
    """membership_id of a growth row: its own, else what was known of its user at its time."""
    own = (event.get("data") or {}).get("membership_id")
    user = surviving_user(event, merged_into)
    if own is not None or user is None:
        return own
    known = [
        change["data"]["membership_id"]
        for change in in_time(changes)
        if is_same_place(change, event)
        and surviving_user(change, merged_into) == user
        and time_of(change) <= time_of(event)
        and change["data"].get("membership_id") is not None
        and (event.get("is_test") or not change.get("is_test"))
    ]
    return known[-1] if known else None


MEMBERSHIP_CHANGES = ("invited", "added", "removed", "role_changed")


def memberships_by_day(
    changes: Iterable[Record], merged_into: Mapping[str, str], last_day: date
) -> dict[tuple[str, str, date], tuple[int, ...]]:
    """(workspace, project, day) → counts of MEMBERSHIP_CHANGES, members at its end."""
    counted = {}
    by_place = defaultdict(list)
    for change in in_time(change for change in changes if not change.get("is_test")):
        by_place[change["workspace_id"], change["project_id"]].append(change)
    for place, its_changes in by_place.items():
        day = time_of(its_changes[0]).date()
        while day <= last_day:
            so_far = [change for change in its_changes if time_of(change).date() <= day]
            latest = {surviving_user(change, merged_into): change["type"] for change in so_far}
            latest.pop(None, None)
            of_day = [change["type"] for change in so_far if time_of(change).date() == day]
            counted[(*place, day)] = (
                *(of_day.count(f"membership.{kind}") for kind in MEMBERSHIP_CHANGES),
                sum(
                    kind in ("membership.added", "membership.role_changed")
                    for kind in latest.values()
                ),
            )
            day += timedelta(days=1)
    return counted


POINTS = ("earned", "redeemed", "expired", "adjusted")


def points_of(events: Iterable[Record], kind: str) -> int:
    """The sum of a kind's points."""
    return sum(event["data"]["points"] for event in events if event["type"] == f"points.{kind}")


def loyalty_by_day(
    events: Iterable[Record], kinds: Mapping[str, str], merged_into: Mapping[str, str]
) -> dict[tuple[str, str, str | None, date], tuple[int, ...]]:
    """(workspace, project, program, day) → POINTS, rewards, tier changes, active members."""
    by_key = defaultdict(list)
    for event in events:
        if not event.get("is_test"):
            program = event["data"].get("program_id")
            key = (event["workspace_id"], event["project_id"], program, time_of(event).date())
            by_key[key].append(event)
    counted = {}
    for key, its_events in by_key.items():
        types = [event["type"] for event in its_events]
        active = {
            surviving_user(event, merged_into)
            for event in its_events
            if not event.get("impersonator_id")
        }
        counted[key] = (
            *(points_of(its_events, kind) for kind in POINTS),
            types.count("reward.claimed"),
            types.count("tier.changed"),
            sum(user is not None and kinds.get(user, "human") == "human" for user in active),
        )
    return counted


def loyalty_balances(
    events: Iterable[Record], merged_into: Mapping[str, str]
) -> dict[tuple[str, str, str | None, str | None], tuple[int, str | None, datetime]]:
    """(workspace, project, program, user) → balance, tier, time of the last event."""
    by_key = defaultdict(list)
    for event in in_time(event for event in events if not event.get("is_test")):
        program, user = event["data"].get("program_id"), surviving_user(event, merged_into)
        by_key[event["workspace_id"], event["project_id"], program, user].append(event)
    balances = {}
    for key, its_events in by_key.items():
        earned, redeemed, expired, adjusted = (points_of(its_events, kind) for kind in POINTS)
        tiers = [
            event["data"].get("tier") for event in its_events if event["type"] == "tier.changed"
        ]
        balances[key] = (
            earned - redeemed - expired + adjusted,
            tiers[-1] if tiers else None,
            time_of(its_events[-1]),
        )
    return balances
