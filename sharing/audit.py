"""Audit events of shares, in the shape of every other audit event, into the landing folder.

Belongs here: the event of a receipt, and its file. Does not belong here: which receipts have one
(exporting.py).

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
    moment = str(body["committed_at"] or body["requested_at"])
    share = {
        "type": "share",
        "id": body["share"],
        "name": body["share"],
        "metadata": {"consumer": body["consumer"], "destination": body["destination"]},
    }
    return {
        "id": receipt.receipt_id,
        "action": REVOKED if body["reason_code"] == "revoked" else ACTIONS[body["status"]],
        "occurredAt": f"{moment[:23]}Z",
        "version": 1,
        "environment": body["environment"],
        "actor": {
            "type": body["actor"]["type"],
            "id": body["actor"]["id"],
            "name": "",
            "metadata": {
                "first_name": "",
                "last_name": "",
                "email": "",
                "impersonator_email": "",
                "impersonator_reason": "",
            },
        },
        "targets": [*_projects(body), share],
        "context": {"location": "", "userAgent": "rollcall"},
        "metadata": {
            "source": f"shares/{body['share']}",
            "start_date": "",
            "end_date": "",
            "interval": "",
            "consumer": body["consumer"],
            "reason_code": body["reason_code"] or "",
            "row_count": body["row_count"],
            "content_sha256": body["content_sha256"] or "",
            "receipt_sha256": receipt.sha256,
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
