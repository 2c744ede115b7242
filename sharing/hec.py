"""Splunk's HTTP Event Collector, with acknowledgement by its indexers.

Belongs here: requests to /services/collector/event and /ack, and what its codes mean. Does not
belong here: the envelope (shapes.py), when something goes again (pushing.py).

A collector knows no key by which it would drop what it has: an event that nobody can tell of goes
again, and `fields` say so: batch, sequence (of the request), attempt, beside the event's own key.
What to search for: `| dedup workspace_id source_table event_id sortby attempt`.
"""

import gzip
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import orjson

from sharing.definitions import Share
from sharing.ledger import Letter
from sharing.services import Answer, NotTakenError, post, said, secret_of
from sharing.stores import DestinationError

MAX_BYTES = 1_000_000
# what our marks, index and names add to a line
ENVELOPE_BYTES = 600
OK, NO_DATA, BUSY, ACK_DISABLED = 0, 5, 9, 14
OF_CONTENT = (6, 12, 13, 15)
OF_SETTINGS = {7: "index_refused", 10: "channel_missing", 11: "channel_invalid"}


class Collector:
    """The collector of one share."""

    format = "hec"
    order: tuple[str, ...] = ()
    is_idempotent = False

    def __init__(self, share: Share, warehouse: str) -> None:
        self.place = share.destination
        self.token = secret_of(share.destination)
        self.source = f"rollcall:{share.name}"
        self.channel: str | None = None
        if self.place.acknowledge:
            # the same one for ever: numbers of acknowledgements are its own
            self.channel = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{warehouse}/{share.name}"))

    def check(self, client: httpx.Client) -> None:
        """Ask for no acknowledgement at all: tells whether token, channel and settings are good."""
        if self.channel is None:
            return
        if said(self._ack(client, self.channel, [])).get("code") == ACK_DISABLED:
            raise DestinationError(
                "acknowledgement_disabled",
                "the token is one without acknowledgement: switch it on there, or set"
                " destination.acknowledge to false",
            )

    def unfit(self, letter: Letter, now: float) -> str | None:
        """A line that no request could hold."""
        return "too_long" if self.size(letter) > MAX_BYTES else None

    def size(self, letter: Letter) -> int:
        """Bytes of its line."""
        return len(orjson.dumps(letter.line)) + ENVELOPE_BYTES

    def fits(self, letters: Sequence[Letter], byte_count: int, more: Letter) -> bool:
        """Within the limit of a request."""
        return byte_count + self.size(more) <= MAX_BYTES

    def send(
        self, client: httpx.Client, letters: Sequence[Letter], batch: int, sequence: int
    ) -> Answer:
        """JSON objects back to back, packed."""
        body = b"\n".join(orjson.dumps(self._marked(one, batch, sequence)) for one in letters)
        response = post(
            client,
            f"{self.place.address}/services/collector/event",
            content=gzip.compress(body, mtime=0),
            headers={**self._headers(self.channel), "Content-Encoding": "gzip"},
        )
        answer = said(response)
        code = answer.get("code")
        if response.status_code == 200 and code == OK:
            if self.channel is None:
                return Answer("sent")
            return Answer("sent", acknowledgement_id=answer.get("ackId"))
        if code == BUSY:
            raise NotTakenError("busy")
        if code in OF_CONTENT:
            return Answer("refused", culprit=_number(answer.get("invalid-event-number")))
        word = OF_SETTINGS.get(code if isinstance(code, int) else -1, "destination_refused")
        raise DestinationError(
            word,
            f"the collector refuses with code {int(code) if isinstance(code, int) else '?'}: look"
            " at index and token",
        )

    def acknowledged(
        self, client: httpx.Client, channel: str, ids: Sequence[int]
    ) -> Mapping[int, bool]:
        """What the indexers say; true is told once."""
        found = said(self._ack(client, channel, ids)).get("acks")
        return {int(id_): bool(is_) for id_, is_ in found.items()} if found else {}

    def _ack(self, client: httpx.Client, channel: str, ids: Sequence[int]) -> httpx.Response:
        return post(
            client,
            f"{self.place.address}/services/collector/ack",
            json={"acks": list(ids)},
            headers=self._headers(channel),
        )

    def _headers(self, channel: str | None) -> dict[str, str]:
        named = {"X-Splunk-Request-Channel": channel} if channel else {}
        return {"Authorization": f"Splunk {self.token}", **named}

    def _marked(self, letter: Letter, batch: int, sequence: int) -> dict[str, Any]:
        marks = {"batch": batch, "sequence": sequence, "attempt": letter.attempt}
        return {
            **letter.line,
            "host": "rollcall",
            "source": self.source,
            "sourcetype": self.place.sourcetype,
            **({"index": self.place.index} if self.place.index else {}),
            "fields": {**letter.line["fields"], **marks},
        }


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
