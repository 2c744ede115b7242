"""Heap's API for events of servers, up to 1000 a request.

Belongs here: requests to /api/track and what would be lost there. Does not belong here: the event
(shapes.py), when something goes again (pushing.py).

Heap drops an event whose idempotency_key it has, so whatever is unclear is sent again. The app id
is in the share's secret: it names the environment, of which production and sandbox have their own.
"""

from collections.abc import Mapping, Sequence

import httpx
import orjson

from sharing.definitions import Share
from sharing.ledger import Letter
from sharing.services import Answer, post, secret_of
from sharing.stores import DestinationError

MAX_EVENTS = 1000
# of its documentation: an identity has 255 characters, values have fewer than 1024
IDENTITY_LENGTH, VALUE_LENGTH = 255, 1023


class Heap:
    """One app of Heap."""

    format = "heap"
    channel: str | None = None
    order: tuple[str, ...] = ()
    is_idempotent = True

    def __init__(self, share: Share, warehouse: str) -> None:
        self.url = f"{share.destination.address}/api/track"
        self.app_id = secret_of(share.destination)

    def check(self, client: httpx.Client) -> None:
        """Nothing can be asked of it but to take events."""

    def unfit(self, letter: Letter, now: float) -> str | None:
        """Events of nobody, and texts that it would cut off."""
        line = letter.line
        if "identity" not in line:
            return "no_identity"
        texts = [line["event"], *line["properties"], *line["properties"].values()]
        if len(line["identity"]) > IDENTITY_LENGTH or any(
            isinstance(text, str) and len(text) > VALUE_LENGTH for text in texts
        ):
            return "too_long"
        return None

    def size(self, letter: Letter) -> int:
        """Bytes of the event."""
        return len(orjson.dumps(letter.line))

    def fits(self, letters: Sequence[Letter], byte_count: int, more: Letter) -> bool:
        """Within the number of a request."""
        return len(letters) < MAX_EVENTS

    def send(
        self, client: httpx.Client, letters: Sequence[Letter], batch: int, sequence: int
    ) -> Answer:
        """One request."""
        events = [letter.line for letter in letters]
        response = post(client, self.url, json={"app_id": self.app_id, "events": events})
        if response.is_success:
            return Answer("acknowledged")
        if response.status_code in (400, 413, 422):
            return Answer("refused")
        raise DestinationError(
            "destination_refused", f"Heap refuses with {response.status_code}: look at the app id"
        )

    def acknowledged(
        self, client: httpx.Client, channel: str, ids: Sequence[int]
    ) -> Mapping[int, bool]:
        """There is no such thing here."""
        return {}
