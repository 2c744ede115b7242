"""Streams of events at a destination: files that only ever come, each event in one of them.

Belongs here: which events are new, the files of a batch and their names. Does not belong here:
what a line says (shapes.py), the order of steps (exporting.py), versions (versions.py).

    stream=platform_events/env=production/dt=2025-01-31/hour=09/part-000003-0001.json.gz
    _manifests/000003.json

An event is known by its key. What the files of a day hold is read back from the destination when
the day changed, so nothing but the destination decides what left: an event that comes late goes
into a later batch under its own day and hour, one that was merged or corrected afterwards does not
go again. A file counts when a manifest names it; those of a batch that died are removed before its
number is used again. Files go with their day, when that passes the shortest retention boundary of
the consumer's workspaces.
"""

import gzip
import hashlib
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date
from pathlib import Path
from typing import Any

import orjson

from sharing import gates, ocsf
from sharing.changes import Change, Target, known_prints, listed_files
from sharing.compiler import Slice
from sharing.plans import STREAMED
from sharing.shapes import SHAPES
from sharing.staging import Reader, Staged
from sharing.stores import DestinationError, Store
from sharing.versions import STREAM_PREFIX, File

PART_ROWS = 50_000
PLACES_TOLD = 5
STREAMS = {
    "audit": "audit_events",
    "platform": "platform_events",
    "session": "session_events",
}


def find_change(target: Target, reader: Reader, slice_: Slice, found: gates.Findings) -> Change:
    """Write the events that did not leave yet to local disk, and look into them."""
    live = listed_files(target.current, slice_.model)
    prints = {str(day or ""): one for day, one in reader.prints(slice_).items()}
    known = known_prints(target, slice_.model)
    days = {day: known.get(day) != one for day, one in sorted(prints.items())}
    written = _write_new(target, reader, slice_, days, found)
    oldest = str(max(target.compiled.oldest_days.values()))
    removed = [file for file in live if file.day < oldest]
    kept = [file for file in live if file.day >= oldest]
    return Change(slice_, written, removed, [*kept, *(file for _, file in written)], prints)


def _write_new(
    target: Target,
    reader: Reader,
    slice_: Slice,
    days: Mapping[str, bool],
    found: gates.Findings,
) -> list[tuple[Staged, File]]:
    shape = SHAPES[target.share.format]
    changed = [day for day, is_changed in days.items() if is_changed]
    before = [f for f in listed_files(target.current, slice_.model) if f.day in set(changed)]
    # the format of a share may have been another one
    ways = [SHAPES[name].key for name in STREAMED]
    reader.read_sent(ways, _downloaded(target.store, before, reader.folder))
    reader.stage_new(slice_, [date.fromisoformat(day) for day in changed])
    faults: Counter[str] = Counter()
    written = list(_parts(target, reader, slice_, faults))
    lines = gates.Lines(
        slice_,
        shape,
        target.share.environment,
        [staged.path for staged, _ in written],
        sum(staged.row_count for staged, _ in written),
        reader.count_new(slice_, [date.fromisoformat(day) for day in {*days} - {*changed}]),
    )
    gates.examine_lines(reader, lines, found)
    found.failed += [
        gates.Finding("schema_invalid", f"{slice_.model}: {count} events, {place}")
        for place, count in faults.most_common(PLACES_TOLD)
    ]
    return written


def _parts(
    target: Target, reader: Reader, slice_: Slice, faults: Counter[str]
) -> Iterator[tuple[Staged, File]]:
    shape, day = SHAPES[target.share.format], slice_.day or ""

    def place(row: Mapping[str, Any]) -> tuple[str, date, int]:
        return STREAMS[row["category"]], row[day], row["occurred_at"].astimezone(UTC).hour

    total = 0
    for (stream, on, hour), rows in itertools.groupby(reader.new_rows(("category", day)), place):
        for number in itertools.count(1):
            lines = [shape.line(row) for row in itertools.islice(rows, PART_ROWS)]
            if not lines:
                break
            if target.share.format == "ocsf":
                for line in lines:
                    ocsf.faults(line, faults)
            total += 1
            content = b"".join(
                orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines
            )
            # the same rows are the same bytes: no time, no name in the header
            packed = gzip.compress(content, compresslevel=6, mtime=0)
            path = reader.folder / f"part_{total}.json.gz"
            path.write_bytes(packed)
            staged = Staged(
                slice_.model, on, path, len(lines), len(packed), hashlib.sha256(packed).hexdigest()
            )
            folder = (
                f"{STREAM_PREFIX}{stream}/env={target.share.environment}/dt={on}/hour={hour:02d}"
            )
            name = f"part-{target.number:06d}-{number:04d}.json.gz"
            yield (
                staged,
                File(f"{folder}/{name}", str(on), len(lines), len(packed), staged.sha256),
            )


def _downloaded(store: Store, files: Collection[File], folder: Path) -> list[Path]:
    """Files of the destination on local disk. Raises DestinationError for one that is another."""
    paths = []
    for number, file in enumerate(files):
        content = store.read(file.path)
        if content is None or hashlib.sha256(content).hexdigest() != file.sha256:
            raise DestinationError(
                "destination_damaged",
                f"{file.path} is gone or not as it was written, so nobody knows what left: bring it"
                " back, or revoke the share and begin anew",
            )
        path = folder / f"before_{number}.json.gz"
        path.write_bytes(content)
        paths.append(path)
    return paths


def remove_leftovers(store: Store, number: int, written: Collection[File]) -> None:
    """Delete files of a batch that died before its manifest was there."""
    named = {file.path for file in written}
    mark = f"/part-{number:06d}-"
    store.delete(
        [
            path
            for path in store.list()
            if path.startswith(STREAM_PREFIX) and mark in path and path not in named
        ]
    )
