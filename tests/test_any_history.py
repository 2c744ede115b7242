"""Full refresh, incremental runs and any order of arrival give the same marts, to the row.

A state machine draws landing histories over a small world: two workspaces, five users, days a
window's length apart, times on both sides of every edge, ids that meet. Records arrive in files, in
any order, again and again, corrected, received earlier but landed later; users merge and part;
builds come in between, some of one environment only, some from scratch, some that fail half-way.
Whatever happened, every mart of the manifest has to equal that of a warehouse which got the same
files in one go and was built once (histories.py).

`ROLLCALL_EXAMPLES=3000` draws that many histories at random instead of the few that every run of
the tests draws, always the same.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.histories import (
    ENVIRONMENTS,
    Build,
    Land,
    Record,
    Recording,
    Replay,
    Seal,
    Step,
    bag,
    differences,
    drive,
    live_through,
    script,
)

EXAMPLES = int(os.environ.get("ROLLCALL_EXAMPLES", "0"))

# ---- the world

DAY = timedelta(days=1)
GAP = timedelta(minutes=30)
TICK = timedelta(microseconds=1)
FIRST = date(2025, 1, 30)
# both sides of the edges of windows (7, 28, 30, 90 days), of months (31 January, 28 February, 30
# April) and of weeks; the clock stands at the noon of day 122
OFFSETS = (0, 0, 0, 1, 1, 2, 6, 7, 27, 28, 29, 30, 31, 59, 60, 88, 89, 90, 91, 119, 122, 123, 124)
# the last day whose beginning is less than 24 hours after the clock
LAST_OFFSET = 123
LAST_MOMENT = datetime.combine(FIRST + LAST_OFFSET * DAY, time(0), UTC)
# a visit in the middle of a day, one over midnight, one that begins with the day
HOURS = (time(12), time(23, 40), time(0))
STEPS = (timedelta(0), GAP, 2 * GAP, 3 * GAP, timedelta(seconds=10), timedelta(minutes=7))
NUDGES = (timedelta(0), timedelta(0), TICK, -TICK)
# an instant at which many records are received: what wins among them is not told by when they occur
RECEIVED = tuple(datetime(2025, 5, 31, 12, minute, tzinfo=UTC) for minute in (0, 10, 20))
SKEWS = (timedelta(minutes=5), timedelta(minutes=5) + TICK, timedelta(days=3), timedelta(days=90))

PLACES = (("ws_1", "prj_a"), ("ws_1", "prj_a"), ("ws_1", "prj_b"), ("ws_2", "prj_c"))
USERS = ("usr_1", "usr_2", "usr_3", "usr_4", "usr_5")
SERVICES = ("7d44a7a4-3a5b-4a6e-9d4e-0a3c5b1f2e11", "0b9d5c1e-6f0e-4a52-8a86-5f2f6f6a1c22")
AGENTS = (
    "curl/8.5.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like"
    " Gecko) Version/17.4 Mobile/15E148 Safari/604.1",
)
TYPES: dict[str, tuple[str, ...]] = {
    "auth_events": (
        *("login", "login", "login", "signup", "token_refresh", "token_exchange"),
        *("mfa_challenge", "mfa_verification", "password_reset", "logout"),
    ),
    "session_events": (
        *("session.started", "session.activity", "session.activity", "session.ended"),
        *("session.revoked", "action.run", "custom.clicked", "metric.logged"),
        *("journey.begun", "journey.step", "journey.completed"),
    ),
    "platform_events": ("api.request", "app.published", "app.error"),
    "membership_events": (
        *("membership.invited", "membership.added", "membership.role_changed"),
        "membership.removed",
    ),
    "webhook_deliveries": ("webhook.attempted",),
    "campaign_events": (
        *("message.queued", "message.sent", "message.delivered", "message.opened"),
        *("message.clicked", "message.bounced", "message.complained", "message.failed"),
        "message.unsubscribed",
    ),
    "loyalty_events": (
        *("points.earned", "points.redeemed", "points.expired", "points.adjusted"),
        *("tier.changed", "reward.claimed"),
    ),
    "notification_events": (
        *("notification.queued", "notification.sent", "notification.delivered"),
        *("notification.failed", "notification.read"),
    ),
}
OFTEN = ("session_events", "auth_events", "session_events", "auth_events", "platform_events")


def text_of(at: datetime) -> str:
    """RFC 3339 to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


one_of = st.sampled_from
dates = one_of([FIRST + offset * DAY for offset in OFFSETS])


def rarely(strategy: st.SearchStrategy[Any], parts: int = 8) -> st.SearchStrategy[Any]:
    """None, but once in so many parts something of the strategy."""
    return st.integers(0, parts - 1).flatmap(
        lambda part: strategy if part == parts - 1 else st.none()
    )


@st.composite
def instants(draw: st.DrawFn) -> datetime:
    """A time on one of the days, near an edge."""
    start = datetime.combine(draw(dates), draw(one_of(HOURS)), UTC)
    return start + draw(one_of(STEPS)) + draw(one_of(NUDGES))


@st.composite
def receipts(draw: st.DrawFn, occurred: datetime) -> datetime | None:
    """When a record was received, or None: when it occurred."""
    how = draw(one_of(("", "", "", "fixed", "fixed", "later", "skewed")))
    if how == "fixed":
        return draw(one_of(RECEIVED))
    if how == "later":
        return occurred + draw(one_of((timedelta(seconds=1), DAY)))
    if how == "skewed":
        return occurred - draw(one_of(SKEWS))
    return None


@st.composite
def details(draw: st.DrawFn, table: str, kind: str) -> Record:  # noqa: PLR0911 - a case a table
    """What `data` holds for an event of a type."""
    if table == "auth_events":
        data = {
            "provider": draw(one_of((None, "github"))),
            "method": draw(one_of(("oauth", "sso"))),
        }
        if kind not in ("mfa_challenge", "logout"):
            data["outcome"] = draw(one_of(("success", "success", "failure")))
        return data
    if kind == "session.revoked":
        return {"reason": draw(one_of(("a", "b"))), "revoked_by_kind": "admin"}
    if kind == "metric.logged":
        return {"name": "load", "value": draw(one_of((1, 2.5, 0.1, 1e16, "high", "5")))}
    if kind.startswith("journey."):
        name = draw(one_of((None, "onboarding", "onboarding", "import")))
        return {"journey_id": draw(one_of(("jny_1", "jny_2"))), "journey_name": name}
    if table == "platform_events":
        return {
            "route": "/v1",
            "status_code": draw(one_of((200, 399, 404, 499, 500))),
            "latency_ms": draw(one_of((1.5, 20, 0.1, 0.7, 1e16, None))),
            "safety_flagged": draw(one_of((None, False, True))),
        }
    if table == "membership_events":
        found = {
            "membership_id": draw(one_of((None, "mem_1", "mem_2", "mem_3"))),
            "role": draw(one_of(("member", "admin"))),
        }
        return {name: value for name, value in found.items() if value is not None}
    if table == "webhook_deliveries":
        return {
            "delivery_id": draw(one_of(("dlv_1", "dlv_2"))),
            "endpoint_id": draw(one_of(("end_1", "end_1", "end_2"))),
            "event_type": draw(one_of((None, "member.added", "member.removed"))),
            "attempt": draw(st.integers(1, 3)),
            "outcome": draw(one_of(("delivered", "failed", "failed"))),
            "will_retry": draw(one_of((None, True, False))),
            "status_code": draw(one_of((None, 200, 500))),
            "latency_ms": draw(one_of((None, 1.5, 20))),
        }
    if table == "campaign_events":
        return {
            "campaign_id": draw(one_of((None, "cmp_1", "cmp_2"))),
            "message_id": draw(one_of(("msg_1", "msg_2"))),
            "channel": draw(one_of((None, "email"))),
        }
    if table == "loyalty_events":
        found = {
            "program_id": draw(one_of((None, "prg_1", "prg_1", "prg_2"))),
            "membership_id": draw(one_of((None, None, "mem_1"))),
            "points": draw(one_of((1, 10))),
            "tier": draw(one_of((None, "gold", "silver"))),
        }
        return {name: value for name, value in found.items() if value is not None}
    if table == "notification_events":
        return {
            "notification_id": draw(one_of(("ntf_1", "ntf_2"))),
            "channel": draw(one_of((None, "push", "push"))),
        }
    return {}


@st.composite
def events(draw: st.DrawFn, table: str, key: str, environment: str) -> Record:
    """A good record of an event table, mostly of the environment."""
    kind = draw(one_of(TYPES[table]))
    occurred = draw(instants())
    received = draw(receipts(occurred))
    workspace, project = draw(one_of(PLACES))
    found = {
        "id": key,
        "type": kind,
        "occurred_at": text_of(occurred),
        "received_at": None if received is None else text_of(received),
        "environment": draw(one_of((environment,) * 5 + ENVIRONMENTS)),
        "workspace_id": workspace,
        "project_id": project,
        "user_id": draw(one_of((*USERS, *USERS[:2], None))),
        "anonymous_id": draw(rarely(one_of(("anon_1", "anon_2")), 4)),
        "session_id": draw(rarely(one_of(("ses_1", "ses_2")), 3)),
        "service_id": draw(rarely(one_of(SERVICES), 3)),
        "api_key_id": draw(rarely(one_of(("key_1", "key_2")), 3)),
        "user_agent": draw(rarely(one_of(AGENTS), 4)),
        "trace_id": draw(rarely(one_of(("trace_1", "trace_2")), 4)),
        "impersonator_id": draw(rarely(st.just("usr_5"), 12)),
        "is_test": draw(rarely(st.just(True), 8)),
        "data": draw(details(table, kind)),
    }
    return {name: value for name, value in found.items() if value is not None}


@st.composite
def corrections(draw: st.DrawFn, table: str, earlier: Record) -> Record:
    """A record with the id of an earlier one: something else in it, received before or after it."""
    other = draw(events(table, earlier["id"], earlier["environment"]))
    fields = draw(
        one_of(
            (
                ("received_at",),
                ("occurred_at",),
                ("user_id",),
                ("session_id",),
                ("is_test",),
                ("service_id",),
                ("data",),
                ("type", "data"),
                ("occurred_at", "user_id", "project_id", "type", "data", "is_test", "session_id"),
            )
        )
    )
    found = dict(earlier)
    for name in fields:
        found.pop(name, None)
        if name in other:
            found[name] = other[name]
    before = datetime.fromisoformat(earlier.get("received_at") or earlier["occurred_at"])
    shift = draw(one_of((timedelta(hours=-1), timedelta(hours=-1), timedelta(0), DAY)))
    found["received_at"] = text_of(before + shift)
    if other["workspace_id"] != earlier["workspace_id"]:  # it is within a workspace that ids meet
        found["project_id"] = earlier["project_id"]
    return found


@st.composite
def entities(draw: st.DrawFn, table: str) -> Record:
    """A version of an entity; versions come in any order of their updated_at."""
    at = datetime(2025, 1, 1, tzinfo=UTC) + draw(st.integers(0, 4)) * DAY
    made = {"created_at": "2025-01-01T00:00:00Z", "updated_at": text_of(at)}
    workspace, project = draw(one_of(PLACES))
    name = draw(one_of(("one", "two", None)))
    gone = draw(rarely(st.just(text_of(at)), 4))
    if table == "users":
        found = {
            "id": draw(one_of(USERS)),
            "workspace_id": workspace,
            "kind": draw(one_of(("human", "human", "human", "service", "bot"))),
            "merged_into": draw(one_of((None, None, *USERS, "usr_9"))),
            "deleted_at": gone,
        }
    elif table == "workspaces":
        found = {
            "id": workspace,
            "slug": workspace,
            "name": name,
            "plan_id": draw(one_of(("free", "growth", "enterprise", "unheard_of", None))),
            "deleted_at": gone,
        }
    elif table == "projects":
        found = {"id": project, "workspace_id": workspace, "name": name, "deleted_at": gone}
    elif table == "services":
        found = {
            "id": draw(one_of(SERVICES)),
            "workspace_id": workspace,
            "project_id": project,
            "name": name,
        }
    else:
        found = {
            "workspace_id": workspace,
            "user_id": draw(one_of(USERS)),
            "role": draw(one_of(("owner", "member"))),
            "removed_at": gone,
        }
    return {key: value for key, value in (found | made).items() if value is not None}


ENTITIES = ("users", "users", "users", "services", "workspaces", "projects", "members")


@st.composite
def views(draw: st.DrawFn) -> Record:
    """A record of audit_events, in the shape of its source."""
    workspace, project = draw(one_of(PLACES))
    occurred = draw(instants())
    received = draw(receipts(occurred))
    impersonator = draw(rarely(one_of(("sue@example.com", "tom@example.com")), 4))
    return {
        "action": draw(one_of(("analytics.view", "analytics.view", "project.renamed"))),
        "occurredAt": text_of(occurred),
        "receivedAt": None if received is None else text_of(received),
        "version": 1,
        "environment": draw(one_of(ENVIRONMENTS)),
        "actor": {
            "type": "user",
            "id": draw(one_of(USERS)),
            "name": "A",
            "metadata": {"impersonator_email": impersonator or ""},
        },
        "targets": [{"type": "project", "id": project, "metadata": {"organization_id": workspace}}],
        "context": {"location": "203.0.113.1", "userAgent": AGENTS[0]},
        "metadata": {
            "source": draw(one_of(("/projects", "/projects", "/api/v1"))),
            "start_date": "2025-01-24T00:00:00.000Z",
            "end_date": "2025-01-31T23:59:59.999Z",
            "interval": draw(one_of(("", "day"))),
        },
    }


# a day, a month, or none: what a file covers
names = st.one_of(
    st.just(""), st.just(""), dates.map(date.isoformat), dates.map(lambda day: f"{day:%Y-%m}")
)
builds = st.builds(
    Build,
    environments=one_of((ENVIRONMENTS, ENVIRONMENTS, ENVIRONMENTS[:1], ENVIRONMENTS[1:])),
    kind=one_of(("incremental",) * 9 + ("refresh",)),
    until=st.one_of(
        st.just(("all", 0)),
        st.just(("all", 0)),
        st.just(("all", 0)),
        st.tuples(one_of(("failed", "selected")), st.integers(0, 99)),
        st.tuples(st.just("killed"), st.integers(0, 999)),
    ),
    publishes=one_of((True, True, True, False)),
)


# Half of the histories are looked at in one environment only, which takes half the time: the other
# one's records are there all the same.
in_play = one_of((*(ENVIRONMENTS[:1],) * 5, *(ENVIRONMENTS[1:],) * 2, *(ENVIRONMENTS,) * 3))


def event(key: str = "a", at: str = "2025-01-31T10:00:00Z", **fields: Any) -> Record:
    """An event of a production user; session.activity unless the fields say otherwise."""
    found = {"id": key, "type": "session.activity", "occurred_at": at, "environment": "production"}
    return found | {"workspace_id": "ws_1", "project_id": "prj_a", "user_id": "usr_1"} | fields


GAPS = (GAP, GAP, GAP + TICK, GAP - TICK, timedelta(minutes=7))
# days after which something else is heard of a message; and which message it is
DAYS_LATER = (0, 0, 1, 2, -1)
MESSAGES: dict[str, Record] = {
    "webhook_deliveries": {"delivery_id": "dlv_1", "endpoint_id": "end_1"},
    "campaign_events": {"message_id": "msg_1"},
    "notification_events": {"notification_id": "ntf_1", "channel": "push"},
}
JOURNEY_GAPS = (timedelta(0), timedelta(minutes=7), DAY - TICK, DAY, DAY + TICK, 3 * DAY)
WINDOWS = (1, 6, 7, 27, 28, 29, 30, 88, 89, 89, 90, 90)
LOGIN = {"type": "login", "service_id": SERVICES[0], "data": {"outcome": "success"}}
# somebody known, or a device
visitors = one_of(
    (
        *({"user_id": user} for user in USERS[:3]),
        {"user_id": "usr_1", "project_id": "prj_b"},
        {"user_id": None, "anonymous_id": "anon_1"},
    )
)


# ---- the machine


class AnyHistory(RuleBasedStateMachine):
    """Draws a history step by step and lives through it; marts are compared at its end."""

    recordings: dict[str, Recording]

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory(prefix="rollcall-history-")
        self.lived: Replay | None = None
        self.history: list[Step] = []
        self.known: dict[str, list[Record]] = {table: [] for table in TYPES}

    def take(self, step: Step) -> None:
        """One more step of the history."""
        self.history.append(step)
        self.carry_out(step)

    def carry_out(self, step: Step) -> None:
        assert self.lived is not None
        self.lived.take(step)

    def land(self, data: st.DataObject, table: str, records: list[Record]) -> None:
        """Land records as one file: its name says when it sorts, and may say what it covers."""
        # files of one batch are landed in the order of their names, all of them in the reference:
        # an arbitrary first digit makes that another order than the one they come in
        prefix = data.draw(st.integers(0, 9))
        path = f"{table}/{prefix}-{len(self.history)}-{data.draw(names)}.jsonl"
        self.take(Land(path, tuple(records)))

    def some_events(self, data: st.DataObject, table: str, most: int) -> list[Record]:
        """New records, with copies and corrections of what is known among them."""
        records = []
        for _ in range(data.draw(st.integers(1, most))):
            known = self.known[table]
            how = data.draw(one_of(("new", "new", "new", "correction", "copy"))) if known else "new"
            if how == "new":
                environment = data.draw(one_of(self.environments))
                found = data.draw(events(table, f"evt_{len(known)}", environment))
            elif how == "correction":
                found = data.draw(corrections(table, data.draw(one_of(known))))
            else:
                found = data.draw(one_of(known))
            if how != "copy":
                known.append(found)
            records.append(found)
        return records

    @initialize(data=st.data(), environments=in_play)
    def something_is_there(self, data: st.DataObject, environments: tuple[str, ...]) -> None:
        recordings = {
            name: found for name, found in self.recordings.items() if name in environments
        }
        recordings = recordings or self.recordings
        self.environments = tuple(recordings)
        self.lived = Replay(recordings, Path(self.home.name))
        for table in ("session_events", "auth_events"):
            self.land(data, table, self.some_events(data, table, 10))
        if data.draw(st.booleans()):
            self.land_bounds()
        self.take(Build())

    def land_bounds(self) -> None:
        """All days are covered and the last one is there: what comes changes its own days only.

        Otherwise most files move a bound or make days complete, and so reach days without number.
        """
        last = FIRST + LAST_OFFSET * DAY
        for table in ("auth_events", "session_events", "platform_events"):
            self.take(Land(f"{table}/9-{FIRST - 40 * DAY}-{last}.jsonl", ()))
        at = datetime.combine(last, time(0), UTC)
        records = [
            event("last", text_of(at), type="api.request", environment=name)
            for name in ENVIRONMENTS
        ]
        self.take(Land("platform_events/9-last.jsonl", tuple(records)))

    @rule(data=st.data(), table=one_of((*OFTEN, *OFTEN, *TYPES)))
    def events_land(self, data: st.DataObject, table: str) -> None:
        self.land(data, table, self.some_events(data, table, data.draw(one_of((1, 1, 4)))))

    def add(self, table: str, at: datetime, **fields: Any) -> Record:
        """A new record that is known from now on."""
        key = f"evt_{len(self.known[table])}"
        found = event(key, text_of(at), environment=self.environments[0], **fields)
        self.known[table].append(found)
        return found

    def land_in_parts(self, data: st.DataObject, table: str, records: list[Record]) -> None:
        """Some of the records land, a build, then the others."""
        is_late = data.draw(st.lists(st.booleans(), min_size=len(records), max_size=len(records)))
        parts = [
            [record for record, late in zip(records, is_late, strict=True) if late == wanted]
            for wanted in (False, True)
        ]
        self.land(data, table, parts[0])
        self.take(Build())
        self.land(data, table, parts[1])

    @rule(data=st.data(), start=instants(), who=visitors, test=rarely(st.just(True)))
    def a_visit_lands_in_parts(
        self, data: st.DataObject, start: datetime, who: Record, test: bool | None
    ) -> None:
        """What comes late joins the sessions of a visitor, or closes them in the middle."""
        records = []
        for gap in data.draw(st.lists(one_of(GAPS), min_size=1, max_size=5)):
            kind = data.draw(one_of(TYPES["session_events"][1:6]))
            records.append(self.add("session_events", start, type=kind, is_test=test, **who))
            start += gap
        self.land_in_parts(data, "session_events", records)

    @rule(data=st.data(), table=one_of(tuple(MESSAGES)), start=instants(), who=visitors)
    def a_message_lands_in_parts(
        self, data: st.DataObject, table: str, start: datetime, who: Record
    ) -> None:
        """What comes late is another state of a message, or another first day; then one of its
        events is corrected, which may take it to another day or another message."""
        records = []
        for later in data.draw(st.lists(one_of(DAYS_LATER), min_size=1, max_size=4)):
            kind = data.draw(one_of(TYPES[table]))
            found = data.draw(details(table, kind)) | MESSAGES[table]
            records.append(self.add(table, start + later * DAY, type=kind, data=found, **who))
        self.land_in_parts(data, table, records)
        self.take(Build())
        found = data.draw(corrections(table, data.draw(one_of(records))))
        self.known[table].append(found)
        self.land(data, table, [found])

    @rule(data=st.data(), start=instants(), test=rarely(st.just(True)))
    def a_journey_lands_in_parts(
        self, data: st.DataObject, start: datetime, test: bool | None
    ) -> None:
        """What comes late begins a journey, goes on with it or completes it, over days."""
        records = []
        last = datetime.combine(FIRST + LAST_OFFSET * DAY, time(12), UTC)
        for gap in data.draw(st.lists(one_of(JOURNEY_GAPS), min_size=1, max_size=4)):
            kind = data.draw(one_of(("journey.begun", "journey.step", "journey.completed")))
            records.append(
                self.add(
                    "session_events",
                    min(start, last),
                    type=kind,
                    is_test=test,
                    user_id=data.draw(one_of(USERS)),
                    data={"journey_id": "jny_1", "journey_name": "onboarding"},
                )
            )
            start += gap
        self.land_in_parts(data, "session_events", records)

    @rule(data=st.data(), user=one_of(USERS), start=one_of(OFFSETS[:13]), days=one_of(WINDOWS))
    def a_user_comes_back(self, data: st.DataObject, user: str, start: int, days: int) -> None:
        """A user's only days, as far apart as a window is long."""
        first = datetime.combine(FIRST + start * DAY, data.draw(one_of(HOURS)), UTC)
        records = [
            self.add("auth_events", first + later * DAY, user_id=user, **LOGIN)
            for later in (0, min(days, LAST_OFFSET - start))
        ]
        self.land_in_parts(data, "auth_events", records)

    @rule(data=st.data(), user=one_of(USERS[:3]), place=one_of(PLACES), start=instants())
    def a_membership_lands_in_parts(
        self, data: st.DataObject, user: str, place: tuple[str, str], start: datetime
    ) -> None:
        """Changes of a membership with what looks it up after each of them, some of it late."""
        workspace, project = place
        for table in ("membership_events", "loyalty_events"):
            records, at = [], start
            for gap in data.draw(st.lists(one_of((*GAPS, DAY)), min_size=1, max_size=3)):
                kind = data.draw(one_of(TYPES[table]))
                fields = {"type": kind, "data": data.draw(details(table, kind)), "user_id": user}
                fields |= {"workspace_id": workspace, "project_id": project}
                records.append(self.add(table, at, **fields))
                at += gap
            self.land_in_parts(data, table, records)

    @precondition(lambda self: self.known["session_events"] or self.known["auth_events"])
    @rule(data=st.data())
    def a_correction_lands(self, data: st.DataObject) -> None:
        table = data.draw(one_of([table for table in TYPES if self.known[table]]))
        found = data.draw(corrections(table, data.draw(one_of(self.known[table]))))
        self.known[table].append(found)
        self.land(data, table, [found])

    @rule(data=st.data(), table=one_of(ENTITIES))
    def entities_land(self, data: st.DataObject, table: str) -> None:
        self.land(data, table, data.draw(st.lists(entities(table), min_size=1, max_size=3)))

    @rule(data=st.data())
    def page_views_land(self, data: st.DataObject) -> None:
        self.land(data, "audit_events", data.draw(st.lists(views(), min_size=1, max_size=3)))

    @rule(data=st.data(), start=one_of(OFFSETS[:-4]), project=one_of(("prj_a", "prj_b")))
    def a_week_of_attempts_lands_in_parts(
        self, data: st.DataObject, start: int, project: str
    ) -> None:
        """Attempts in as many hours as a baseline needs, and at the far edge of its week."""
        first = datetime.combine(FIRST + start * DAY, data.draw(one_of(HOURS)), UTC)
        hours = [*range(data.draw(one_of((23, 24, 25)))), 167, 168, 169]
        records = []
        for hour in hours[-27:]:
            found = self.add(
                "webhook_deliveries",
                min(first + hour * timedelta(hours=1), LAST_MOMENT),
                type="webhook.attempted",
                project_id=project,
                trace_id=f"trace_{hour}",
                data={
                    "delivery_id": f"dlv_{len(self.known['webhook_deliveries'])}",
                    "endpoint_id": "end_1",
                    "attempt": 1,
                    "outcome": data.draw(one_of(("delivered", "failed"))),
                },
            )
            records.append(found)
        late = data.draw(one_of((0, len(records) - 1)))
        self.land(data, "webhook_deliveries", records[:late] + records[late + 1 :])
        self.take(Build())
        self.land(data, "webhook_deliveries", records[late : late + 1])

    @rule(data=st.data(), table=one_of(OFTEN), where=one_of((*ENVIRONMENTS, "staging")))
    def a_line_is_rejected(self, data: st.DataObject, table: str, where: str) -> None:
        """With good lines beside it, or alone."""
        bad = event("bad", text_of(data.draw(instants())), type="unheard_of", environment=where)
        bad["received_at"] = data.draw(one_of((None, "yesterday", text_of(RECEIVED[0]))))
        good = self.some_events(data, table, 1) if data.draw(st.booleans()) else []
        self.land(data, table, [bad, *good])

    @rule(data=st.data())
    def a_file_lands_again(self, data: st.DataObject) -> None:
        """The same content under another name, or the same records as another content."""
        old = data.draw(one_of([step for step in self.history if isinstance(step, Land)]))
        records = list(old.records)
        if old.path.startswith("audit_events/"):
            pass  # copies within a file count there: another split is another content
        elif data.draw(st.booleans()):
            records = data.draw(st.permutations(records)) + records[: data.draw(st.integers(0, 2))]
        self.land(data, old.path.split("/")[0], records)

    @rule(data=st.data(), table=one_of(OFTEN))
    def an_empty_file_lands(self, data: st.DataObject, table: str) -> None:
        self.land(data, table, [])

    @rule(build=builds)
    def it_is_built(self, build: Build) -> None:
        self.take(build)

    @precondition(lambda self: self.history and isinstance(self.history[-1], Land))
    @rule()
    def it_is_built_completely(self) -> None:
        self.take(Build())

    @precondition(lambda self: self.history and isinstance(self.history[-1], Build))
    @rule()
    def closed_months_are_sealed(self) -> None:
        self.take(Seal())

    def teardown(self) -> None:
        try:
            if self.lived is not None:
                found = differences(self.lived)
                if found:
                    note("history:\n" + script(self.history))
                    raise AssertionError(described(found))
        finally:
            if self.lived is not None:
                self.lived.close()
            self.home.cleanup()


def described(found: dict[str, dict[str, list[Any]]]) -> str:
    """Differences as text."""
    parts = []
    for mart, difference in found.items():
        parts.append(f"{mart} ({', '.join(difference['columns'])})")
        for side in ("too many", "missing"):
            parts += [f"  {side}: {row}" for row in difference[side]]
    return "\n".join(parts)


def drawn_at_most(examples: int) -> settings:
    """How histories are drawn."""
    return settings(
        max_examples=examples,
        stateful_step_count=10,
        deadline=None,
        derandomize=not EXAMPLES,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )


def told_histories(recordings: dict[str, Recording], count: int) -> list[list[Step]]:
    """Histories as the state machine draws them, the same at every call; nothing is carried out."""
    found: list[list[Step]] = []

    class Teller(AnyHistory):
        def carry_out(self, step: Step) -> None:
            pass

        def teardown(self) -> None:
            found.append(self.history)
            self.lived = None
            super().teardown()

    machine = type("Machine", (Teller,), {"recordings": recordings})
    run_state_machine_as_test(machine, settings=drawn_at_most(count))
    return found


def test_any_history_gives_the_same_marts(recordings: dict[str, Recording]) -> None:
    machine = type("Machine", (AnyHistory,), {"recordings": recordings})
    run_state_machine_as_test(machine, settings=drawn_at_most(EXAMPLES or 12))


def service(**fields: Any) -> Record:
    made = {"created_at": "2025-01-01T00:00:00Z", "updated_at": "2025-01-01T00:00:00Z"}
    return {"id": SERVICES[0], "workspace_id": "ws_1", "project_id": "prj_a", **made, **fields}


def attempt(hour: int) -> Record:
    """A webhook attempt so many hours after the midnight that 1 February begins with."""
    at = datetime(2025, 2, 1, tzinfo=UTC) + timedelta(hours=hour)
    data = {"delivery_id": f"dlv_{hour}", "endpoint_id": "end_1", "attempt": 1}
    found = event(f"{hour}", text_of(at), type="webhook.attempted")
    return found | {"data": data | {"outcome": "failed" if hour % 5 == 0 else "delivered"}}


def person(**fields: Any) -> Record:
    made = {"created_at": "2025-01-01T00:00:00Z", "updated_at": "2025-01-01T00:00:00Z"}
    return {"id": "usr_1", "kind": "human", **made, **fields}


# a look at project usage, as audit_events have it
LOOK = {
    "id": "look",
    "action": "analytics.view",
    "occurredAt": "2025-01-31T10:00:00Z",
    "actor": {"type": "user", "id": "usr_1"},
    "targets": [{"type": "project", "id": "prj_a", "metadata": {"organization_id": "ws_1"}}],
    "context": {},
    "metadata": {"source": "/projects", "interval": ""},
}


def of_three(**fields: Any) -> tuple[Record, ...]:
    """An event of each of three users."""
    return tuple(event(f"evt_{user}", user_id=user, **fields) for user in USERS[:3])


THREE = [
    Land("auth_events/1.jsonl", of_three(**LOGIN)),
    Land("session_events/1.jsonl", of_three()),
    Land("loyalty_events/1.jsonl", of_three(type="points.earned", data={"points": 3})),
    Land("membership_events/1.jsonl", of_three(type="membership.added", data={})),
]


def journey(key: str, kind: str, day: int, journey_id: str = "jny_1") -> Record:
    """A journey event at ten o'clock of a day of February."""
    data = {"journey_id": journey_id, "journey_name": "onboarding"}
    return event(key, f"2025-02-{day:02}T10:00:00Z", type=f"journey.{kind}", data=data)


# their sum has other digits in another order
UNEVEN = (0.1, 0.7, 1e6, 3.3, 12.9, 0.3, 6.6, 123456.789)


def request(key: str, latency: float) -> Record:
    data = {"status_code": 200, "latency_ms": latency}
    return event(key, "2025-02-03T10:00:00Z", type="api.request", data=data)


def metric(key: str, value: float) -> Record:
    data = {"name": "load", "value": value}
    return event(key, "2025-02-03T10:00:00Z", type="metric.logged", data=data)


# usr_1 begins ten days before usr_2, far from the last day
FIRSTS = [
    Land(
        "auth_events/1.jsonl",
        (
            event("a", "2025-01-31T10:00:00Z", received_at="2025-02-20T00:00:00Z", **LOGIN),
            event("b", "2025-02-10T10:00:00Z", user_id="usr_2", **LOGIN),
            event("c", "2025-02-12T10:00:00Z", **LOGIN),
            event("d", "2025-05-31T10:00:00Z", user_id="usr_3", **LOGIN),
        ),
    ),
]

# Histories that gave other marts when they were found; and the far edges of the widest window,
# where a drawn history seldom stands with nothing else near it.
FOUND: dict[str, list[Step]] = {
    "a file named for a day landed before its copy that names none": [
        Land("session_events/2-2025-01-05.jsonl", (event(), event("b", "2025-03-01T10:00:00Z"))),
        Land("auth_events/1.jsonl", (event("c", "2025-03-10T10:00:00Z", **LOGIN),)),
        Land("session_events/1.jsonl", (event(), event("b", "2025-03-01T10:00:00Z"))),
    ],
    "a day of sessions became empty and was refreshed before it was published": [
        Land("session_events/1.jsonl", (event(received_at="2025-02-20T00:00:00Z"),)),
        Land("session_events/2.jsonl", (event("b", "2025-02-10T10:00:00Z"),)),
        Build(),
        Land(
            "session_events/3.jsonl",
            (event(at="2025-02-05T10:00:00Z", received_at="2025-02-19T00:00:00Z"),),
        ),
        Build(publishes=False),
        Build(kind="refresh"),
    ],
    "a late day still counts 89 days on": [
        Land("auth_events/1.jsonl", (event(at="2025-01-31T10:00:00Z", **LOGIN),)),
        Land("auth_events/2.jsonl", (event("b", at="2025-05-31T10:00:00Z", **LOGIN),)),
        Build(),
        Land(
            "auth_events/3.jsonl",
            (event("c", at="2025-02-10T10:00:00Z", **LOGIN, user_id="usr_2"),),
        ),
    ],
    "a changed day still counts what was 89 days before": [
        Land("auth_events/1.jsonl", (event(at="2025-01-31T10:00:00Z", **LOGIN),)),
        Land("auth_events/2.jsonl", (event("b", at="2025-05-31T10:00:00Z", **LOGIN),)),
        Build(),
        Land(
            "auth_events/3.jsonl",
            (event("c", at="2025-04-30T10:00:00Z", **LOGIN, user_id="usr_2"),),
        ),
    ],
    "a new day still counts who was last active a few days before": [
        Land(
            "auth_events/1.jsonl",
            (
                event(at="2025-02-01T10:00:00Z", **LOGIN),
                event("b", at="2025-02-05T10:00:00Z", **LOGIN),
            ),
        ),
        Build(),
        Land(
            "auth_events/2.jsonl",
            (event("c", at="2025-02-10T10:00:00Z", **LOGIN, user_id="usr_2"),),
        ),
    ],
    "an attempt a week before completes a baseline": [
        Land("webhook_deliveries/1.jsonl", tuple(attempt(hour) for hour in (*range(1, 24), 168))),
        Build(),
        Land("webhook_deliveries/2.jsonl", (attempt(0),)),
    ],
    "an attempt has its baseline from a week before": [
        Land("webhook_deliveries/1.jsonl", tuple(attempt(hour) for hour in range(24))),
        Build(),
        Land("webhook_deliveries/2.jsonl", (attempt(168),)),
    ],
    "an actor was merged": [
        Land("audit_events/1.jsonl", (LOOK,)),
        Build(),
        Land("users/1.jsonl", (person(merged_into="usr_2"),)),
    ],
    "a batch lost one of its rows to a copy received earlier": [
        Land("auth_events/1.jsonl", (event(**LOGIN), event("b", **LOGIN))),
        Build(),
        Land("auth_events/2.jsonl", (event(**LOGIN, received_at="2025-01-30T10:00:00Z"),)),
    ],
    "a close after midnight finds the session of an event before it": [
        Land(
            "session_events/1.jsonl",
            (event("close", "2025-02-01T00:10:00Z", type="session.ended"),),
        ),
        Build(),
        Land("session_events/2.jsonl", (event(at="2025-01-31T23:50:00Z"),)),
    ],
    "a journey went on and completed before its begin landed": [
        Land("session_events/1.jsonl", (journey("b", "step", 5), journey("c", "completed", 7))),
        Land("auth_events/1.jsonl", (event("last", "2025-03-01T10:00:00Z", **LOGIN),)),
        Build(),
        Land("session_events/2.jsonl", (journey("a", "begun", 3),)),
    ],
    "a journey had begun earlier than was known, and its user was merged": [
        Land("session_events/1.jsonl", (journey("b", "begun", 5), journey("c", "completed", 7))),
        Build(),
        Land("session_events/2.jsonl", (journey("a", "begun", 3),)),
        Build(),
        Land("users/1.jsonl", (person(merged_into="usr_2"),)),
    ],
    "the begin of a journey and its last event turned out to be something else": [
        Land(
            "session_events/1.jsonl",
            (journey("a", "begun", 3), journey("b", "begun", 5), journey("c", "completed", 7)),
        ),
        Build(),
        Land("session_events/2.jsonl", (event("a", "2025-01-31T10:00:00Z"),)),
        Build(),
        Land("session_events/3.jsonl", (event("c", "2025-01-31T10:00:00Z"),)),
    ],
    "a journey was abandoned as the last day moved on": [
        Land("session_events/1.jsonl", (journey("a", "begun", 3), journey("b", "step", 5))),
        Build(),
        Land("auth_events/1.jsonl", (event("last", "2025-02-06T10:00:00Z", **LOGIN),)),
    ],
    "a journey was taken up again as the last day moved back": [
        Land("session_events/1.jsonl", (journey("a", "begun", 3), journey("b", "step", 5))),
        Land("auth_events/1.jsonl", (event("last", "2025-02-06T10:00:00Z", **LOGIN),)),
        Build(),
        Land("auth_events/2.jsonl", (event("last", "2025-02-04T10:00:00Z", **LOGIN),)),
    ],
    "requests and metrics of one hour landed in several orders": [
        Land(
            "platform_events/1.jsonl",
            tuple(request(f"r{number}", latency) for number, latency in enumerate(UNEVEN)),
        ),
        Land(
            "session_events/1.jsonl",
            tuple(metric(f"m{number}", value) for number, value in enumerate(UNEVEN)),
        ),
        Build(),
        Land("platform_events/0.jsonl", (request("r", 0.2), request("s", 1.1), request("t", 7e5))),
        Build(),
        Land("session_events/0.jsonl", (metric("m", 1.1), metric("n", 0.2))),
        Build(),
    ],
    "the last day of January counts until the first of March": [
        Land("auth_events/1.jsonl", (event(at="2025-01-30T10:00:00Z", **LOGIN),)),
        Land("auth_events/2.jsonl", (event("b", at="2025-05-31T10:00:00Z", **LOGIN),)),
        Build(),
        Land("auth_events/3.jsonl", (event("c", at="2025-01-31T10:00:00Z", **LOGIN),)),
    ],
    # who is new on a day that did not change
    "a late event came before a first day": [
        *FIRSTS,
        Build(),
        Land(
            "auth_events/2.jsonl", (event("e", "2025-02-08T10:00:00Z", user_id="usr_2", **LOGIN),)
        ),
    ],
    "a first day was taken away": [
        *FIRSTS,
        Build(),
        Land(
            "auth_events/2.jsonl",
            (
                event(
                    *("a", "2025-01-31T10:00:00Z"),
                    received_at="2025-02-19T00:00:00Z",
                    user_id="usr_3",
                    **LOGIN,
                ),
            ),
        ),
    ],
    "a user was merged into one who began later": [
        *FIRSTS,
        Build(),
        Land("users/1.jsonl", (person(merged_into="usr_2"),)),
    ],
    "a user parted from one who began later": [
        *FIRSTS,
        Land("users/1.jsonl", (person(merged_into="usr_2"),)),
        Build(),
        Land("users/2.jsonl", (person(updated_at="2025-01-02T00:00:00Z"),)),
    ],
    "a page was viewed on a day of logins": [
        *FIRSTS,
        Build(),
        Land("audit_events/1.jsonl", (LOOK,)),
    ],
    "a service lost its name": [
        Land("auth_events/1.jsonl", (event(**LOGIN),)),
        Land("services/1.jsonl", (service(name="one"),)),
        Build(),
        Land("services/2.jsonl", (service(updated_at="2025-01-02T00:00:00Z"),)),
    ],
    "a merge was seen by a build that failed, and undone before the next": [
        *THREE,
        Build(),
        Land("users/1.jsonl", (person(merged_into="usr_2"),)),
        Build(until=("failed", -1)),
        Land("users/2.jsonl", (person(updated_at="2025-01-02T00:00:00Z"),)),
    ],
    "a merge was seen by a build that failed, and was into somebody else by the next": [
        *THREE,
        Build(),
        Land("users/1.jsonl", (person(merged_into="usr_2"),)),
        Build(until=("failed", -1)),
        Land("users/2.jsonl", (person(merged_into="usr_3", updated_at="2025-01-02T00:00:00Z"),)),
    ],
    # by then usr_1 had parted and others had come, which gives users other numbers
    **{
        f"a full refresh was killed after {number} statements": [
            *THREE,
            Land("users/1.jsonl", (person(merged_into="usr_2"),)),
            Build(),
            Land("users/2.jsonl", (person(updated_at="2025-01-02T00:00:00Z"),)),
            Land("session_events/2.jsonl", (event("new", user_id="usr_0"),)),
            Build(kind="refresh", until=("killed", number)),
        ]
        for number in (60, 120, 240, 360, 480)
    },
}


@pytest.mark.parametrize("name", FOUND)
def test_a_history_that_was_found_gives_the_same_marts(
    recordings: dict[str, Recording], name: str
) -> None:
    assert live_through(FOUND[name], {"production": recordings["production"]}) == {}


def test_a_model_built_alone_again_changes_nothing(
    recordings: dict[str, Recording], tmp_path: Path
) -> None:
    """A list of changes that an earlier build dealt with says nothing to a model run by hand."""
    production = {"production": recordings["production"]}
    files = [
        Land(step.path.replace("/", f"/{number}-{place}-", 1), step.records)
        for number, history in enumerate(told_histories(production, 12))
        for place, step in enumerate(history)
        if isinstance(step, Land)
    ]
    lived = Replay(production, tmp_path)
    for part in (files[: len(files) // 2], files[len(files) // 2 :]):
        lived.land(*part)
        lived.build(Build())
    recording = production["production"]
    kept = [node for node in recording.nodes if node.materialized == "incremental"]
    before = {node.name: lived.digest(node.relation) for node in kept}
    for node in kept:
        statements = [*recording.before["incremental"], *node.statements["incremental"]]
        lived._execute([*statements, *recording.after["selected"]])
    after = {node.name: lived.digest(node.relation) for node in kept}
    lived.close()
    assert [name for name in before if after[name] != before[name]] == []


@pytest.fixture(scope="module")
def some_history(recordings: dict[str, Recording]) -> list[Step]:
    """What was drawn for the longest of a few histories, the same at every run, with builds of
    every kind in between; the first one fails half-way."""
    found = [
        [step for step in history if isinstance(step, Land)]
        for history in told_histories(recordings, 20)
    ]
    files = max(found, key=len)
    production, fails = ENVIRONMENTS[:1], ("failed", 30)
    rounds = [
        [Build(production, until=fails), Build()],
        [Build(production), Build(production, until=fails)],
        [Build(production), Build(production, "refresh")],
        [Build()],
    ]
    share = len(files) / len(rounds)
    steps: list[Step] = []
    for number, builds_of_round in enumerate(rounds):
        steps += files[round(number * share) : round((number + 1) * share)]
        steps += builds_of_round
    return steps


def test_a_replay_is_what_dbt_does(
    recordings: dict[str, Recording], some_history: list[Step], tmp_path: Path
) -> None:
    """The replayed statements are those of dbt over real rows, and so are the marts."""
    begun, complete, compared = set(), set(), Counter()
    for environment, step, executed in drive(some_history, recordings, tmp_path):
        kind = step.kind if environment in complete else "first"
        if environment in complete or environment not in begun:
            for node in recordings[environment].nodes:
                # of a failed build there is what came before the failure
                if step.until[0] == "all" or node.id in executed:
                    assert executed.get(node.id, []) == node.statements[kind], node.name
                    compared[kind] += 1
        begun.add(environment)
        if step.until[0] == "all":
            complete.add(environment)
    assert set(compared) == {"first", "incremental", "refresh"}

    single = Replay(recordings, tmp_path / "landing")
    single.land()
    with duckdb.connect() as dbt:
        dbt.execute(f"attach '{tmp_path}/warehouse.duckdb' as warehouse (read_only)")
        # pseudonyms are made with a warehouse's own key
        key = dbt.execute("from warehouse.raw.pseudonym_keys").fetchone()
        single.connection.execute("delete from raw.pseudonym_keys")
        single.connection.execute("insert into raw.pseudonym_keys values (?, ?, ?)", key)
        single.build(Build())
        for environment, recording in recordings.items():
            path = tmp_path / "marts" / f"{environment}.duckdb"
            dbt.execute(f"attach '{path}' as {environment}_marts (read_only)")
            for mart in recording.marts:
                columns = ", ".join(single.columns(mart.relation))
                by_dbt = dbt.execute(f"select {columns} from {mart.relation}").fetchall()
                assert bag(by_dbt) == single.rows(mart.relation), mart.name
    single.close()
