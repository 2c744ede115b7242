"""One share, brought to what shares.yml says: the order of steps.

Belongs here: plan gate → claim → read one snapshot → files on local disk → gates → upload →
one atomic commit → receipt → audit event → pointer, and the same for what is refused or revoked.
Does not belong here: how any of these is done (the other modules), when (dagster_project/).

A process may die between any two steps. Before the commit nothing counts, and what lies about is
removed by the next commit; after it, the manifest at the destination holds the receipt, and the
next attempt writes it down before anything else. A batch is the landing batches after those of
the version before, up to those of the snapshot; what changed of them for this consumer is found
by comparing days, so late events replace the files of their own day and nothing else.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from sharing import (
    audit,
    delta,
    gates,
    ledger,
    pointer,
    receipts,
    streams,
    telling,
    versions,
)
from sharing.changes import Change, Target, find_change, gone
from sharing.compiler import Compiled, Refusal, compile_share, describe
from sharing.contract import Table
from sharing.definitions import Consumer, Share, file_digest
from sharing.plans import PUSHED, STREAMED, read_plans
from sharing.pointer import Look, Pointer
from sharing.receipts import Receipt
from sharing.staging import Reader, open_reader
from sharing.stores import DestinationError, Store, open_store
from sharing.treatments import KeyMissingError, fingerprint, read_key
from sharing.versions import Retired, TableState, Version

Books = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
Clock = Callable[[], datetime]
UPLOADS_AT_ONCE = 4


@dataclass(frozen=True)
class Places:
    """Where things are: the state of shares, the landing folder, and the files that decide."""

    state: Path
    landing: Path
    file: Path
    plans: Path
    rules: Path
    memory: str = "80%"
    """What DuckDB may take, an amount or a share of the machine's; the rest is spilled."""

    @property
    def settings(self) -> tuple[Path, ...]:
        """What a share depends on beside the snapshot."""
        return self.file, self.plans, self.rules


@dataclass(frozen=True)
class Outcome:
    """What became of a share: committed, unchanged, refused; quarantined, failed, unknown.

    `row_count`: rows written; `message` says why, and what to do.
    """

    share: str
    status: str
    reason_code: str | None = None
    message: str = ""
    row_count: int = 0
    version: int = 0

    @property
    def is_failure(self) -> bool:
        """Whether somebody has to look: a refusal is what was asked for."""
        return self.status in ("quarantined", "failed", "unknown")


def utc_now() -> datetime:
    """The time, UTC without zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def carry_out(  # noqa: PLR0913 - what an attempt works with, by name
    share: Share,
    consumer: Consumer,
    *,
    places: Places,
    published: Path,
    contract: Mapping[str, Table],
    books: Books,
    run_id: str = "",
    clock: Clock = utc_now,
) -> Outcome:
    """Bring one share in step; safe to call again whatever happened before.

    `published`: the version file to read, `books` opens the build file under the writer's lock.
    Faults of the destination are outcomes with a receipt; what nobody foresaw is raised.
    """
    folder = places.state / share.name
    with _stage(folder) as stage, _reader(share, published, stage, places.memory) as opened:
        reader, key, missing = opened
        projects = reader.projects(share.environment, consumer.workspace_ids)
        subject = telling.Subject(
            share,
            consumer,
            reader.snapshot.warehouse,
            reader.snapshot.batch,
            run_id,
            clock(),
            projects,
        )
        look = pointer.look_at(places.settings, published, clock().date())
        attempt = _Attempt(subject, places, folder, look, reader, books, clock)
        attempt.finish_what_was_begun()
        try:
            if consumer.status == "revoked":
                return attempt.revoke()
            compiled = compile_share(
                share,
                consumer,
                contract=contract,
                plans=read_plans(places.plans),
                workspaces=reader.workspaces(share.environment),
                today=clock().date(),
                key_fingerprint=fingerprint(key) if key else "",
                generation=reader.snapshot.generation,
            )
            if isinstance(compiled, list):
                return attempt.refuse(compiled)
            if missing:
                raise missing
            return attempt.export(compiled)
        except DestinationError as error:
            return attempt.fail(error)


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    stage = folder / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def _reader(
    share: Share, published: Path, stage: Path, memory: str
) -> Iterator[tuple[Reader, bytes | None, DestinationError | None]]:
    """The snapshot, opened with the share's key, or with the reason why there is none."""
    key, missing = None, None
    try:
        key = read_key(share.hash_key.secret) if share.hash_key else None
    except KeyMissingError as error:
        missing = DestinationError("secret_missing", str(error))
    with open_reader(published, stage, key, memory) as reader:
        yield reader, key, missing


@dataclass
class _Attempt:
    subject: telling.Subject
    places: Places
    folder: Path
    look: Look
    reader: Reader
    books: Books
    clock: Clock
    last: Receipt | None = None
    standing: Pointer | None = None

    def finish_what_was_begun(self) -> None:
        """Read where the share stands; write the audit event that a dead process owed."""
        self.standing = pointer.read(self.folder)
        with self.books() as connection:
            self.last = receipts.last_of(connection, self.subject.share.name)
        known = self.standing.receipt_id if self.standing else None
        if self.last and self.last.receipt_id != known:
            self.audited(self.last)

    # what leaves nothing

    def refuse(self, refusals: Sequence[Refusal]) -> Outcome:
        """Receipt and audit event of a refusal; once, as long as its reasons stay the same."""
        body = self.body("refused", refusals)
        if self.is_news(body):
            self.settle(body, self.standing)
        else:
            self.point(self.last, self.standing)
        return self.outcome(body)

    def fail(self, error: DestinationError) -> Outcome:
        """Receipt of a failure: of each attempt, without an audit event, since nothing left."""
        status = "unknown" if error.code == "commit_unknown" else "failed"
        body = self.body(status, [Refusal(error.code, str(error))])
        self.record(body)
        return self.outcome(body)

    def quarantine(self, compiled: Compiled, found: gates.Findings) -> Outcome:
        """Receipt and audit event of a batch that a gate held back; once a reason."""
        secrets = dict(sorted(found.secrets.items()))
        scope = telling.scope_of(compiled)
        body = self.body("quarantined", found.failed, secrets=secrets, **scope)
        if self.is_news(body):
            self.audited(self.record(body))
        return self.outcome(body)

    def is_news(self, body: Mapping[str, Any]) -> bool:
        """Whether the share's last receipt says something else."""

        def essence(of: Mapping[str, Any]) -> tuple[Any, ...]:
            codes = [reason["code"] for reason in of["reasons"]]
            return of["status"], of["definition"], codes

        return self.last is None or essence(self.last.body) != essence(body)

    # what leaves

    def export(self, compiled: Compiled) -> Outcome:
        """Claim the next version, write what changed, hold it against the gates, commit it."""
        audit.prepare(self.places.landing)
        if self.subject.share.format in PUSHED:
            return self.push(compiled)
        store = open_store(self.subject.share.destination)
        current = self.current_version(store)
        self.recover(current)
        number = current.number + 1 if current else 1
        target = Target(self.subject.share, compiled, store, current, number, self.usable_pointer())
        owner = {"share": self.subject.share.name, "run_id": self.subject.run_id}
        was_dead = versions.claim(store, number, self.subject.warehouse, owner)
        try:
            outcome = self.export_claimed(target)
        except DestinationError:
            # not after a kill, nor after what nobody foresaw: the next attempt takes it over
            with suppress(DestinationError):
                versions.release(store, number)
            raise
        versions.release(store, number)
        is_told = outcome.status != "quarantined"
        if was_dead or outcome.version == number or (target.is_redefined and is_told):
            self.clean_up(target)
        return outcome

    def export_claimed(self, target: Target) -> Outcome:
        """The part of an export that only the holder of the claim may do."""
        self.reader.bind(target.compiled.oldest_days)
        found = gates.Findings()
        find = streams.find_change if target.share.format in STREAMED else find_change
        changes = [find(target, self.reader, slice_, found) for slice_ in target.compiled.slices]
        if found.failed:
            return self.quarantine(target.compiled, found)
        is_same = not any(one.written or one.removed for one in changes)
        if target.current and is_same and not gone(target.current, changes):
            return self.nothing_new(target, target.current, changes)
        body = self.committed_body(target, changes, target.number)
        tables = {one.slice_.model: self.write(target, one, body) for one in changes}
        version = self.version(target, changes, tables, body)
        versions.commit(target.store, version)
        self.settle(body, self.pointer_to(version, target.compiled, changes))
        return self.outcome(body)

    def push(self, compiled: Compiled) -> Outcome:
        """Send what a service has not got, and tell what became of it; see pushing.py."""
        # its HTTP client takes 0.2 s to import, which idle runs need not spend
        from sharing import pushing  # noqa: PLC0415

        self.reader.bind(compiled.oldest_days)
        found = gates.Findings()
        pushed = pushing.push(self.subject, compiled, self.reader, self.books, self.clock, found)
        if found.failed:
            return self.quarantine(compiled, found)
        settled = Pointer(self.look, "", 0, compiled.digest, file_digest(self.places.rules))
        seen = pushed.seen_upto
        if not pushed.is_news and self.subject.upto <= seen:
            self.point(self.last, settled)
            return Outcome(self.subject.share.name, "unchanged")
        body = self.body(
            pushed.status,
            pushed.reasons,
            batch=f"{min(seen, self.subject.upto)}-{self.subject.upto}",
            committed_at=telling.moment(self.clock()) if pushed.has_left else None,
            **telling.scope_of(compiled),
            **pushed.told,
        )
        with self.books() as connection:
            connection.execute("begin")
            self.last = receipts.append(connection, body)
            ledger.tell(connection, self.subject.share.name, self.last.receipt_id)
            connection.execute("commit")
        self.audited(self.last)
        if pushed.status == "committed":
            self.point(self.last, settled)
        return replace(self.outcome(body), message=pushed.message)

    def write(self, target: Target, change: Change, body: Mapping[str, Any]) -> TableState:
        """Bring the files of a table to the destination; for Delta, commit them to its log."""
        if target.share.format in STREAMED:
            streams.remove_leftovers(target.store, target.number, [f for _, f in change.written])
        # each answer takes its time; after a fault none is begun any more
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as uploads:
            for _ in uploads.map(
                lambda pair: target.store.upload(pair[1].path, pair[0].path), change.written
            ):
                pass
        at = None
        if target.share.format == "delta":
            added = [file for _, file in change.written]
            commit = delta.Commit(
                added, change.removed, target.number, body["receipt_id"], body["batch"]
            )
            at = delta.commit(target.store, change.slice_, commit, self.clock())
        columns = tuple(describe(change.slice_))
        return TableState(tuple(change.files), columns, change.slice_.day, at)

    def version(
        self,
        target: Target,
        changes: Sequence[Change],
        tables: Mapping[str, TableState],
        body: Mapping[str, Any],
    ) -> Version:
        """The manifest to be committed."""
        now = str(body["committed_at"])
        removed = [*gone(target.current, changes), *(f for one in changes for f in one.removed)]
        before = None if target.is_redefined else target.current
        return Version(
            number=target.number,
            share=target.share.name,
            warehouse=self.subject.warehouse,
            digest=target.compiled.digest,
            upto=self.subject.upto,
            committed_at=now,
            content_sha256=str(body["content_sha256"]),
            tables=tables,
            receipt=body,
            retired=(
                *(before.retired if before else ()),
                *(Retired(file.path, file.day, now) for file in removed),
            ),
            history={**(before.history if before else {}), str(target.number): now},
        )

    def nothing_new(self, target: Target, current: Version, changes: Sequence[Change]) -> Outcome:
        """A batch without rows leaves a receipt; no batch at all leaves nothing."""
        new = self.pointer_to(current, target.compiled, changes)
        if self.subject.upto <= self.seen_upto(current):
            self.point(self.last, new)
            return Outcome(target.share.name, "unchanged", version=current.number)
        body = self.committed_body(target, changes, current.number)
        self.settle(body, new)
        return self.outcome(body)

    def current_version(self, store: Store) -> Version | None:
        """The newest version at the destination, if the place is this share's own."""
        share, current = self.subject.share, versions.newest(store)
        if current is None:
            if self.standing and self.standing.version:
                raise DestinationError(
                    "destination_lost",
                    f"version {self.standing.version} was written there and is gone: bring it"
                    f" back, or begin anew by deleting {self.folder / 'pointer.json'}",
                )
            known = {versions.CLAIMS, *(table.model for table in share.tables)}
            if any(
                path.split("/")[0] not in known and not path.startswith(versions.STREAM_PREFIX)
                for path in store.list()
            ):
                raise DestinationError(
                    "destination_of_another", "there are files of somebody else: name another place"
                )
        elif (current.share, current.warehouse) != (share.name, self.subject.warehouse):
            raise DestinationError(
                "destination_of_another",
                f"share {current.share} of another warehouse, or of another name, is there: name"
                " another place, or empty this one",
            )
        return current

    def recover(self, current: Version | None) -> None:
        """Write down the receipt of a commit whose process died before it could."""
        if current is None:
            return
        with self.books() as connection:
            found = receipts.append(connection, current.receipt)
        if self.last is None or found.number > self.last.number:
            self.last = self.audited(found)

    def clean_up(self, target: Target) -> None:
        """Delete what no version needs."""
        current = versions.newest(target.store)
        if current is None:
            return
        live = {file.path for table in current.tables.values() for file in table.files}
        old = versions.superfluous(
            target.store.list(),
            current,
            live,
            now=self.clock(),
            oldest_day=max(target.compiled.oldest_days.values()),
            is_redefined=target.is_redefined,
        )
        target.store.delete(old)

    # what is taken back

    def revoke(self) -> Outcome:
        """Delete all that is at the destination; a receipt lists it."""
        if self.subject.share.format in PUSHED:
            reason = Refusal("revoked", "nothing goes any more; a service keeps what it got")
            return self.refuse([reason])
        store = open_store(self.subject.share.destination)
        # here a place that holds nothing is as it should be
        self.standing = None
        self.recover(self.current_version(store))
        intent = self.folder / "revoking"
        listed = intent.read_text().splitlines() if intent.exists() else []
        found = store.list()
        removed = sorted({*listed, *found})
        reason = Refusal("revoked", f"{len(removed)} files deleted")
        body = self.body("refused", [reason], removed=removed)
        if not removed and not self.is_news(body):
            self.point(self.last, None)
            return self.outcome(body)
        intent.write_text("\n".join(removed))
        store.delete(found)
        self.settle(body, None)
        intent.unlink()
        return self.outcome(body)

    # what is told

    def seen_upto(self, current: Version | None) -> int:
        """The newest landing batch that this share has dealt with."""
        if current is None:
            return 0
        last = self.last.body if self.last else {}
        is_done = last.get("status") == "committed"
        return max(current.upto, last["upto"] if is_done else 0)

    def body(self, status: str, reasons: Sequence[Any] = (), **more: Any) -> dict[str, Any]:
        """A receipt with its id."""
        body = self.subject.body(status, reasons, **more)
        return {"receipt_id": receipts.new_id(body, self.last), **body}

    def committed_body(
        self, target: Target, changes: Sequence[Change], version: int
    ) -> dict[str, Any]:
        """The receipt of a batch, with or without rows."""
        batch = f"{self.seen_upto(target.current)}-{self.subject.upto}"
        told = telling.committed(target, changes, batch, self.clock())
        return self.body("committed", version=version, **told)

    def record(self, body: Mapping[str, Any]) -> Receipt:
        """Append to the chain."""
        with self.books() as connection:
            self.last = receipts.append(connection, body)
        return self.last

    def audited(self, receipt: Receipt) -> Receipt:
        """Write the audit event of a receipt, if it has one."""
        if audit.has_event(receipt.body):
            audit.write(self.places.landing, receipt)
        return receipt

    def settle(self, body: Mapping[str, Any], new: Pointer | None) -> None:
        """Receipt, audit event, pointer: in this order, each telling that the one before is."""
        self.point(self.audited(self.record(body)), new)

    def point(self, receipt: Receipt | None, new: Pointer | None) -> None:
        """Write the pointer: `new` with this look, or one to nothing."""
        name = receipt.receipt_id if receipt else ""
        made = new or Pointer(self.look, name, 0, "", "")
        pointer.write(self.folder, replace(made, look=self.look, receipt_id=name))

    def usable_pointer(self) -> Pointer | None:
        """The pointer, unless the rules it was written under have changed."""
        found = self.standing
        return found if found and found.rules == file_digest(self.places.rules) else None

    def pointer_to(
        self, version: Version, compiled: Compiled, changes: Sequence[Change]
    ) -> Pointer:
        """The pointer to a version."""
        prints = {one.slice_.model: one.prints for one in changes}
        rules = file_digest(self.places.rules)
        return Pointer(self.look, "", version.number, compiled.digest, rules, prints)

    def outcome(self, body: Mapping[str, Any]) -> Outcome:
        """The outcome that a receipt tells."""
        told = dict.fromkeys(reason["message"] for reason in body["reasons"])
        return Outcome(
            str(body["share"]),
            str(body["status"]),
            body["reason_code"],
            "; ".join(told),
            int(body["row_count"]),
            int(body["version"]),
        )
