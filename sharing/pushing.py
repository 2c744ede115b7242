"""Events pushed to a service, each once as far as that can be known: the order of steps.

Belongs here: ask for what is still to be acknowledged → which events did not leave → gates →
requests → acknowledgements. Does not belong here: what a request is (hec.py, heap.py, ga4.py), the
ledger's rows (ledger.py), receipts (exporting.py).

A request is noted before it is made and after its answer. So whoever dies leaves at most requests
of which nobody can tell, and these go again with the number of their attempt in them. What the
service would refuse or lose is looked for before and kept aside as a dead letter: an id and a
reason, no content.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import duckdb
import httpx
import orjson
import stamina

from sharing import gates, ledger, receipts
from sharing.compiler import EVENT_KEY, Compiled, Refusal, Slice
from sharing.ga4 import MeasurementProtocol
from sharing.heap import Heap
from sharing.hec import Collector
from sharing.ledger import Letter, Position
from sharing.services import Answer, NotTakenError, Service, UnclearError, open_client, tries
from sharing.shapes import SHAPES
from sharing.staging import SENT, Reader
from sharing.stores import DestinationError
from sharing.telling import Subject

SERVICES: Mapping[str, Callable[..., Service]] = {
    "hec": Collector,
    "heap": Heap,
    "ga4": MeasurementProtocol,
}
ASKED_AT_ONCE = 1000
# How long indexers may take to store what they took.
STORED_TRIES = 30
STORED_SECONDS = 120.0

Books = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]


@dataclass(frozen=True)
class Pushed:
    """What became of a push. `told` goes into its receipt; `is_news`: whether anything was done."""

    status: str
    reasons: Sequence[Refusal]
    told: Mapping[str, Any]
    is_news: bool
    seen_upto: int

    @property
    def has_left(self) -> bool:
        """Whether the batch is done, or part of it may have arrived."""
        return self.status == "committed" or bool(self.told["row_count"])

    @property
    def message(self) -> str:
        """What somebody has to know."""
        said = [reason.message for reason in self.reasons]
        dead = self.told["dead"]
        if dead:
            counts = ", ".join(f"{count} {reason}" for reason, count in dead.items())
            said.append(f"dead letters: {counts}")
        return "; ".join(said)


def push(  # noqa: PLR0913, PLR0917 - what an attempt works with
    subject: Subject,
    compiled: Compiled,
    reader: Reader,
    books: Books,
    clock: Callable[[], datetime],
    found: gates.Findings,
) -> Pushed:
    """Send what did not leave yet; when a gate fails, `found` says so and nothing is sent.

    Raises DestinationError when the service can't be reached or does not let us in, before
    anything was sent.
    """
    share = subject.share
    [slice_] = compiled.slices
    service = SERVICES[share.format](share, subject.warehouse)
    with books() as connection:
        ledger.begin(connection, share.name)
        ledger.forget(connection, share.name, max(compiled.oldest_days.values()))
        last = receipts.last_of(connection, share.name, "committed")
        sequence = ledger.next_sequence(connection, share.name, subject.upto)
    seen = int(last.body["upto"]) if last else 0
    with open_client() as client:
        work = _Push(subject, service, client, books, clock, sequence)
        work.reach()
        with suppress(NotTakenError, UnclearError):
            work.ask()
        rows, digest = work.stage(reader, slice_, found)
        if found.failed:
            return Pushed("quarantined", (), {"dead": {}}, True, seen)
        reasons = work.deliver(reader)
        if not reasons:
            reasons = work.wait()
    with books() as connection:
        told = ledger.untold(connection, share.name)
    left = {name: count for name, count in told["deliveries"].items() if name not in ("dead",)}
    told |= {
        "row_count": sum(left.values()) - left.get("waiting", 0),
        "total_row_count": rows,
        "content_sha256": digest,
    }
    return Pushed(work.status, reasons, told, bool(told["deliveries"]), seen)


@dataclass
class _Push:
    subject: Subject
    service: Service
    client: httpx.Client
    books: Books
    clock: Callable[[], datetime]
    sequence: int
    attempts: dict[ledger.Key, int] = field(default_factory=dict)
    status: str = "committed"

    @property
    def name(self) -> str:
        return self.subject.share.name

    def reach(self) -> None:
        """Whether the service is there, also when there is nothing to send."""
        try:
            for attempt in tries(self.service):
                with attempt:
                    self.service.check(self.client)
        except (NotTakenError, UnclearError) as error:
            raise _unreachable(error) from None

    def ask(self) -> int:
        """Ask for acknowledgements that are owed; how many requests still have none."""
        with self.books() as connection:
            pending = ledger.pending(connection, self.name)
        left = len(pending)
        for first in range(0, len(pending), ASKED_AT_ONCE):
            some = pending[first : first + ASKED_AT_ONCE]
            for channel in sorted({one.channel for one in some}):
                of_channel = [one for one in some if one.channel == channel]
                ids = [one.acknowledgement_id for one in of_channel]
                stored = self.service.acknowledged(self.client, channel, ids)
                with self.books() as connection:
                    for one in of_channel:
                        if stored.get(one.acknowledgement_id):
                            self.settle(connection, (one.batch, one.sequence), "acknowledged")
                            left -= 1
        return left

    def stage(self, reader: Reader, slice_: Slice, found: gates.Findings) -> tuple[int, str]:
        """Write the lines of what goes to local disk and look into them: number and SHA-256."""
        shape = SHAPES[self.service.format]
        with self.books() as connection:
            # what was taken and is not acknowledged in time goes again now
            ledger.give_up_waiting(connection, self.name)
            ledger.write_settled(connection, self.name, reader.folder / SENT)
            self.attempts = ledger.attempts(connection, self.name)
        reader.read_sent()
        rows = reader.stage_new(slice_)
        path, digest = reader.folder / "lines.ndjson", hashlib.sha256()
        with path.open("wb") as file:
            for row in reader.new_rows(self.service.order):
                line = orjson.dumps(shape.line(row), option=orjson.OPT_APPEND_NEWLINE)
                digest.update(line)
                file.write(line)
        lines = gates.Lines(
            slice_,
            shape,
            self.subject.share.environment,
            [path] if rows else [],
            rows,
            reader.count_new(slice_),
        )
        gates.examine_lines(reader, lines, found)
        return rows, digest.hexdigest()

    def letters(self, reader: Reader) -> Iterator[Letter]:
        """The lines that the gates looked at, each with its key, time and attempt."""
        with (reader.folder / "lines.ndjson").open("rb") as file:
            for row, line in zip(reader.new_rows(self.service.order), file, strict=True):
                key = tuple(row[name] for name in EVENT_KEY)
                at = row["occurred_at"].astimezone(UTC).replace(tzinfo=None)
                before = self.attempts.pop(key, None)
                yield Letter(key, at, orjson.loads(line), (before or 0) + 1, before is not None)

    def deliver(self, reader: Reader) -> list[Refusal]:
        """Send all of it, or say why not; what is not sent goes with the next run."""
        try:
            for letters in self.requests(self.letters(reader)):
                self.send(letters)
        except DestinationError as error:
            return [Refusal(error.code, str(error))]
        with self.books() as connection:
            ledger.bury_gone(connection, self.name, sorted(self.attempts))
        return []

    def requests(self, letters: Iterator[Letter]) -> Iterator[list[Letter]]:
        """Letters by request; those that are unfit are kept aside."""
        now = self.clock().replace(tzinfo=UTC).timestamp()
        request: list[Letter] = []
        byte_count = 0
        unfit: dict[str, list[Letter]] = {}
        for letter in letters:
            reason = self.service.unfit(letter, now)
            if reason:
                unfit.setdefault(reason, []).append(letter)
                if len(unfit[reason]) >= ASKED_AT_ONCE:
                    self.bury(unfit.pop(reason), reason)
                continue
            if request and not self.service.fits(request, byte_count, letter):
                yield request
                request, byte_count = [], 0
            request.append(letter)
            byte_count += self.service.size(letter)
        for reason, some in unfit.items():
            self.bury(some, reason)
        if request:
            yield request

    def send(self, letters: list[Letter]) -> None:
        """One request, and those that become of it when something in it is refused."""
        left = [letters]
        while left:
            part = left.pop()
            answer = self.make(part)
            if answer.status != "refused":
                continue
            culprit = answer.culprit
            if culprit is None and len(part) > 1:
                halves = [part[: len(part) // 2], part[len(part) // 2 :]]
            else:
                number = culprit if culprit is not None and culprit < len(part) else 0
                self.bury([replace(part[number], is_known=True)], "refused_by_service")
                halves = [part[:number] + part[number + 1 :]]
            left += [
                [replace(one, attempt=one.attempt + 1, is_known=True) for one in half]
                for half in reversed(halves)
                if half
            ]

    def make(self, letters: Sequence[Letter]) -> Answer:
        """Note a request, make it, note its answer. Raises DestinationError when it has none."""
        number, request = self.sequence, (self.subject.upto, self.sequence)
        self.sequence += 1
        with self.books() as connection:
            ledger.write(
                connection, letters, self.position(number), status="sending", now=self.clock()
            )
        try:
            answer = self.tried(letters, number)
        except (NotTakenError, DestinationError) as error:
            with self.books() as connection:
                self.settle(connection, request, "waiting", "not_taken")
            self.status = "failed"
            raise _unreachable(error) from None
        except UnclearError as error:
            with self.books() as connection:
                self.settle(connection, request, "unknown", "no_answer")
            self.status = "unknown"
            raise DestinationError(
                "delivery_unknown",
                f"nobody knows whether {len(letters)} events arrived, {error}: they go again with"
                " the next run, marked as another attempt",
            ) from None
        status, reason = answer.status, None
        if status == "refused":
            # those before the culprit may have been taken, and nobody says so
            status, reason = "unknown", "refused_beside"
        elif self.service.channel and answer.acknowledgement_id is None:
            status, reason = "unknown", "not_acknowledged"
        with self.books() as connection:
            self.settle(connection, request, status, reason, answer.acknowledgement_id)
        return answer

    def tried(self, letters: Sequence[Letter], number: int) -> Answer:
        """The answer to a request, repeated where that helps and does no harm."""
        for attempt in tries(self.service):
            with attempt:
                return self.service.send(self.client, letters, self.subject.upto, number)
        raise AssertionError("an attempt returns or raises")

    def wait(self) -> list[Refusal]:
        """Wait for acknowledgements; what has none in time is unknown."""
        kinds = (NotTakenError, UnclearError)
        patience = stamina.retry_context(
            on=kinds,
            attempts=STORED_TRIES,
            timeout=STORED_SECONDS,
            wait_initial=0.5,
            wait_max=10.0,
        )
        with suppress(*kinds):
            for attempt in patience:
                with attempt:
                    if left := self.ask():
                        raise NotTakenError(f"{left} requests")
        with self.books() as connection:
            ledger.give_up_waiting(connection, self.name)
            left = len(ledger.attempts(connection, self.name))
        if not left:
            return []
        self.status = "unknown"
        return [
            Refusal(
                "not_acknowledged",
                f"{left} events were taken and not acknowledged: what has no acknowledgement by"
                " then goes again with the next run, marked as another attempt",
            )
        ]

    def bury(self, letters: Sequence[Letter], reason: str) -> None:
        """Keep letters aside that can't go."""
        with self.books() as connection:
            ledger.write(
                connection,
                letters,
                self.position(0),
                status="dead",
                now=self.clock(),
                reason=reason,
            )

    def position(self, sequence: int) -> Position:
        return Position(
            self.name, self.subject.upto, sequence, self.subject.run_id, self.service.channel
        )

    def settle(
        self,
        connection: duckdb.DuckDBPyConnection,
        request: tuple[int, int],
        status: str,
        reason: str | None = None,
        acknowledgement_id: int | None = None,
    ) -> None:
        ledger.settle(
            connection,
            self.name,
            request,
            status=status,
            now=self.clock(),
            reason=reason,
            acknowledgement_id=acknowledgement_id,
        )


def _unreachable(error: Exception) -> DestinationError:
    if isinstance(error, DestinationError):
        return error
    return DestinationError(
        "destination_unreachable", f"the service takes nothing, {error}: it is tried again"
    )
