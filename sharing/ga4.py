"""Google's Measurement Protocol, by which GA4 and server containers of Tag Manager take events.

Belongs here: requests to /mp/collect and what would be lost there. Does not belong here: the event
(shapes.py), when something goes again (pushing.py).

The service answers with success whatever it is sent, and drops what it does not like: everything it
could dislike is looked for before. So `sent` is the most that can be known, and an event that
nobody can tell of goes again with its attempt as a parameter. Limits are those of its documentation
for a standard property.
"""

import re
from collections.abc import Mapping, Sequence

import httpx
import orjson

from sharing.definitions import Share
from sharing.ledger import Letter
from sharing.services import Answer, post, secret_of
from sharing.stores import DestinationError

MAX_EVENTS = 25
MAX_BYTES = 130_000
NAME_LENGTH, VALUE_LENGTH = 40, 100
OLDEST_SECONDS = 72 * 3600
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
RESERVED = re.compile(
    r"(?:_|firebase_|ga_|google_|gtag\.).*|ad_(?:activeview|click|exposure|query|reward)"
    r"|adunit_exposure|app_(?:clear_data|exception|install|remove|store_refund|update|upgrade)"
    r"|dynamic_link_(?:app_open|app_update|first_open)|error|first_(?:open|visit)"
    r"|in_app_purchase|notification_(?:dismiss|foreground|open|receive|send)|os_update|screen_view"
    r"|session_start|user_engagement"
)


class MeasurementProtocol:
    """One property, or the server container in front of it."""

    format = "ga4"
    channel: str | None = None
    # a request is of one visitor
    order: tuple[str, ...]
    is_idempotent = False

    def __init__(self, share: Share, warehouse: str) -> None:
        self.url = f"{share.destination.address}/mp/collect"
        self.secret = secret_of(share.destination)
        self.measurement_id = share.destination.measurement_id
        self.order = tuple(
            name for name in ("user_id", "anonymous_id") if share.pii.get(name) == "keyed_hash"
        )

    def check(self, client: httpx.Client) -> None:
        """It would say yes to anything."""

    def unfit(self, letter: Letter, now: float) -> str | None:
        """Everything that would be dropped in silence."""
        if "client_id" not in letter.line:
            return "no_identity"
        event = letter.line["event"]
        if event["timestamp_micros"] / 1e6 < now - OLDEST_SECONDS:
            return "too_old"
        names = [event["name"], *event["params"]]
        if not all(NAME.fullmatch(name) for name in names):
            return "invalid_name"
        if any(RESERVED.fullmatch(name) for name in names):
            return "reserved_name"
        values = event["params"].values()
        if any(len(name) > NAME_LENGTH for name in names) or any(
            isinstance(value, str) and len(value) > VALUE_LENGTH for value in values
        ):
            return "too_long"
        return None

    def size(self, letter: Letter) -> int:
        """Bytes of the event, with the parameter that we add."""
        return len(orjson.dumps(letter.line["event"])) + 20

    def fits(self, letters: Sequence[Letter], byte_count: int, more: Letter) -> bool:
        """Of the same visitor, within the limits of a request."""
        return (
            len(letters) < MAX_EVENTS
            and byte_count + self.size(more) < MAX_BYTES - 200
            and letters[0].line["client_id"] == more.line["client_id"]
        )

    def send(
        self, client: httpx.Client, letters: Sequence[Letter], batch: int, sequence: int
    ) -> Answer:
        """One request."""
        body = {
            "client_id": letters[0].line["client_id"],
            "events": [
                {
                    **letter.line["event"],
                    "params": {**letter.line["event"]["params"], "attempt": letter.attempt},
                }
                for letter in letters
            ],
        }
        where = {"measurement_id": self.measurement_id, "api_secret": self.secret}
        response = post(client, self.url, params=where, content=orjson.dumps(body))
        if response.is_success:
            return Answer("sent")
        if response.status_code in (400, 413, 422):
            return Answer("refused")
        raise DestinationError(
            "destination_refused",
            f"the service refuses with {response.status_code}: look at url and measurement_id",
        )

    def acknowledged(
        self, client: httpx.Client, channel: str, ids: Sequence[int]
    ) -> Mapping[int, bool]:
        """There is no such thing here."""
        return {}
