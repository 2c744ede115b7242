"""What changed for a consumer since the newest version: days compared, files written, named.

Belongs here: which days of a table are written anew, and what a table holds afterwards. Does not
belong here: what a gate says of it (gates.py), the order of steps (exporting.py).

A day is written to local disk when its rows are not known to be those of the newest version, and
leaves when its bytes are not. So a full rebuild of the warehouse costs reading, and no consumer
sees a new version for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from sharing import delta, gates
from sharing.compiler import Compiled, Slice, describe
from sharing.definitions import Share
from sharing.pointer import Pointer
from sharing.staging import Print, Reader, Staged
from sharing.stores import Store
from sharing.versions import File, Version

SHA_IN_NAME = 16


@dataclass(frozen=True)
class Target:
    """What is to be brought in step: version `number` of a share, after `current`.

    `pointer`: what local disk knows of the version before, as far as it is of the same settings.
    """

    share: Share
    compiled: Compiled
    store: Store
    current: Version | None
    number: int
    pointer: Pointer | None

    @property
    def is_redefined(self) -> bool:
        """Whether the share, its keys or its columns are others than those of the version."""
        return self.current is not None and self.current.digest != self.compiled.digest


@dataclass(frozen=True)
class Change:
    """What happens to one table: files to write, files that go, the files it has afterwards."""

    slice_: Slice
    written: Sequence[tuple[Staged, File]]
    removed: Sequence[File]
    files: Sequence[File]
    prints: Mapping[str, Print]


def find_change(target: Target, reader: Reader, slice_: Slice, found: gates.Findings) -> Change:
    """Write the days of a table that changed to local disk, and look into them."""
    live = live_files(target, slice_)
    known = known_prints(target, slice_.model)
    # where all goes the rows are read once: their fingerprints are taken of the files
    prints = _by_day(reader.prints(slice_)) if known else {}
    # a file that no manifest lists is of an attempt that died: who knows what is in it
    listed = {file.path for file in listed_files(target.current, slice_.model)}
    changed = [
        day
        for day, one in prints.items()
        if day not in live or live[day].path not in listed or known.get(day) != one
    ]
    days = {date.fromisoformat(day) if day else None: prints[day].rows for day in changed}
    if not known:
        days = reader.days(slice_)
    staged = list(reader.stage(slice_, days, with_day=target.share.format == "parquet"))
    standing = sum(live[day].row_count for day in prints if day not in changed)
    written = gates.Written(slice_, target.share.environment, staged, standing)
    in_files = _by_day(gates.examine(reader, written, found))
    return _settled(target, slice_, live, staged, {**in_files, **prints})


def _by_day(prints: Mapping[date | None, Print]) -> dict[str, Print]:
    return {str(day or ""): one for day, one in prints.items()}


def _settled(
    target: Target,
    slice_: Slice,
    live: Mapping[str, File],
    staged: Sequence[Staged],
    prints: Mapping[str, Print],
) -> Change:
    written = [
        (file, _named(target, file, slice_))
        for file in staged
        if not _is_same(file, live.get(str(file.day or "")))
    ]
    new = {file.day: file for _, file in written}
    hashes = {str(file.day or ""): file.sha256 for file in staged}
    return Change(
        slice_,
        written,
        removed=[file for day, file in live.items() if day in new or day not in prints],
        files=[
            new.get(day) or replace(live[day], sha256=hashes.get(day, live[day].sha256))
            for day in sorted(prints)
        ],
        prints=prints,
    )


def live_files(target: Target, slice_: Slice) -> dict[str, File]:
    """The files that consumers see now, by day. Of Delta the table says: it may be a step ahead."""
    listed = {file.day: file for file in listed_files(target.current, slice_.model)}
    if target.share.format == "parquet":
        return listed if _has_columns_of(target.current, slice_) else {}
    found = delta.live_files(delta.open_table(target.store, slice_.model), slice_)
    return {
        day: listed[day] if day in listed and listed[day].path == file.path else file
        for day, file in found.items()
    }


def gone(current: Version | None, changes: Iterable[Change]) -> list[File]:
    """Files of a version that no change speaks of: of tables that left the share or were redone."""
    if current is None:
        return []
    spoken = {file.path for one in changes for file in (*one.files, *one.removed)}
    files = [file for table in current.tables.values() for file in table.files]
    return [file for file in files if file.path not in spoken]


def listed_files(current: Version | None, model: str) -> Sequence[File]:
    """The files that a version names of a table."""
    table = current.tables.get(model) if current else None
    return table.files if table else ()


def _has_columns_of(current: Version | None, slice_: Slice) -> bool:
    """By names and types: a description may change without a file being written anew."""
    table = current.tables.get(slice_.model) if current else None
    if table is None:
        return False
    standing, wanted = (
        [(column["name"], column["type"]) for column in columns]
        for columns in (table.columns, describe(slice_))
    )
    return standing == wanted


def known_prints(target: Target, model: str) -> Mapping[str, Print]:
    """The fingerprints of what is there, as far as the pointer is of that very version."""
    found, current = target.pointer, target.current
    if not found or not current or found.version != current.number:
        return {}
    return found.prints.get(model, {}) if found.digest == target.compiled.digest else {}


def _named(target: Target, staged: Staged, slice_: Slice) -> File:
    """The name that a file gets at the destination: of its version and content."""
    day = str(staged.day or "")
    name = f"v{target.number:06d}-{staged.sha256[:SHA_IN_NAME]}.parquet"
    folder = f"{slice_.day}={day}" if target.share.format == "delta" else day
    path = "/".join([slice_.model, *([folder] if day else []), name])
    return File(path, day, staged.row_count, staged.byte_count, staged.sha256)


def _is_same(staged: Staged, live: File | None) -> bool:
    """Whether a file holds the same bytes; of a Delta file its name tells."""
    return live is not None and (
        live.byte_count == staged.byte_count and staged.sha256.startswith(live.sha256[:SHA_IN_NAME])
    )
