"""Which files of a table a consumer may have: of the newest version, of an older one, of changes.

Belongs here: versions, times, what of them is still served. Does not belong here: URLs (links.py),
lines of the protocol (app.py).

A version is what a manifest names (versions.py): what a dead process put into the Delta log is not
served. An older one is served while its manifest stands, which is a week, if the share was defined
as it is today and all of its workspaces are still the consumer's. Days past the retention boundary
are in none, whether their files are deleted yet or not.
"""

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from deltalake import DeltaTable

from sharing import delta, pointer, versions
from sharing.compiler import Compiled, Slice
from sharing.server.answers import NotServedError
from sharing.server.gate import Verdict
from sharing.stores import Store, open_store
from sharing.versions import File, Version


@dataclass(frozen=True)
class Point:
    """A version of a table and its files."""

    version: int
    files: Sequence[File]


@dataclass(frozen=True)
class Changed:
    """A file that a version brought or took away; `moment`: milliseconds since the epoch."""

    file: File
    is_added: bool
    version: int
    moment: int


def find_table(verdict: Verdict, schema: str, model: str, state: Path) -> "Table":
    """One table of a share. Raises NotServedError, DestinationError.

    `state`: the folder with what is known of each share. Refuses what is at the destination if the
    share's definition, its keys or its workspaces are others now, until a run wrote it anew.
    """
    compiled = verdict.allowed()
    slices = {slice_.model: slice_ for slice_ in compiled.slices}
    slice_ = slices.get(model.lower())
    if slice_ is None or schema.lower() != verdict.share.environment:
        raise NotServedError(404, "table_unknown", "there is no such table in the share")
    store = open_store(verdict.share.destination)
    current = versions.newest(store)
    if current is None or slice_.model not in current.tables:
        raise NotServedError(404, "nothing_shared", "the table was not shared yet")
    # a workspace without rows leaves without a new version, which the pointer tells
    known = pointer.read(state / verdict.share.name)
    is_settled = known is not None and (
        known.look.settings == verdict.settings and known.version == current.number
    )
    if current.digest != compiled.digest or not (is_settled or _is_theirs(current, verdict)):
        raise NotServedError(
            403, "redefined", "the share was changed: it is served again after the next run"
        )
    return Table(verdict, compiled, slice_, store, current)


@dataclass(frozen=True)
class Table:
    """One table of an allowed share at its destination, for one request."""

    verdict: Verdict
    compiled: Compiled
    slice_: Slice
    store: Store
    current: Version

    @property
    def newest(self) -> Point:
        """The newest version, without days that no workspace may show any more."""
        oldest = min(self.compiled.oldest_days.values())
        return self._point(self.current, oldest)

    def at(self, version: int) -> Point:
        """A version by its number. Raises NotServedError."""
        if version == self.newest.version:
            return self.newest
        is_older = 0 <= version < self.newest.version
        logged = delta.read_commit(self.store, self.slice_, version) if is_older else None
        return self._former(self._served(logged.number) if logged else None, version)

    def as_of(self, moment: datetime) -> Point:
        """The version that was the newest at a time. Raises NotServedError."""
        numbers = [number for number, at in self._committed() if at <= moment]
        if not numbers:
            raise NotServedError(400, "version_unknown", "the time is before the oldest version")
        if max(numbers) == self.current.number:
            return self.newest
        return self._former(self._served(max(numbers)))

    def since(self, moment: datetime) -> Point:
        """The first version that was committed at or after a time. Raises NotServedError."""
        for number, at in self._committed():
            found = self._served(number) if at >= moment else None
            if found is not None:
                point = self._point(found, date.min)
                logged = delta.read_commit(self.store, self.slice_, point.version)
                # a version of the share need not be one of each table
                if logged is not None and logged.number == number:
                    return point
        raise NotServedError(400, "version_unknown", "the time is after the newest version")

    def changes(self, first: int, last: int) -> list[Changed]:
        """What each version of a range changed. Raises NotServedError.

        A day that passes the boundary is no change: there are no rows left that could be told.
        """
        newest = self.newest.version
        if not 0 <= first <= newest or last < first:
            raise NotServedError(
                400, "version_unknown", f"no changes from {first} to {last}: {newest} is the newest"
            )
        if first > 0:
            # what the first one took away is of the version before
            self._changed(first - 1)
        numbers = range(first, min(last, newest) + 1)
        oldest = min(self.compiled.oldest_days.values())
        every = itertools.chain.from_iterable(map(self._changed, numbers))
        found = [one for one in every if _is_shown(one.file, oldest)]
        self._check_there(one.file for one in found)
        return found

    def opened(self, at: Point) -> DeltaTable:
        """The Delta table as it stood. Raises NotServedError, DestinationError."""
        table = delta.open_table(self.store, self.slice_.model, at.version)
        if table is None:
            raise NotServedError(404, "nothing_shared", "the table was not shared yet")
        return table

    def _changed(self, version: int) -> list[Changed]:
        logged = delta.read_commit(self.store, self.slice_, version)
        found = self._served(logged.number) if logged else None
        if logged is None or found is None:
            raise NotServedError(
                400,
                "changes_gone",
                f"version {version} is not there any more: load the table anew",
            )
        moment = int(_moment(found.committed_at).replace(tzinfo=UTC).timestamp() * 1000)
        return [
            *(Changed(file, True, version, moment) for file in logged.added),
            *(Changed(file, False, version, moment) for file in logged.removed),
        ]

    def _former(self, found: Version | None, version: int | None = None) -> Point:
        # days past the shortest boundary of all workspaces are deleted from what was replaced
        oldest = max(self.compiled.oldest_days.values())
        point = self._point(found, oldest) if found else None
        if point is None or version not in (None, point.version):
            raise NotServedError(
                400, "version_unknown", "there is no such version, or it is not there any more"
            )
        self._check_there(point.files)
        return point

    def _point(self, version: Version, oldest: date) -> Point:
        table = version.tables[self.slice_.model]
        if table.delta_version is None:
            raise NotServedError(404, "nothing_shared", "the table was not shared yet")
        return Point(table.delta_version, [file for file in table.files if _is_shown(file, oldest)])

    def _served(self, number: int) -> Version | None:
        """A version of the share; None when it is not, or may not be, served any more."""
        if number >= self.current.number:
            return self.current if number == self.current.number else None
        found = versions.find(self.store, number)
        is_same = found is not None and found.digest == self.compiled.digest
        return found if found and is_same and _is_theirs(found, self.verdict) else None

    def _committed(self) -> list[tuple[int, datetime]]:
        """Versions of the share that were committed as it is defined today, oldest first."""
        history = self.current.history.items()
        return sorted((int(number), _moment(at)) for number, at in history)

    @functools.cached_property
    def _there(self) -> frozenset[str]:
        return frozenset(self.store.list(self.slice_.model))

    def _check_there(self, files: Iterable[File]) -> None:
        if not {file.path for file in files} <= self._there:
            raise NotServedError(
                400, "version_gone", "files of that version are deleted: load the table anew"
            )


def _is_theirs(version: Version, verdict: Verdict) -> bool:
    return set(version.receipt["workspace_ids"]) <= set(verdict.consumer.workspace_ids)


def _is_shown(file: File, oldest: date) -> bool:
    return not file.day or file.day >= oldest.isoformat()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
