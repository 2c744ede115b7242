"""Where files go: a local folder or an S3 bucket, through one small set of verbs.

Belongs here: opening a destination, reading, writing, listing, deleting; faults as words. Does not
belong here: what the files mean (versions.py, delta.py).

Credentials come from the variable that the share names, as a JSON object with access_key_id,
secret_access_key and, where there is one, session_token. obstore and deltalake repeat requests by
themselves: three times within half a minute, for faults of the network and answers of 5xx.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore import exceptions
from obstore.store import LocalStore, S3Store

from sharing.definitions import Destination
from sharing.treatments import KeyMissingError, read_secret

RETRIES = 3
RETRY_SECONDS = 30
CREDENTIALS = ("access_key_id", "secret_access_key", "session_token")


class DestinationError(Exception):
    """A destination that can't be worked with: `code` is a word of a closed list."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AlreadyThereError(Exception):
    """A name that was to be created exists."""


@dataclass(frozen=True)
class Store:
    """An open destination; paths are relative to it. `options` are what deltalake needs."""

    store: LocalStore | S3Store
    uri: str
    options: Mapping[str, str]

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, None where there is none."""
        with faults():
            try:
                return bytes(obstore.get(self.store, path).bytes())
            except (FileNotFoundError, exceptions.NotFoundError):
                return None

    def create(self, path: str, content: bytes) -> None:
        """Write a file that must not exist. Raises AlreadyThereError."""
        with faults():
            try:
                obstore.put(self.store, path, content, mode="create")
            except exceptions.AlreadyExistsError as error:
                raise AlreadyThereError(path) from error

    def replace(self, path: str, content: bytes) -> None:
        """Write a file, whatever was there."""
        with faults():
            obstore.put(self.store, path, content)

    def upload(self, path: str, source: Path) -> None:
        """Write the content of a local file."""
        with faults():
            obstore.put(self.store, path, source)

    def list(self, folder: str = "") -> list[str]:
        """Every path below a folder. Says that a bucket is gone, as reading one file does not."""
        with faults():
            chunks = obstore.list(self.store, folder or None)
            return sorted(entry["path"] for chunk in chunks for entry in chunk)

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files; those that are not there are no fault."""
        with faults():
            for path in paths:
                try:
                    obstore.delete(self.store, path)
                except (FileNotFoundError, exceptions.NotFoundError):
                    continue


def open_store(destination: Destination) -> Store:
    """Open a destination; nothing is asked of it yet. Raises DestinationError."""
    parts = urlsplit(destination.url)
    path = unquote(parts.path).rstrip("/")
    if destination.kind == "folder":
        with faults():
            local = LocalStore(path, mkdir=True, automatic_cleanup=True)
        return Store(local, path, {})
    keys = _credentials(destination)
    named = {"region": destination.region, "endpoint": destination.endpoint}
    settings = {key: value for key, value in {**keys, **named}.items() if value}
    is_plain = bool(destination.endpoint and destination.endpoint.startswith("http:"))
    with faults():
        bucket = S3Store(
            parts.netloc,
            prefix=path.lstrip("/"),
            client_options={"allow_http": is_plain},
            retry_config={
                "max_retries": RETRIES,
                "retry_timeout": timedelta(seconds=RETRY_SECONDS),
            },
            **settings,  # type: ignore[arg-type]
        )
    options = {f"AWS_{key.upper()}": value for key, value in settings.items()}
    options["AWS_ENDPOINT_URL"] = options.pop("AWS_ENDPOINT", "")
    options |= {"max_retries": str(RETRIES), "retry_timeout": f"{RETRY_SECONDS}s"}
    if is_plain:
        options["AWS_ALLOW_HTTP"] = "true"
    return Store(
        bucket, destination.address, {key: value for key, value in options.items() if value}
    )


def _credentials(destination: Destination) -> dict[str, str]:
    if destination.secret is None:
        return {}
    name = destination.secret.removeprefix("env:")
    try:
        found = json.loads(read_secret(destination.secret))
        keys = {key: str(found[key]) for key in CREDENTIALS if found.get(key)}
    except KeyMissingError as error:
        raise DestinationError("secret_missing", str(error)) from None
    except (ValueError, AttributeError, TypeError):
        keys = {}
    if not {*CREDENTIALS[:2]} <= set(keys):
        raise DestinationError(
            "secret_missing",
            f"{name} has to hold a JSON object with {' and '.join(CREDENTIALS[:2])}",
        )
    return keys


@contextmanager
def faults() -> Iterator[None]:
    """Faults as DestinationError; what a server said may hold anything and is not repeated."""
    try:
        yield
    except (AlreadyThereError, DestinationError):
        raise
    except (FileNotFoundError, exceptions.NotFoundError):
        raise _gone() from None
    except (PermissionError, exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
        raise DestinationError(
            "destination_denied", "the destination refuses: look at its credentials and policy"
        ) from None
    except (OSError, exceptions.BaseError) as error:
        # what obstore makes of a listing of no bucket
        if "NoSuchBucket" in str(error):
            raise _gone() from None
        raise DestinationError(
            "destination_unreachable",
            f"the destination does not answer as it should ({type(error).__name__}): try again",
        ) from None


def _gone() -> DestinationError:
    return DestinationError(
        "destination_gone", "the bucket or folder is not there: create it, or correct the url"
    )
