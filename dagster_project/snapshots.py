"""Published versions: names, the copy, the switch of the pointer, what is kept.

Belongs here: file operations on published/<environment>/. Does not belong here: whether to
publish (builds.py), what is inside a file (contents.py), which parts are written (parts.py).

A reader opens `latest.duckdb`, a symlink. The parts of a version are flushed before the version
lists them; a version is written under a temporary name, flushed, renamed, and only then the
symlink is replaced by one rename; what no kept version needs is deleted last. So a reader sees the
old version or the new one, whole, at any moment, also when the writer is killed between two lines.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

# Old versions live on for readers that resolved the pointer just before a switch,
VERSIONS_KEPT = 3
# and the last of a day to answer what was published then.
DAYS_KEPT = 30

# Begins with a letter and holds no hyphen: DuckDB takes the catalog's name from the file's.
_NAME = re.compile(r"v(\d{6,})_b(\d+)_([0-9a-f]{12})\.duckdb")


@dataclass(frozen=True, order=True)
class Version:
    """One published file: a running number, the newest batch in it, the digest of its inputs."""

    number: int
    batch: int
    digest: str

    @property
    def file_name(self) -> str:
        """`v000012_b57_0123456789ab.duckdb`."""
        return f"v{self.number:06d}_b{self.batch}_{self.digest}.duckdb"


def parse_version(file_name: str) -> Version | None:
    """The version a file name stands for, or None for any other file."""
    match = _NAME.fullmatch(file_name)
    return Version(int(match[1]), int(match[2]), match[3]) if match else None


def versions(folder: Path) -> list[Version]:
    """All versions in a published folder, oldest first."""
    found = (parse_version(path.name) for path in folder.glob("v*.duckdb"))
    return sorted(version for version in found if version)


def current_version(folder: Path) -> Version | None:
    """The version `latest.duckdb` points to, or None."""
    latest = folder / "latest.duckdb"
    return parse_version(latest.resolve().name) if latest.exists() else None


def next_version(existing: Iterable[Version], batch: int, digest: str) -> Version:
    """The version to write; its number is above every number in the folder."""
    return Version(max((version.number for version in existing), default=0) + 1, batch, digest)


def superfluous(published: Mapping[Version, datetime], current: Version) -> list[Version]:
    """What to delete, given when each version was published (UTC); oldest first.

    Kept are, up to the current one, the newest VERSIONS_KEPT, and the last of each day of the
    newest DAYS_KEPT days that have one. A number above the current one belongs to a writer that
    was killed before its switch.
    """
    numbered = sorted(version for version in published if version <= current)
    last_of_day = {published[version].date(): version for version in numbered}
    days = sorted(last_of_day)[-DAYS_KEPT:]
    kept = {*numbered[-VERSIONS_KEPT:], *(last_of_day[day] for day in days)}
    return [version for version in sorted(published) if version not in kept]


def published_by(
    published: Mapping[Version, datetime], day: date, current: Version
) -> Version | None:
    """The newest version published at or before the end of a UTC day, or None."""
    end = datetime.combine(day, datetime.min.time()) + timedelta(days=1)
    known = (v for v, moment in published.items() if v <= current and moment < end)
    return max(known, default=None)


def write_candidate(source: Path, folder: Path, version: Version) -> Path:
    """Copy a closed database file to a temporary name in the published folder, flushed."""
    candidate = folder / f".{version.file_name}.tmp"
    copy_bytes(source, candidate)
    return candidate


def switch(candidate: Path, folder: Path, version: Version) -> Path:
    """Give the flushed candidate its name and point `latest.duckdb` to it."""
    final = folder / version.file_name
    candidate.replace(final)
    flush(folder)
    pointer = folder / ".latest.tmp"
    pointer.unlink(missing_ok=True)
    pointer.symlink_to(version.file_name)
    pointer.replace(folder / "latest.duckdb")
    flush(folder)
    return final


def delete(folder: Path, old: Iterable[Version]) -> None:
    """Delete version files; not their parts."""
    for version in old:
        (folder / version.file_name).unlink(missing_ok=True)


def delete_parts_but(folder: Path, listed: Iterable[Path]) -> list[Path]:
    """Delete every file among the parts that is not listed, by name and mart; returns them."""
    names = {(path.parent.name, path.name) for path in listed}
    deleted = []
    for path in sorted(folder.glob("parts/*/*")):
        if (path.parent.name, path.name) not in names:
            path.unlink()
            deleted.append(path)
    for mart in folder.glob("parts/*"):
        if not any(mart.iterdir()):
            mart.rmdir()
    return deleted


def copy_bytes(source: Path, target: Path) -> None:
    """Copy a file and flush it; shares blocks where the file system can.

    No connection of this process may have `source` open: closing a second handle on it would
    drop DuckDB's lock.
    """
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), 1 << 30):
                pass
        except OSError:
            # another file system, or one that can't: through memory, from the beginning
            reader.seek(0)
            writer.seek(0)
            writer.truncate()
            shutil.copyfileobj(reader, writer, 1 << 24)
        writer.flush()
        os.fsync(writer.fileno())


def flush(path: Path) -> None:
    """Make a file's bytes, or the renames in a folder, last through a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
