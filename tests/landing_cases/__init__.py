"""Records, files and landings for the tests of landing. Not a test itself."""

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from backports import zstd

from landing import FileResult, LandingReport, land

CLOCK = datetime(2025, 2, 1, 12, 0, tzinfo=UTC)
SERVICE = "550e8400-e29b-41d4-a716-446655440000"


def event(table: str = "auth_events", **changes: Any) -> dict[str, Any]:
    """A good record of an event table; `data` is merged, None values stay."""
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "auth_events": ("login", {"outcome": "success", "provider": "github", "method": "oauth"}),
        "session_events": ("session.started", {}),
        "platform_events": (
            "api.request",
            {"method": "GET", "route": "/v1/users", "status_code": 200, "latency_ms": 12.5},
        ),
        "membership_events": ("membership.added", {"membership_id": "m1", "role": "admin"}),
        "webhook_deliveries": (
            "webhook.attempted",
            {"delivery_id": "d1", "endpoint_id": "e1", "attempt": 1, "outcome": "delivered"},
        ),
        "campaign_events": ("message.sent", {"campaign_id": "c1", "message_id": "m1"}),
        "loyalty_events": ("points.earned", {"program_id": "p1", "points": 10}),
        "notification_events": ("notification.sent", {"notification_id": "n1", "channel": "sms"}),
    }
    kind, data = kinds[table]
    record = {
        "id": "evt_1",
        "type": kind,
        "occurred_at": "2025-01-31T10:00:00Z",
        "received_at": "2025-01-31T10:00:01Z",
        "environment": "production",
        "workspace_id": "ws_1",
        "project_id": "prj_1",
        "user_id": "usr_1",
        "data": data,
    }
    return {**record, **changes}


def audit(**changes: Any) -> dict[str, Any]:
    """A good record of audit_events: a page view of project usage."""
    record = {
        "action": "analytics.view",
        "occurredAt": "2025-01-31T10:00:00.000Z",
        "version": 1,
        "actor": {
            "type": "user",
            "id": "usr_1",
            "name": "A B",
            "metadata": {"email": "a@b.example", "impersonator_email": ""},
        },
        "targets": [
            {"type": "project", "id": "prj_1", "metadata": {"organization_id": "ws_1"}},
        ],
        "context": {"location": "203.0.113.1", "userAgent": "curl/8.5.0"},
        "metadata": {
            "source": "/projects/prj_1/analytics",
            "start_date": "2025-01-24T00:00:00.000Z",
            "end_date": "2025-01-31T23:59:59.999Z",
            "interval": "",
        },
    }
    return {**record, **changes}


def entity(table: str, **changes: Any) -> dict[str, Any]:
    """A good record of an entity table."""
    times = {"created_at": "2025-01-01T00:00:00Z", "updated_at": "2025-01-02T00:00:00Z"}
    records: dict[str, dict[str, Any]] = {
        "workspaces": {"id": "ws_1", "slug": "one", "name": "One", "plan_id": "growth", **times},
        "projects": {"id": "prj_1", "workspace_id": "ws_1", "name": "Web", **times},
        "services": {
            "id": SERVICE,
            "workspace_id": "ws_1",
            "project_id": "prj_1",
            "name": "web",
            **times,
        },
        "users": {"id": "usr_1", "workspace_id": "ws_1", "kind": "human", **times},
        "members": {"workspace_id": "ws_1", "user_id": "usr_1", "role": "owner", **times},
        "erasures": {"user_id": "usr_1", "requested_at": "2025-01-05T00:00:00Z"},
    }
    return {**records[table], **changes}


def lines(records: Iterable[Any]) -> bytes:
    """Records as JSON lines; text and bytes are taken as lines as they are."""
    parts = []
    for record in records:
        if isinstance(record, bytes):
            parts.append(record)
        elif isinstance(record, str):
            parts.append(record.encode())
        else:
            parts.append(json.dumps(record, separators=(",", ":")).encode())
    return b"".join(part + b"\n" for part in parts)


def pack(content: bytes, compression: str) -> bytes:
    """The content as it is (""), gzipped (".gz") or in zstd (".zst")."""
    if compression == ".gz":
        return gzip.compress(content, mtime=0)
    if compression == ".zst":
        options = {zstd.CompressionParameter.checksum_flag: 1}
        return zstd.compress(content, options=options)
    return content


def write(folder: Path, path: str, content: bytes | Iterable[Any]) -> Path:
    """Put a file into the landing folder; its modification time never repeats."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content if isinstance(content, bytes) else lines(content))
    return target


class Warehouse:
    """A database with its landing folder; `land` may be called again and again."""

    def __init__(self, home: Path, database: str = ":memory:") -> None:
        self.folder = home / "landing"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.connection = duckdb.connect(database)
        self.run = 0

    def write(self, path: str, content: bytes | Iterable[Any]) -> Path:
        """Put a file into the landing folder."""
        return write(self.folder, path, content)

    def land(self) -> LandingReport:
        """Land what is new; every file must balance."""
        self.run += 1
        report = land(self.connection, self.folder, run_id=f"run_{self.run}", clock=CLOCK)
        for result in report.files:
            assert result.lines == (
                result.accepted + result.duplicates + result.conflicts + result.rejected
            )
        return report

    def land_one(self, path: str, content: bytes | Iterable[Any]) -> FileResult:
        """Write one file and land it."""
        self.write(path, content)
        (result,) = self.land().files
        return result

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.connection.execute(query, list(parameters)).fetchall()

    def content(self, table: str) -> list[tuple[Any, ...]]:
        """The rows of a raw table without what depends on files and batches."""
        return self.rows(
            f"""
            select * exclude (payload, _file, _line, _landed_at, _batch)
            from raw.{table} order by all
            """
        )

    def conflicts(self) -> list[tuple[Any, ...]]:
        """The losers, without what depends on files and batches."""
        return self.rows(
            """
            select table_name, environment, workspace_id, id, occurred_at, received_at,
                _content_hash
            from raw.id_conflicts order by all
            """
        )
