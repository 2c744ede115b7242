"""Audit events of shares, in the shape of every other audit event, into the landing folder.

Belongs here: the shape of an event, the event of a receipt, and its file. Does not belong here:
which receipts have one (exporting.py), events of reading at the server (server/journal.py).

The event's id is the receipt's, its file is named after it and written once: the next run lands
it like any extract. Nothing follows from an event but its own row: a share leaves the audit events
of shares out (compiler.py), and a batch without rows has none. So an export is followed by one
landing, that by a batch without rows, and that by nothing.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sharing.receipts import Receipt
from sharing.stores import DestinationError

FOLDER = "audit_events/shares"
ACTIONS = {
    "committed": "analytics.export",
    "refused": "analytics.export_refused",
    "quarantined": "analytics.export_refused",
    # of a push, when something left before it came to a halt
    "failed": "analytics.export",
    "unknown": "analytics.export",
}
REVOKED = "share.revoked"


def has_event(body: Mapping[str, Any]) -> bool:
    """Whether a receipt is audited: all but failures and batches of which nothing left."""
    if body["status"] in ("committed", "failed", "unknown"):
        return bool(body["row_count"])
    return body["status"] in ACTIONS


def event_of(receipt: Receipt) -> dict[str, Any]:
    """The event of a receipt; a function of the receipt alone."""
    body = receipt.body
    return shaped(
        id_=receipt.receipt_id,
        action=REVOKED if body["reason_code"] == "revoked" else ACTIONS[body["status"]],
        moment=str(body["committed_at"] or body["requested_at"]),
        actor=(body["actor"]["type"], body["actor"]["id"]),
        subject=body,
        metadata={
            "reason_code": body["reason_code"] or "",
            "row_count": body["row_count"],
            "content_sha256": body["content_sha256"] or "",
            "receipt_sha256": receipt.sha256,
        },
    )


def shaped(  # noqa: PLR0913 - what an event is made of, by name
    *,
    id_: str,
    action: str,
    moment: str,
    actor: tuple[str, str],
    subject: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> dict[str, Any]:
    """An audit event about a share.

    `moment`: UTC in ISO 8601, to the millisecond; `actor`: type and id; `subject`: share, consumer,
    destination, environment, projects and workspace_ids, as a receipt's body has them.
    """
    share = {
        "type": "share",
        "id": subject["share"],
        "name": subject["share"],
        "metadata": {"consumer": subject["consumer"], "destination": subject["destination"]},
    }
    return {
        "id": id_,
        "action": action,
        "occurredAt": f"{moment[:23]}Z",
        "version": 1,
        "environment": subject["environment"],
        "actor": {
            "type": actor[0],
            "id": actor[1],
            "name": "",
            "metadata": {
                "first_name": "",
                "last_name": "",
                "email": "",
                "impersonator_email": "",
                "impersonator_reason": "",
            },
        },
        "targets": [*_projects(subject), share],
        "context": {"location": "", "userAgent": "rollcall"},
        "metadata": {
            "source": f"shares/{subject['share']}",
            "start_date": "",
            "end_date": "",
            "interval": "",
            "consumer": subject["consumer"],
            **metadata,
        },
    }


def _projects(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    # an audit event belongs to the project it names first; without any, to one named as the share
    projects = body["projects"] or [[body["share"], "", (body["workspace_ids"] or [""])[0] or "-"]]
    return [
        {
            "type": "project",
            "id": project,
            "name": name,
            "metadata": {"name": name, "organization_id": workspace},
        }
        for project, name, workspace in projects
    ]


def prepare(landing: Path) -> None:
    """See to it that an event can be written, before anything leaves. Raises DestinationError."""
    folder = landing / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(folder, os.W_OK)
    except OSError:
        is_writable = False
    if not is_writable:
        raise DestinationError(
            "audit_unwritable",
            f"{folder} can't be written to, and nothing leaves without an audit event",
        )


def write(landing: Path, receipt: Receipt) -> None:
    """Write the event of a receipt, unless its file is there."""
    final = landing / FOLDER / f"{receipt.receipt_id}.jsonl"
    if final.exists():
        return
    final.parent.mkdir(parents=True, exist_ok=True)
    unfinished = final.with_name(f".{final.name}.tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(json.dumps(event_of(receipt)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(final)
