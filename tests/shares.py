"""A warehouse of two tables that shares can be carried out from, without dbt or Dagster."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from deltalake import DeltaTable

from dagster_project.parts import DailyMart, Writer
from dagster_project.warehouse import quoted
from landing import create_raw_schema, land
from sharing import Outcome, Places, carry_out, load
from sharing.compiler import Slice
from sharing.contract import Column, Table
from sharing.definitions import SharesFile

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 3, 10, 12, 0)
DAY = date(2026, 3, 1)
"""An ordinary day of the events."""

Event = tuple[str, str, date, str, str]
"""Workspace, event id, day, user, what it says."""


def columns(**types: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind, f"The {name}.") for name, kind in types.items())


CONTRACT = {
    "fct_things": Table(
        "fct_things",
        columns(
            workspace_id="string",
            event_id="string",
            user_id="string",
            occurred_at="timestamp",
            tags="string[]",
            note="string",
            score="double",
            is_test="boolean",
            activity_date="date",
            environment="string",
        ),
        key=("workspace_id", "event_id"),
        day="activity_date",
        is_cut_by_day=True,
    ),
    "fct_hours": Table(
        "fct_hours",
        columns(
            workspace_id="string",
            activity_hour_at="timestamp",
            thing_count="bigint",
            environment="string",
        ),
        key=("workspace_id", "activity_hour_at"),
        day="activity_date",
        day_of="activity_hour_at",
    ),
    "fct_events": Table(
        "fct_events",
        columns(
            workspace_id="string",
            source_table="string",
            event_id="string",
            project_id="string",
            category="string",
            type="string",
            origin="string",
            occurred_at="timestamp",
            received_at="timestamp",
            user_id="string",
            session_id="string",
            service_id="string",
            trace_id="string",
            outcome="string",
            is_test="boolean",
            summary="string",
            status_code="bigint",
            activity_date="date",
            environment="string",
        ),
        key=("workspace_id", "source_table", "event_id"),
        day="activity_date",
        is_cut_by_day=True,
    ),
    "dim_projects": Table(
        "dim_projects",
        columns(project_id="string", workspace_id="string", name="string", environment="string"),
        key=("project_id",),
    ),
    "fct_screens": Table(
        "fct_screens",
        columns(workspace_id="string", environment="string"),
        console_link="https://console.example/screens",
    ),
    "fct_tokens": Table(
        "fct_tokens",
        (
            *columns(workspace_id="string", environment="string"),
            Column("token_value", "string", tags=frozenset({"secret"})),
        ),
    ),
}

# What an event of fct_events is, by the first word of its id.
KINDS = {
    "login": ("auth_events", "audit", "login", "success"),
    "signup": ("auth_events", "audit", "signup", "failure"),
    "member": ("membership_events", "audit", "membership.added", None),
    "audit": ("audit_events", "audit", "project.updated", None),
    "session": ("session_events", "session", "session.started", None),
    "journey": ("session_events", "session", "journey.completed", None),
}
WORDS = ", ".join(f"'{word}'" for word in KINDS)
OTHER_KIND = ("platform_events", "platform", "api.request", None)

SHARE: dict[str, Any] = {
    "name": "acme_things",
    "consumer": "acme",
    "environment": "production",
    "tables": [
        {"model": "fct_things", "columns": ["event_id", "user_id", "occurred_at", "tags", "note"]},
        {"model": "fct_hours", "columns": ["activity_hour_at", "thing_count"]},
        {"model": "dim_projects", "profile": "full"},
    ],
    "pii": {"user_id": "keyed_hash"},
    "hash_key": {"id": "k1", "secret": "env:ACME_HASH_KEY"},
    "format": "parquet",
    "capability": "warehouse_share",
    "requested_by": "usr_ops_1",
}
HASH_KEY = "0123456789abcdef" * 4


@dataclass
class World:
    """A home, its published versions, a destination; `events` are what the next version holds."""

    folder: Path
    events: dict[str, Event] = field(default_factory=dict)
    plans: dict[str, str] = field(
        default_factory=lambda: {"ws_a": "enterprise", "ws_b": "enterprise", "ws_c": "growth"}
    )
    share: dict[str, Any] = field(default_factory=lambda: json.loads(json.dumps(SHARE)))
    consumer: dict[str, Any] = field(
        default_factory=lambda: {"workspace_ids": ["ws_a"], "contact": "data@acme.example"}
    )
    environment: str = "production"
    now: datetime = NOW
    number: int = 0
    batch: int = 0
    warehouse: str = "w1"
    kept: duckdb.DuckDBPyConnection | None = None
    generation: int = 0
    memory: str = "80%"
    more: str = ""
    """SQL of more events: workspace_id, event_id, day, user_id, note."""

    def __post_init__(self) -> None:
        self.share.setdefault("destination", {"kind": "folder", "url": f"file://{self.out}"})
        for name in ("home", "landing"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        with self.books() as connection:
            create_raw_schema(connection)

    # places

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def places(self) -> Places:
        return Places(
            state=self.folder / "home" / "shares",
            landing=self.folder / "landing",
            file=self.folder / "shares.yml",
            plans=ROOT / "seeds" / "plans.csv",
            rules=ROOT / "seeds" / "secret_rules.csv",
            memory=self.memory,
        )

    @contextmanager
    def books(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect(str(self.folder / "home" / "warehouse.duckdb")) as connection:
            connection.execute("set TimeZone = 'UTC'")
            yield connection

    def stay_open(self) -> World:
        """Keep the build file open, which makes opening it again ten times as fast."""
        self.kept = duckdb.connect(str(self.folder / "home" / "warehouse.duckdb"))
        return self

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.books() as connection:
            return connection.execute(query).fetchall()

    # what the warehouse does

    def add(self, *events: Event) -> World:
        self.events.update({f"{event[0]}/{event[1]}": event for event in events})
        return self

    def publish(self, batches: int = 1, reverse: bool = False) -> Path:
        """One more version, `batches` landing batches later."""
        self.number += 1
        self.batch += batches
        path = self.published
        path.parent.mkdir(parents=True, exist_ok=True)
        events = sorted(self.events.values(), reverse=reverse)
        with duckdb.connect(str(path)) as connection:
            connection.execute(
                f"""
                create schema published; create schema {self.environment};
                create table published.version as
                    select {self.number} as version, {self.batch} as batch,
                        '{self.warehouse}' as warehouse_id, {self.generation} as generation;
                create table published.parts (
                    mart varchar, first_date date, last_date date, path varchar
                );
                create table {self.environment}.dim_workspaces (
                    workspace_id varchar, plan_id varchar, deleted_at timestamp
                );
                create table {self.environment}.dim_projects as
                    select 'prj_' || w as project_id, w as workspace_id, 'Project ' || w as name,
                        '{self.environment}' as environment
                    from (values ('ws_a'), ('ws_b'), ('ws_c')) as t (w);
                create table kinds (
                    word varchar, source_table varchar, category varchar, type varchar,
                    outcome varchar
                );
                create table raw_events (
                    workspace_id varchar, event_id varchar, day date, user_id varchar, note varchar
                );
                """
            )
            connection.executemany(
                f"insert into {self.environment}.dim_workspaces values (?, ?, null)",
                [*self.plans.items()],
            )
            connection.executemany(
                "insert into kinds values (?, ?, ?, ?, ?)",
                [("", *OTHER_KIND), *((word, *kind) for word, kind in KINDS.items())],
            )
            if events:
                connection.executemany("insert into raw_events values (?, ?, ?, ?, ?)", events)
            if self.more:
                connection.execute(f"insert into raw_events {self.more}")
            connection.execute(
                f"""
                create table {self.environment}.fct_things as
                    select workspace_id, event_id, user_id,
                        day + interval 9 hour + interval 30 minute as occurred_at,
                        ['x', event_id] as tags, note, 0.5::double as score, false as is_test,
                        day as activity_date, '{self.environment}' as environment
                    from raw_events;
                create table {self.environment}.fct_events as
                    select workspace_id, source_table, event_id, 'prj_' || workspace_id
                        as project_id, category, type, 'automatic' as origin,
                        day + interval (coalesce(try_cast(regexp_extract(event_id, '@(\\d+)', 1)
                            as integer), 9)) hour + interval 30 minute as occurred_at,
                        day + interval 31 hour as received_at, user_id,
                        'ses_' || user_id as session_id, null::varchar as service_id,
                        'trc_' || event_id as trace_id, outcome, false as is_test,
                        note as summary,
                        case when type = 'api.request' then 200::bigint end as status_code,
                        day as activity_date, '{self.environment}' as environment
                    from raw_events inner join kinds
                        on kinds.word = case when split_part(event_id, '_', 1) in ({WORDS})
                            then split_part(event_id, '_', 1) else '' end;
                create table {self.environment}.fct_hours as
                    select workspace_id, day + interval 9 hour as activity_hour_at,
                        count(*) as thing_count, '{self.environment}' as environment
                    from raw_events group by all;
                create table {self.environment}.fct_tokens as
                    select 'ws_a' as workspace_id, 't' as token_value,
                        '{self.environment}' as environment;
                create table {self.environment}.fct_screens as
                    select 'ws_a' as workspace_id, '{self.environment}' as environment;
                """
            )
            self.cut(connection)
        latest = path.with_name("latest.duckdb")
        latest.unlink(missing_ok=True)
        latest.symlink_to(path.name)
        return path

    def cut(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Marts of single events in the share become views over parts, as a publish leaves them."""
        names = {table["model"] for table in self.share["tables"]}
        for table in (CONTRACT[name] for name in sorted(names & CONTRACT.keys())):
            if not table.is_cut_by_day:
                continue
            mart = DailyMart(table.name, str(table.day), "", key=table.key)
            writer = Writer(connection, self.environment, self.published.parent, self.number)
            parts = writer.renew(mart, [], None)
            connection.executemany(
                "insert into published.parts values (?, ?, ?, ?)",
                [(part.mart, part.span.first, part.span.last, str(part.path)) for part in parts],
            )
            listed = ", ".join(f"'{quoted(part.path)}'" for part in parts)
            connection.execute(
                f"drop table {self.environment}.{table.name};"
                f" create view {self.environment}.{table.name} as from read_parquet([{listed}])"
            )

    @property
    def published(self) -> Path:
        name = f"v{self.number:06d}_b{self.batch}_0123456789ab.duckdb"
        return self.folder / "home" / "published" / self.environment / name

    def write_file(self) -> SharesFile:
        """shares.yml as it says now, read back."""
        content = {"consumers": {"acme": self.consumer}, "shares": [self.share]}
        self.places.file.write_text(yaml.safe_dump(content))
        return load(self.places.file)

    def carry_out(self, run_id: str = "run") -> Outcome:
        found = self.write_file()
        [share] = found.shares
        return carry_out(
            share,
            found.consumer_of(share),
            places=self.places,
            published=self.published,
            contract=CONTRACT,
            books=self.books,
            run_id=run_id,
            clock=lambda: self.now,
        )

    def step(self, *events: Event, batches: int = 1) -> Outcome:
        """Events land, are published, are shared."""
        self.add(*events).publish(batches)
        return self.carry_out()

    def land(self) -> int:
        """Land what lies in the landing folder; how many rows came."""
        with self.books() as connection:
            report = land(
                connection, self.folder / "landing", run_id="land", clock=datetime(2026, 12, 1)
            )
        assert all(file.rejected == 0 for file in report.files)
        return sum(file.accepted for file in report.files)

    # what is seen of it

    def receipts(self) -> list[dict[str, Any]]:
        rows = self.rows("select body from raw.share_receipts order by receipt_number")
        return [json.loads(text) for (text,) in rows]

    def statuses(self) -> list[tuple[str, str | None, int]]:
        return [(one["status"], one["reason_code"], one["row_count"]) for one in self.receipts()]

    def audit_files(self) -> list[dict[str, Any]]:
        folder = self.folder / "landing" / "audit_events"
        return [json.loads(path.read_text()) for path in sorted(folder.rglob("*.jsonl"))]

    def actions(self) -> list[str]:
        return sorted(event["action"] for event in self.audit_files())

    def files(self) -> dict[str, bytes]:
        """Every file of the destination, by path."""
        found = sorted(path for path in self.out.rglob("*") if path.is_file())
        return {str(path.relative_to(self.out)): path.read_bytes() for path in found}

    def data_files(self) -> dict[str, bytes]:
        return {path: data for path, data in self.files().items() if path.endswith(".parquet")}

    def lines(self) -> list[dict[str, Any]]:
        """Every line of a stream, as the newest manifest names its files."""
        found = []
        for table in self.manifest()["tables"].values():
            for file in table["files"]:
                text = gzip.decompress((self.out / file["path"]).read_bytes()).decode()
                found += [json.loads(line) for line in text.splitlines()]
        return found

    def manifest(self) -> dict[str, Any]:
        """The newest one, as a consumer finds it."""
        newest = max((self.out / "_manifests").iterdir())
        return json.loads(newest.read_text())

    def consumed(self, model: str = "fct_things", order: str = "event_id") -> list[tuple[Any, ...]]:
        """The rows of a table as a consumer reads them, without knowing how they were written."""
        connection = duckdb.connect()
        connection.execute("set TimeZone = 'UTC'")
        if self.share["format"] == "delta":
            table = DeltaTable(str(self.out / model))
            from deltalake import QueryBuilder  # noqa: PLC0415

            found = QueryBuilder().register("t", table).execute(f"select * from t order by {order}")
            rows = found.read_all()  # noqa: F841 - read by name
            return connection.execute("select * from rows").fetchall()
        paths = [str(self.out / file["path"]) for file in self.manifest()["tables"][model]["files"]]
        if not paths:
            return []
        return connection.execute(
            f"select * from read_parquet(?, hive_partitioning = false) order by {order}", [paths]
        ).fetchall()


def event(
    name: str, day: date = DAY, workspace: str = "ws_a", user: str = "usr_1", note: str = "fine"
) -> Event:
    return (workspace, name, day, user, note)


def some_days(count: int = 4, workspace: str = "ws_a", per_day: int = 3) -> list[Event]:
    return [
        event(f"{workspace}_{day}_{number}", DAY + timedelta(days=day), workspace, f"usr_{number}")
        for day in range(count)
        for number in range(per_day)
    ]


# queries that say what the contract does not allow, and what of them does


def lie(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[str], str], model: str = "fct_events"
) -> None:
    """Every query of a mart is spoilt, as if the compiler were wrong; their source stays honest."""
    honest = Slice._select

    def select(slice_: Slice, source: str) -> str:
        text = honest(slice_, source)
        if slice_.model != model:
            return text
        assert spoil(text) != text
        return spoil(text)

    monkeypatch.setattr(Slice, "_select", select)


def of_anyone(query: str) -> str:
    """A query without its condition on workspaces."""
    joined = query.replace("scope on mart.workspace_id = scope.workspace_id", "scope on true")
    owners = r"list_contains\(.*, mart\.workspace_id\)|mart\.workspace_id between .*"
    return re.sub(owners, "true", joined)


def of_sandbox(query: str) -> str:
    """A query whose rows claim to be of the sandbox."""
    return query.replace("mart.environment as environment", "'sandbox' as environment")
