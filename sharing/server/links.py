"""URLs of files that are good for a quarter of an hour.

Belongs here: signing, and reading what was signed here. Does not belong here: which files
(tables.py), sending them (app.py).

For a bucket the URL is one of its own, presigned; it can't be taken back, so it is short-lived.
For a folder it leads to this server, which asks the gate again before it sends a byte. The key of
these lives as long as the process: after a restart consumers ask again, and no key lies about.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import obstore
from obstore.store import LocalStore

from sharing.definitions import Destination
from sharing.server.answers import NotServedError
from sharing.server.gate import Clock
from sharing.stores import Store, faults, open_store

LIFETIME = timedelta(minutes=15)
ALGORITHM = "HS256"


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Claims:
    """What a URL of ours says: a file of a share, for whom, and as the share was defined."""

    token_id: str
    share: str
    seal: str
    path: str


@dataclass(frozen=True)
class Links:
    """Signs and reads; `url`: where consumers reach the routes of files, without a slash."""

    url: str
    clock: Clock = now
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    key_id: str = field(default_factory=lambda: secrets.token_hex(4))

    def to(self, store: Store, claims: Sequence[Claims]) -> tuple[Sequence[str], int]:
        """A URL a file, and when they expire, in milliseconds since the epoch.

        Raises DestinationError.
        """
        expires = self.clock() + LIFETIME
        milliseconds = int(expires.timestamp() * 1000)
        if isinstance(store.store, LocalStore):
            return [self._signed(one, expires) for one in claims], milliseconds
        if not claims:
            return [], milliseconds
        with faults():
            paths = [one.path for one in claims]
            return obstore.sign(store.store, "GET", paths, LIFETIME), milliseconds

    def read(self, text: str) -> Claims:
        """What a URL of ours says. Raises NotServedError when it is none, or over."""
        try:
            if jwt.get_unverified_header(text).get("kid") != self.key_id:
                raise NotServedError(403, "url_unknown", "the URL is not of this server: ask again")
            said = jwt.decode(
                text, self.key, algorithms=[ALGORITHM], options={"require": ["exp", "sub", "jti"]}
            )
            return Claims(said["jti"], said["sub"], said["seal"], said["path"])
        except jwt.ExpiredSignatureError:
            raise NotServedError(403, "url_expired", "the URL has expired: ask again") from None
        except (jwt.InvalidTokenError, KeyError):
            raise NotServedError(403, "url_forged", "the URL is not one that was given") from None

    def _signed(self, claims: Claims, expires: datetime) -> str:
        said = {
            "jti": claims.token_id,
            "sub": claims.share,
            "seal": claims.seal,
            "path": claims.path,
            "exp": expires,
        }
        text = jwt.encode(said, self.key, ALGORITHM, headers={"kid": self.key_id})
        return f"{self.url}/{text}"


def inside(destination: Destination, path: str) -> Path:
    """A file of a local folder by its path in the share. Raises NotServedError for any other."""
    root = Path(open_store(destination).uri).resolve()
    found = (root / path).resolve()
    is_ours = destination.kind == "folder" and found.is_relative_to(root)
    if not is_ours or not found.is_file():
        raise NotServedError(404, "file_gone", "there is no such file, or no longer")
    return found
