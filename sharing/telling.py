"""What a receipt says: bodies of receipts, pure.

Belongs here: the fields of a receipt. Does not belong here: its place in the chain (receipts.py),
which columns readers see (landing/schema.py).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sharing.changes import Change, Target
from sharing.compiler import Compiled, definition_digest
from sharing.definitions import Consumer, Share
from sharing.versions import Version

PROJECTS_TOLD = 100


@dataclass(frozen=True)
class Subject:
    """What every receipt of an attempt says; `projects` are (id, name, workspace)."""

    share: Share
    consumer: Consumer
    warehouse: str
    upto: int
    run_id: str
    requested_at: datetime
    projects: Sequence[tuple[str, str, str]]

    def body(self, status: str, reasons: Sequence[Any] = (), **more: Any) -> dict[str, Any]:
        """A receipt without its id. `reasons`: refusals or findings, the first one decides."""
        told = [asdict(reason) for reason in reasons]
        share = self.share
        return {
            "share": share.name,
            "consumer": share.consumer,
            "environment": share.environment,
            "warehouse": self.warehouse,
            "status": status,
            "reason_code": told[0]["code"] if told else None,
            "reasons": told,
            "actor": {"type": "user", "id": share.requested_by, "name": "", "impersonator": ""},
            "capability": share.capability,
            "format": share.format,
            "destination": share.destination.address,
            "definition": definition_digest(share, self.consumer),
            "workspace_ids": sorted(set(self.consumer.workspace_ids)),
            "projects": [list(project) for project in self.projects[:PROJECTS_TOLD]],
            "project_count": len(self.projects),
            "batch": f"-{self.upto}",
            "upto": self.upto,
            "version": 0,
            "row_count": 0,
            "byte_count": 0,
            "content_sha256": None,
            "tables": [],
            "run_id": self.run_id,
            "requested_at": moment(self.requested_at),
            "committed_at": None,
            **more,
        }


def committed(target: Target, changes: Sequence[Change], batch: str, now: datetime) -> Any:
    """What the receipt of a batch says beside what every receipt says."""
    return {
        "batch": batch,
        "row_count": sum(file.row_count for one in changes for _, file in one.written),
        "byte_count": sum(file.byte_count for one in changes for _, file in one.written),
        "total_row_count": sum(file.row_count for one in changes for file in one.files),
        "content_sha256": content_of(changes),
        "tables": [_table(one, target.current) for one in changes],
        "committed_at": moment(now),
        **scope_of(target.compiled),
    }


def scope_of(compiled: Compiled) -> dict[str, Any]:
    """By which plans, and back to which days, rows were chosen."""
    return {
        "plans": dict(compiled.plan_ids),
        "oldest_days": {id_: str(day) for id_, day in compiled.oldest_days.items()},
    }


def content_of(changes: Iterable[Change]) -> str:
    """SHA-256 of what the consumer has: tables, days and the hashes of their files."""
    lines = sorted(
        f"{one.slice_.model}\t{file.day}\t{file.row_count}\t{file.sha256}"
        for one in changes
        for file in one.files
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def moment(at: datetime) -> str:
    """A time as receipts hold it, to the millisecond."""
    return at.isoformat(timespec="milliseconds")


def _table(change: Change, current: Version | None) -> dict[str, Any]:
    slice_ = change.slice_
    days = sorted(file.day for _, file in change.written if file.day)
    before = current.tables.get(slice_.model) if current else None
    return {
        "model": slice_.model,
        "schema_sha256": slice_.schema_digest,
        "columns_before": [column["name"] for column in before.columns] if before else None,
        "dropped_columns": list(slice_.dropped),
        "treatments": dict(slice_.treatments),
        "first_day": days[0] if days else None,
        "last_day": days[-1] if days else None,
        "files": [asdict(file) for _, file in change.written],
        "removed": [file.path for file in change.removed],
    }
