"""Audit events of reading: on disk before the answer leaves, landed in one file a minute.

Belongs here: the event of a read, the file it goes to. Does not belong here: the shape of events
(audit.py), which requests have one (app.py).

Events are appended, and synced, to a file in the landing folder whose name landing leaves alone;
renamed, it is an extract like any other. What a dead process left is renamed by the next one. So
nothing that was answered lacks its event; an event may be of an answer that never arrived.
"""

import json
import os
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sharing import audit
from sharing.compiler import READ_ACTIONS
from sharing.server.gate import Clock, Verdict
from sharing.server.tokens import Token
from sharing.stores import DestinationError
from sharing.telling import PROJECTS_TOLD, moment

SECONDS = 60
_UNFINISHED = ".reads-{}.jsonl.tmp"


@dataclass
class Journal:
    """The events since the last file; one process writes it."""

    landing: Path
    clock: Clock
    _current: Path | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """Where files of events go."""
        return self.landing / audit.FOLDER

    def open(self) -> None:
        """Hand over what a dead process left. Raises DestinationError if nothing can be written."""
        audit.prepare(self.landing)
        for path in self.folder.glob(_UNFINISHED.format("*")):
            content = path.read_bytes()
            # the line that was being written when it died was not answered
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                path.write_bytes(whole)
            _hand_over(path)

    def add(self, event: Mapping[str, Any]) -> None:
        """Write an event; it is on disk afterwards. Raises DestinationError."""
        line = json.dumps(event) + "\n"
        with self._lock:
            path = self._current or self.folder / _UNFINISHED.format(secrets.token_hex(12))
            size = 0
            try:
                with path.open("a", encoding="utf-8") as file:
                    self._current = path
                    size = file.tell()
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                # the next event must not become a part of half a line
                with suppress(OSError):
                    os.truncate(path, size)
                raise DestinationError(
                    "audit_unwritable",
                    f"{self.folder} can't be written to ({error.strerror}), and nothing is served"
                    " without an audit event",
                ) from None

    def hand_over(self) -> None:
        """Let what is written land."""
        with self._lock:
            if self._current is not None:
                _hand_over(self._current)
                self._current = None


def event_of(
    verdict: Verdict, token: Token, at: Clock, reason: str, told: Mapping[str, Any]
) -> dict[str, Any]:
    """The event of a request; `reason`: why it was refused, '' when it was not."""
    share = verdict.share
    return audit.shaped(
        id_=f"read_{secrets.token_hex(12)}",
        action=READ_ACTIONS[bool(reason)],
        moment=moment(at()),
        actor=("consumer", share.consumer),
        subject={
            "share": share.name,
            "consumer": share.consumer,
            "destination": share.destination.address,
            "environment": share.environment,
            "projects": verdict.projects[:PROJECTS_TOLD],
            "workspace_ids": sorted(set(verdict.consumer.workspace_ids)),
        },
        metadata={"reason_code": reason, "token_id": token.token_id, **told},
    )


def _hand_over(path: Path) -> None:
    if path.stat().st_size:
        path.replace(path.with_name(path.name.removeprefix(".").removesuffix(".tmp")))
    else:
        path.unlink()
