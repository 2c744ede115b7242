"""Bearer tokens of consumers: issued once, known by their SHA-256 alone.

Belongs here: the file of tokens, finding one in it. Does not belong here: what a token opens
(gate.py).

A token is 256 random bits, so a plain hash of it tells nothing and can't be searched for.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from filelock import FileLock

from sharing.server.answers import NotServedError

TOKEN_BYTES = 32
PREFIX = "rollcall_"


class TokensError(Exception):
    """The file of tokens can't be worked with; the message says what to do."""


@dataclass(frozen=True)
class Token:
    """What is kept of a token. Times are UTC in ISO 8601."""

    token_id: str
    consumer: str
    sha256: str
    issued_at: str
    expires_at: str
    revoked_at: str | None = None

    def check(self, now: datetime) -> None:
        """Raises NotServedError when it is over."""
        if self.revoked_at is not None:
            raise NotServedError(401, "token_revoked", "the token is revoked: ask for a new one")
        if now.isoformat() >= self.expires_at:
            raise NotServedError(401, "token_expired", "the token has expired: ask for a new one")


@dataclass(frozen=True)
class Tokens:
    """The tokens of an installation, a file that only its owner may read."""

    path: Path

    def listed(self) -> list[Token]:
        """All that were issued, oldest first. Raises TokensError."""
        try:
            return [Token(**one) for one in json.loads(self.path.read_text())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError):
            raise TokensError(
                f"{self.path} can't be read: bring it back, or delete it and issue all tokens anew"
            ) from None

    def issue(self, consumer: str, days: int, now: datetime) -> tuple[Token, str]:
        """A new token, and its text, which is nowhere else. Raises TokensError."""
        text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        issued_at, expires_at = (
            at.isoformat(timespec="seconds") for at in (now, now + timedelta(days=days))
        )
        token_id = f"tok_{secrets.token_hex(6)}"
        token = Token(token_id, consumer, _hash(text), issued_at, expires_at)
        self._change(lambda found: [*found, token])
        return token, text

    def revoke(self, token_id: str, now: datetime) -> Token | None:
        """End a token; None when there is none of that id. Raises TokensError."""
        moment = now.isoformat(timespec="seconds")
        changed = self._change(
            lambda found: [
                replace(one, revoked_at=one.revoked_at or moment)
                if one.token_id == token_id
                else one
                for one in found
            ]
        )
        return next((one for one in changed if one.token_id == token_id), None)

    def find(self, text: str) -> Token | None:
        """The token of a text, in a time that does not tell how much of it was right."""
        asked = _hash(text)
        matching = [one for one in self.listed() if hmac.compare_digest(one.sha256, asked)]
        return matching[0] if matching else None

    def of_id(self, token_id: str) -> Token | None:
        """The token of an id."""
        return next((one for one in self.listed() if one.token_id == token_id), None)

    def _change(self, change: Callable[[list[Token]], Sequence[Token]]) -> Sequence[Token]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f"{self.path.name}.lock")):
                changed = change(self.listed())
                unfinished = self.path.with_name(f".{self.path.name}.tmp")
                unfinished.unlink(missing_ok=True)
                descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump([asdict(one) for one in changed], file, indent=1)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(self.path)
        except OSError as error:
            raise TokensError(f"{self.path} can't be written ({error.strerror})") from None
        return changed


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
