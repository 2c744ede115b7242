"""The versions of a share at its destination: one manifest each, put last and created once.

Belongs here: manifests, claims, what is deleted. Does not belong here: Delta's own log (delta.py),
the order of steps (exporting.py).

    _claims/000003.json        while somebody writes version 3
    _manifests/000003.json     version 3, whole: every table, column, file and hash
    fct_auth_daily/…           the files

A manifest that can be created makes its version the newest one; until then nothing that was
written is part of anything. Files are never changed. What a version replaced stays for
HISTORY_DAYS, so that readers end in peace and Delta can travel in time; what passed the retention
boundary, or belongs to an earlier definition of the share, is deleted at once.
"""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sharing.stores import AlreadyThereError, DestinationError, Store

HISTORY_DAYS = 7
MANIFESTS, CLAIMS, DELTA_LOG = "_manifests", "_claims", "_delta_log"
# files of streams lie in folders of their own, see streams.py
STREAM_PREFIX = "stream="


@dataclass(frozen=True)
class File:
    """A file of a version. `day` is '' where its table has none."""

    path: str
    day: str
    row_count: int
    byte_count: int
    sha256: str


@dataclass(frozen=True)
class TableState:
    """One table of a version; `delta_version` is that of its Delta table, if it is one."""

    files: tuple[File, ...]
    columns: tuple[Mapping[str, str], ...]
    partitioned_by: str | None = None
    delta_version: int | None = None


@dataclass(frozen=True)
class Retired:
    """A file that a version replaced: deleted when its time has come."""

    path: str
    day: str
    since: str


@dataclass(frozen=True)
class Version:
    """What a manifest says. `history`: when the manifests that still stand were committed."""

    number: int
    share: str
    warehouse: str
    digest: str
    upto: int
    committed_at: str
    content_sha256: str
    tables: Mapping[str, TableState]
    receipt: Mapping[str, Any]
    retired: tuple[Retired, ...] = ()
    history: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The manifest."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Version":
        """Read a manifest; raises ValueError, KeyError or TypeError when it is none."""
        found = json.loads(content)
        tables = {
            model: TableState(
                tuple(File(**file) for file in table.pop("files")),
                tuple(table.pop("columns")),
                **table,
            )
            for model, table in found.pop("tables").items()
        }
        retired = tuple(Retired(**one) for one in found.pop("retired"))
        return cls(tables=tables, retired=retired, **found)


def path_of(folder: str, number: int) -> str:
    """`_manifests/000003.json`."""
    return f"{folder}/{number:06d}.json"


def newest(store: Store) -> Version | None:
    """The newest version, None before the first. Raises DestinationError."""
    found = [path for path in store.list(MANIFESTS) if path.endswith(".json")]
    return read(store, max(found)) if found else None


def read(store: Store, path: str) -> Version:
    """One manifest. Raises DestinationError when it is gone or is none."""
    return _parsed(store.read(path) or b"", path)


def _parsed(content: bytes, path: str) -> Version:
    try:
        return Version.from_json(content)
    except (ValueError, KeyError, TypeError):
        raise DestinationError(
            "manifest_unreadable", f"{path} at the destination is no manifest of this version"
        ) from None


def find(store: Store, number: int) -> Version | None:
    """The version of a number, None when its manifest is not, or no longer, there."""
    path = path_of(MANIFESTS, number)
    content = store.read(path)
    return None if content is None else _parsed(content, path)


def commit(store: Store, version: Version) -> None:
    """Create the manifest, which is the commit.

    A request may have been carried out although its answer was lost: the manifest that stands
    there decides. Raises DestinationError with `commit_taken` when it is somebody else's, with
    `commit_unknown` when it can't be read either.
    """
    path = path_of(MANIFESTS, version.number)
    try:
        store.create(path, version.to_json())
    except (AlreadyThereError, DestinationError) as error:
        try:
            standing = store.read(path)
        except DestinationError:
            raise DestinationError(
                "commit_unknown", f"nobody knows whether version {version.number} was committed"
            ) from error
        if standing is None and isinstance(error, DestinationError):
            raise
        if standing != version.to_json():
            raise DestinationError(
                "commit_taken", f"somebody else committed version {version.number}"
            ) from error


def claim(store: Store, number: int, warehouse: str, owner: Mapping[str, Any]) -> bool:
    """Take the right to write a version; True if a dead process of ours held it.

    Who gets here holds the writer's lock of this warehouse, so a claim of the same warehouse has
    no living owner. Raises DestinationError when another warehouse holds it.
    """
    path = path_of(CLAIMS, number)
    content = json.dumps({"warehouse": warehouse, **owner}).encode()
    try:
        store.create(path, content)
    except AlreadyThereError:
        standing = store.read(path)
        with suppress(ValueError):
            if standing is None or json.loads(standing).get("warehouse") == warehouse:
                store.replace(path, content)
                return True
        raise DestinationError(
            "claim_taken",
            f"another warehouse is writing version {number}: give it a destination of its own, or"
            f" delete {path} there if that warehouse is no more",
        ) from None
    return False


def release(store: Store, number: int) -> None:
    """Give a claim back."""
    store.delete([path_of(CLAIMS, number)])


def superfluous(  # noqa: PLR0913 - what a file's life depends on, by name
    paths: Collection[str],
    current: Version,
    live: Collection[str],
    *,
    now: datetime,
    oldest_day: date,
    is_redefined: bool,
) -> list[str]:
    """What to delete at a destination whose newest version is `current`.

    `live`: files of `current`, for Delta those of its tables. `oldest_day`: the youngest of the
    retention boundaries of all workspaces. Paths that are nothing of ours are left alone.
    """
    young = (now - timedelta(days=HISTORY_DAYS)).isoformat()
    kept = {path_of(MANIFESTS, current.number), *live}
    if not is_redefined:
        kept |= {
            one.path
            for one in current.retired
            if one.since >= young
            and (not one.day or one.day >= oldest_day.isoformat())
            and (one.path.split("/")[0] in current.tables or one.path.startswith(STREAM_PREFIX))
        }
        kept |= {
            path_of(MANIFESTS, int(number))
            for number, moment in current.history.items()
            if moment >= young
        }
    return [
        path
        for path in sorted(paths)
        if path not in kept and _is_ours(path, current) and not _is_log(path, current)
    ]


def _is_ours(path: str, current: Version) -> bool:
    top, _, name = path.partition("/")
    if top == CLAIMS:
        return name <= f"{current.number:06d}.json"
    models = {*current.tables, *(one.path.split("/")[0] for one in current.retired)}
    return top == MANIFESTS or top in models or top.startswith(STREAM_PREFIX)


def _is_log(path: str, current: Version) -> bool:
    model, _, rest = path.partition("/")
    return rest.startswith(f"{DELTA_LOG}/") and model in current.tables
