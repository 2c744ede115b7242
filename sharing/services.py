"""HTTP services that events are pushed to: one request, and what its answer means.

Belongs here: the client, its retries, faults as words. Does not belong here: what a service is told
(hec.py, heap.py, ga4.py), the ledger (ledger.py).

A fault is one of two kinds. Either the request surely was not taken (no connection, busy, denied):
then it is tried again for a while, and later. Or nobody can tell (no answer, a gateway's fault):
then it is tried again only where the service knows events by a key of ours.
"""

import functools
import logging
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import stamina

from sharing.definitions import Destination
from sharing.ledger import Letter
from sharing.stores import DestinationError
from sharing.treatments import KeyMissingError, read_secret

TIMEOUT_SECONDS = 30.0
TRIES = 5
TRY_SECONDS = 60.0
BUSY = (408, 425, 429, 503)
DENIED = (401, 403)

# it tells URLs, and some services want their secret in one
logging.getLogger("httpx").setLevel(logging.WARNING)


class NotTakenError(Exception):
    """The request was surely not taken; trying again may help."""


class UnclearError(Exception):
    """Nobody can tell whether the request was taken."""


@dataclass(frozen=True)
class Answer:
    """What a service made of a request.

    `status`: sent or acknowledged; `refused` when something in it is not to its taste: the
    `culprit`-th letter, or nobody knows which.
    """

    status: str
    acknowledgement_id: int | None = None
    culprit: int | None = None


class Service(Protocol):
    """One service, as pushing.py uses it."""

    format: str
    channel: str | None
    order: tuple[str, ...]
    is_idempotent: bool

    def check(self, client: httpx.Client) -> None:
        """Whether it is there and lets us in. Raises NotTakenError or DestinationError."""

    def unfit(self, letter: Letter, now: float) -> str | None:
        """Why it would refuse or lose a letter: a word, None when it would not."""

    def fits(self, letters: Sequence[Letter], byte_count: int, more: Letter) -> bool:
        """Whether one more letter goes into a request of `letters`."""

    def size(self, letter: Letter) -> int:
        """Bytes that a letter takes."""

    def send(
        self, client: httpx.Client, letters: Sequence[Letter], batch: int, sequence: int
    ) -> Answer:
        """Make one request. Raises NotTakenError, UnclearError, DestinationError."""

    def acknowledged(
        self, client: httpx.Client, channel: str, ids: Sequence[int]
    ) -> Mapping[int, bool]:
        """Which of the numbers it gave are stored by now."""


@contextmanager
def open_client() -> Iterator[httpx.Client]:
    """A client that follows no redirect: a token goes to the named host alone."""
    with httpx.Client(
        timeout=TIMEOUT_SECONDS, follow_redirects=False, verify=_authorities()
    ) as client:
        yield client


@functools.cache
def _authorities() -> ssl.SSLContext:
    # reading them takes 0.2 s
    return httpx.create_ssl_context()


def secret_of(destination: Destination) -> str:
    """The token of a service. Raises DestinationError."""
    try:
        return read_secret(destination.secret or "").strip()
    except KeyMissingError as error:
        raise DestinationError("secret_missing", str(error)) from None


def post(client: httpx.Client, url: str, **request: Any) -> httpx.Response:
    """One request; answers that say something of the content come back, others are raised."""
    try:
        response = client.post(url, **request)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise NotTakenError(f"no connection ({type(error).__name__})") from None
    except httpx.HTTPError as error:
        raise UnclearError(f"no answer ({type(error).__name__})") from None
    if response.status_code in BUSY:
        raise NotTakenError(f"busy ({response.status_code})")
    if response.status_code in DENIED:
        raise DestinationError("destination_denied", "the service refuses: look at its token")
    if response.status_code >= 500:
        raise UnclearError(f"a fault of the service ({response.status_code})")
    if response.status_code in (301, 302, 303, 307, 308, 404, 405):
        raise DestinationError(
            "destination_gone",
            f"there is no such service ({response.status_code}): correct the url",
        )
    return response


def said(response: httpx.Response) -> dict[str, Any]:
    """The object that an answer holds, an empty one if it holds none."""
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def tries(service: Service) -> Iterable[stamina.Attempt]:
    """Attempts, with growing pauses, at what may help to be repeated."""
    kinds = (NotTakenError, UnclearError) if service.is_idempotent else (NotTakenError,)
    return stamina.retry_context(
        on=kinds, attempts=TRIES, timeout=TRY_SECONDS, wait_initial=0.5, wait_max=15.0
    )
