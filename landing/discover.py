"""Which files lie in the landing folder, and what their paths say.

Belongs here: names, sizes, times, days named in a path. Does not: contents.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from landing.contract import TABLES
from landing.reasons import LandingError, Reason
from landing.secrets import load_rules

EXTENSIONS = {
    ".jsonl": ("jsonl", ""),
    ".ndjson": ("jsonl", ""),
    ".csv": ("csv", ""),
    ".jsonl.gz": ("jsonl", "gz"),
    ".ndjson.gz": ("jsonl", "gz"),
    ".csv.gz": ("csv", "gz"),
    ".jsonl.zst": ("jsonl", "zst"),
    ".ndjson.zst": ("jsonl", "zst"),
    ".csv.zst": ("csv", "zst"),
    ".parquet": ("parquet", ""),
}

_DAY = re.compile(r"(?<!\d)(\d{4})(?:-(\d\d)-(\d\d)|(\d\d)(\d\d))(?![\d])")
_MONTH = re.compile(r"(?<![\d-])(\d{4})-(\d\d)(?!\d|-\d)")


class Found(NamedTuple):
    """A file of the landing folder as it is now; `problem` says why it cannot be read at all."""

    path: str
    """Relative to the landing folder, with `/`; without the secrets in it."""
    absolute: Path
    table_name: str | None
    format: str | None
    compression: str
    bytes: int | None
    mtime_ns: int | None
    problem: Reason | None


def extension(name: str) -> str | None:
    """Return the known extension of a file name, or None."""
    return next((end for end in EXTENSIONS if name.endswith(end) and name != end), None)


def _is_unfinished(name: str) -> bool:
    return name.startswith((".", "_")) or name.endswith((".tmp", ".part"))


def _printable(path: str) -> str:
    """Return the path as text that can be stored, also when the file name is not UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _redacted(path: str) -> str:
    """Return the path without secrets; the very same text where there are none.

    Names are made from URLs, where a parameter may be escaped.
    """
    rules = load_rules()
    redacted = rules.redact_value(path, Counter())
    if redacted == path and "%" in path:
        plain = unquote(path)
        redacted = rules.redact_value(plain, Counter())
        return path if redacted == plain else redacted
    return redacted


def _look(root: Path, relative: Path) -> Found:
    absolute = root / relative
    table_name = relative.parts[0] if len(relative.parts) > 1 else None
    if table_name not in TABLES:
        table_name = None
    known = extension(relative.name)
    file_format, compression = EXTENSIONS[known] if known else (None, "")
    problem: Reason | None = None
    size = mtime_ns = None
    try:
        if absolute.is_symlink() and not absolute.resolve().is_relative_to(root):
            problem = Reason.FILE_LINK
            status = absolute.lstat()
        else:
            status = absolute.stat()
        size, mtime_ns = status.st_size, status.st_mtime_ns
        if problem is None and stat.S_ISDIR(status.st_mode):
            problem = Reason.FILE_LINK
        elif problem is None and not stat.S_ISREG(status.st_mode):
            problem = Reason.FILE_NOT_REGULAR
    except OSError:
        problem = Reason.FILE_UNREADABLE
    if problem is None and table_name is None:
        problem = Reason.FILE_UNKNOWN_TABLE
    if problem is None and file_format is None:
        problem = Reason.FILE_UNKNOWN_FORMAT
    path = _printable(relative.as_posix())
    redacted = _redacted(path)
    if redacted != path:
        # every row would carry it as its file; what else is wrong can be told once it is renamed
        problem = Reason.FILE_SECRET_IN_NAME
    return Found(
        path=redacted,
        absolute=absolute,
        table_name=table_name,
        format=file_format,
        compression=compression,
        bytes=size,
        mtime_ns=mtime_ns,
        problem=problem,
    )


def discover(folder: Path) -> Iterator[Found]:
    """Iterate over the files at rest below `folder`, in the order of their paths.

    Names that begin with `.` or `_` or end in `.tmp` or `.part` are left out, also as folders.
    Links to folders are not followed. Paths that are the same without their secrets are numbered,
    or one would take the other's place in the ledger. Raises LandingError if `folder` is no folder.
    """
    if not folder.is_dir():
        raise LandingError(
            f"The landing folder {folder} does not exist. "
            "Create it, or set ROLLCALL_LANDING to the folder that holds the extracts."
        )
    root = folder.resolve()
    alike: Counter[str] = Counter()
    for parent, folders, names in os.walk(root):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        folders[:] = sorted(
            name for name in folders if name not in links and not _is_unfinished(name)
        )
        for name in sorted([*names, *links]):
            if _is_unfinished(name):
                continue
            found = _look(root, Path(parent, name).relative_to(root))
            if found.problem is Reason.FILE_SECRET_IN_NAME:
                alike[found.path] += 1
                if (number := alike[found.path]) > 1:
                    found = found._replace(path=f"{found.path} ({number})")
            yield found


def _day(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def days_named(path: str) -> tuple[date, date] | None:
    """First and last day that a path names, or None.

    `2025-01-31` and `20250131` name a day, `2025-01` its month; days win over months, and two
    days name all from the first to the last. A date that does not exist names nothing.
    """
    found = [_day(m[1], m[2] or m[4], m[3] or m[5]) for m in _DAY.finditer(path)]
    days = [day for day in found if day is not None]
    if not days:
        for match in _MONTH.finditer(path):
            first = _day(match[1], match[2], "1")
            if first is not None:
                following = (first + timedelta(days=31)).replace(day=1)
                days += [first, following - timedelta(days=1)]
    return (min(days), max(days)) if days else None
