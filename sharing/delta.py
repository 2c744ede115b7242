"""Delta tables at a destination: one commit replaces the files of the days that changed.

Belongs here: schema, live files, commits. Does not belong here: how files are written
(staging.py), when they are deleted (versions.py), how a table is served (server/tables.py).

The files are those that DuckDB wrote and the gates looked at; a commit names them. Times are with
zone and no other feature is asked for, so any reader of protocol 1 can open a table, and one that
reads change feeds finds whole days deleted and inserted. Statistics hold numbers of rows only:
the log keeps what it is told for longer than a retention boundary may allow.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from deltalake import CommitProperties, DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.schema import ArrayType, PrimitiveType
from deltalake.transaction import AddAction, RemoveAction, Transaction

from sharing.compiler import Slice
from sharing.contract import TYPES
from sharing.stores import DestinationError, Store
from sharing.versions import DELTA_LOG, File

CHANGE_FEED = {"delta.enableChangeDataFeed": "true"}


@dataclass(frozen=True)
class Logged:
    """What the log holds of a commit: files that came and went, and the share's version it is of.

    Files that went have no number of rows, none has a hash.
    """

    added: Sequence[File]
    removed: Sequence[File]
    number: int


@dataclass(frozen=True)
class Commit:
    """What one commit says: files that come, files that go, and of which receipt."""

    added: Sequence[File]
    removed: Sequence[File]
    number: int
    receipt_id: str
    batch: str


def schema_of(slice_: Slice) -> Schema:
    """The columns of a table as Delta says them."""
    return Schema([Field(column.name, _type(column.type)) for column in slice_.columns])


def _type(word: str) -> PrimitiveType | ArrayType:
    name = TYPES[word]
    if name.startswith("array<"):
        return ArrayType(PrimitiveType(name[6:-1]), contains_null=True)
    return PrimitiveType(name)


def open_table(store: Store, model: str, version: int | None = None) -> DeltaTable | None:
    """A table as it stands, or stood; None before its first commit. Raises DestinationError."""
    try:
        return DeltaTable(
            f"{store.uri}/{model}", version=version, storage_options=dict(store.options) or None
        )
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        raise _unusable(model, error) from None


def live_files(table: DeltaTable | None, slice_: Slice) -> dict[str, File]:
    """The files of a table's newest version by day; the beginning of their hash, as named."""
    if table is None or not _is_of(table, slice_):
        return {}
    found = table.get_add_actions(flatten=True).to_struct_array().to_pylist()
    return {
        str(row.get(f"partition.{slice_.day}") or ""): File(
            f"{slice_.model}/{row['path']}",
            str(row.get(f"partition.{slice_.day}") or ""),
            int(row["num_records"]),
            int(row["size_bytes"]),
            str(row["path"]).rsplit("-", 1)[-1].removesuffix(".parquet"),
        )
        for row in found
    }


def read_commit(store: Store, slice_: Slice, version: int) -> Logged | None:
    """One commit; None when the log no longer has it. Raises DestinationError.

    Read from the log itself: deltalake tells rows that changed and which files a version has, but
    not which files a commit took away.
    """
    content = store.read(f"{slice_.model}/{DELTA_LOG}/{version:020d}.json")
    if content is None:
        return None
    found: dict[str, list[Mapping[str, Any]]] = {"add": [], "remove": [], "commitInfo": []}
    try:
        for line in content.splitlines():
            for kind, action in json.loads(line).items():
                found.setdefault(kind, []).append(action)
        return Logged(
            [_logged(action, slice_) for action in found["add"]],
            [_logged(action, slice_) for action in found["remove"]],
            int(found["commitInfo"][0]["share_version"]),
        )
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise _unusable(slice_.model, error) from None


def _logged(action: Mapping[str, Any], slice_: Slice) -> File:
    day = str(action["partitionValues"][slice_.day] or "") if slice_.day else ""
    rows = int(json.loads(action["stats"])["numRecords"]) if action.get("stats") else 0
    path = f"{slice_.model}/{unquote(action['path'])}"
    return File(path, day, rows, int(action["size"]), "")


def commit(store: Store, slice_: Slice, change: Commit, now: datetime) -> int:
    """Commit files that are at the destination; returns the table's version.

    A table of other columns is begun anew in its place. Raises DestinationError, also when
    somebody else wrote to the table meanwhile.
    """
    try:
        table = open_table(store, slice_.model)
        if table is None or not _is_of(table, slice_):
            table = _create(store, slice_, change)
        if change.added or change.removed:
            milliseconds = int(now.timestamp() * 1000)
            table.create_write_transaction(
                [
                    *(_add(file, slice_, milliseconds) for file in change.added),
                    *(_remove(file, slice_, milliseconds) for file in change.removed),
                ],
                "append",
                schema_of(slice_),
                [slice_.day] if slice_.day else None,
                commit_properties=_properties(slice_, change),
            )
            table.update_incremental()
        return table.version()
    except (DeltaError, OSError) as error:
        raise _unusable(slice_.model, error) from None


def _create(store: Store, slice_: Slice, change: Commit) -> DeltaTable:
    return DeltaTable.create(
        f"{store.uri}/{slice_.model}",
        schema_of(slice_),
        mode="overwrite",
        partition_by=[slice_.day] if slice_.day else None,
        name=slice_.model,
        configuration=CHANGE_FEED,
        storage_options=dict(store.options) or None,
        commit_properties=CommitProperties(custom_metadata=_metadata(change)),
    )


def _is_of(table: DeltaTable, slice_: Slice) -> bool:
    return table.schema() == schema_of(slice_) and table.metadata().partition_columns == (
        [slice_.day] if slice_.day else []
    )


def _properties(slice_: Slice, change: Commit) -> CommitProperties:
    # of two commits for one version of the share, the second is a conflict
    transaction = Transaction(f"rollcall/{slice_.model}", change.number)
    return CommitProperties(
        custom_metadata=_metadata(change), app_transactions=[transaction], max_commit_retries=0
    )


def _metadata(change: Commit) -> dict[str, Any]:
    return {
        "receipt_id": change.receipt_id,
        "share_version": str(change.number),
        "batch": change.batch,
    }


def _partition(file: File, slice_: Slice) -> Mapping[str, str | None]:
    return {slice_.day: file.day or None} if slice_.day else {}


def _relative(file: File, slice_: Slice) -> str:
    return file.path.removeprefix(f"{slice_.model}/")


def _add(file: File, slice_: Slice, milliseconds: int) -> AddAction:
    statistics = json.dumps({"numRecords": file.row_count})
    return AddAction(
        path=_relative(file, slice_),
        size=file.byte_count,
        partition_values=_partition(file, slice_),
        modification_time=milliseconds,
        data_change=True,
        stats=statistics,
    )


def _remove(file: File, slice_: Slice, milliseconds: int) -> RemoveAction:
    return RemoveAction(
        _relative(file, slice_),
        data_change=True,
        deletion_timestamp=milliseconds,
        size=file.byte_count,
        partition_values=dict(_partition(file, slice_)),
    )


def _unusable(model: str, error: Exception) -> DestinationError:
    return DestinationError(
        "delta_refused", f"the Delta table {model} can't be read or written: {type(error).__name__}"
    )
