"""Whether a consumer may have a share at this moment: the same rules as for writing it.

Belongs here: shares.yml as it is now, the verdict of the compiler on it. Does not belong here: the
rules (compiler.py), what is at the destination (tables.py).

Files, published version and day are looked at with every request; the compiler is asked again when
one of them is another. So who is paused, revoked or without the capability is refused at once, and
not with the next run.
"""

import hashlib
import json
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb

from sharing.compiler import Compiled, Refusal, compile_share
from sharing.contract import Table
from sharing.definitions import Consumer, Share, SharesFile, file_digest, load
from sharing.exporting import Places
from sharing.plans import read_plans
from sharing.pointer import Look, look_at
from sharing.server.answers import NotServedError
from sharing.server.tokens import Token
from sharing.staging import open_reader
from sharing.treatments import KeyMissingError, fingerprint, read_key

FORMAT = "delta"
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Verdict:
    """A share as it stands: `compiled`, or None and the reasons why it is refused.

    `settings`: the fingerprint of the files that decided; `projects` as receipts name them.
    """

    share: Share
    consumer: Consumer
    settings: str
    compiled: Compiled | None
    refusals: Sequence[Refusal] = ()
    projects: Sequence[tuple[str, str, str]] = ()

    def allowed(self) -> Compiled:
        """The share as compiled. Raises NotServedError; details are for the operator alone."""
        if self.compiled is None:
            reason = self.refusals[0].code
            raise NotServedError(403, reason, f"share {self.share.name} is refused: {reason}")
        return self.compiled

    @property
    def seal(self) -> str:
        """A fingerprint of what the share holds and of whom."""
        parts = [self.allowed().digest, *sorted(set(self.consumer.workspace_ids))]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass
class Gate:
    """The door of an installation.

    `published`: the version file of an environment, None before the first; `contracts`: the marts
    by environment, which are those of the code that runs.
    """

    places: Places
    published: Callable[[str], Path | None]
    contracts: Mapping[str, Mapping[str, Table]]
    clock: Clock
    _file: tuple[str, SharesFile] | None = None
    _verdicts: dict[str, tuple[Look, Verdict]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def shares_of(self, token: Token) -> list[Verdict]:
        """The Delta shares of a token's consumer that are allowed, by name.

        Raises NotServedError when the consumer may have nothing at present.
        """
        consumer, shares = self._of(token)
        if consumer.status != "active":
            raise NotServedError(403, consumer.status, f"the consumer is {consumer.status}")
        verdicts = [self._verdict(share, consumer) for share in shares]
        return [verdict for verdict in verdicts if verdict.compiled is not None]

    def share_of(self, token: Token, name: str) -> Verdict:
        """One share of a token's consumer, allowed or not. Raises NotServedError.

        That another consumer has a share of that name is not told.
        """
        consumer, shares = self._of(token)
        for share in shares:
            if share.name == name.lower():
                return self._verdict(share, consumer)
        raise NotServedError(404, "share_unknown", "there is no such share")

    def _of(self, token: Token) -> tuple[Consumer, list[Share]]:
        with self._lock:
            # taken before reading: if the file is newer than that, it is read once more next time
            digest = file_digest(self.places.file)
            if self._file is None or self._file[0] != digest:
                self._file = digest, load(self.places.file, self.places.landing)
            file = self._file[1]
        consumer = file.consumers.get(token.consumer)
        if consumer is None:
            raise NotServedError(403, "consumer_unknown", "the token's consumer is no more")
        shares = [
            share
            for share in file.shares
            if share.consumer == token.consumer and share.format == FORMAT
        ]
        return consumer, sorted(shares, key=lambda share: share.name)

    def _verdict(self, share: Share, consumer: Consumer) -> Verdict:
        published = self.published(share.environment)
        if published is None:
            nothing = Refusal("nothing_published", f"Nothing of {share.environment} is published.")
            return Verdict(share, consumer, "", None, [nothing])
        look = look_at(self.places.settings, published, self.clock().date())
        with self._lock:
            known = self._verdicts.get(share.name)
            if known is None or known[0] != look or known[1].consumer != consumer:
                known = self._verdicts[share.name] = (
                    look,
                    self._judged(share, consumer, look, published),
                )
            return known[1]

    def _judged(self, share: Share, consumer: Consumer, look: Look, published: Path) -> Verdict:
        try:
            with (
                tempfile.TemporaryDirectory() as folder,
                open_reader(published, Path(folder), None, self.places.memory) as reader,
            ):
                workspaces = reader.workspaces(share.environment)
                projects = reader.projects(share.environment, consumer.workspace_ids)
                generation = reader.snapshot.generation
        except (duckdb.Error, OSError):
            # it was deleted meanwhile, and there is a newer one
            raise NotServedError(503, "snapshot_gone", "try again in a moment") from None
        refused: list[Refusal] = []
        key = None
        try:
            key = read_key(share.hash_key.secret) if share.hash_key else None
        except KeyMissingError as error:
            refused = [Refusal("secret_missing", str(error))]
        found = compile_share(
            share,
            consumer,
            contract=self.contracts[share.environment],
            plans=read_plans(self.places.plans),
            workspaces=workspaces,
            today=self.clock().date(),
            key_fingerprint=fingerprint(key) if key else "",
            generation=generation,
        )
        refused = [*found, *refused] if isinstance(found, list) else refused
        compiled = None if refused or isinstance(found, list) else found
        return Verdict(share, consumer, look.settings, compiled, refused, projects)
