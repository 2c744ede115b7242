"""How consumers read what was shared with them: by the format's own means, with their own tools.

Belongs here: what is at a destination as a consumer finds it. Does not belong here: what should be
there (owed.py). Nothing of sharing/ is used.

DuckDB wrote the files, so each is read by another engine too: Parquet by PyArrow, and by Polars
where `make bench` installed it; Delta by delta-rs with DataFusion, and by PyArrow from the log as
the protocol says.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import site
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
import duckdb

from tests.conftest import ROOT
from tests.soak.owed import plain

# behind the project's packages, as in tests/served.py
for _place in (".venv-clients", ".venv-bench"):
    site.addsitedir(str(ROOT / _place))

Rows = Counter[tuple[Any, ...]]
Read = tuple[list[str], Rows]


@dataclass(frozen=True)
class Bucket:
    """An S3 bucket as its owner opens it."""

    endpoint: str
    name: str
    region: str = "eu-west-1"

    def client(self) -> Any:
        """A client of the bucket."""
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name=self.region, **keys)

    def options(self) -> dict[str, str]:
        """What delta-rs needs to open it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_REGION": self.region,
            "AWS_ALLOW_HTTP": "true",
        }

    def fetch(self, prefix: str, folder: Path) -> Path:
        """All that is under a prefix, on local disk."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        for item in (item for page in pages for item in page.get("Contents", [])):
            path = folder / item["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            body = client.get_object(Bucket=self.name, Key=item["Key"])["Body"]
            path.write_bytes(body.read())
        return folder / prefix


@dataclass
class Delivery:
    """What the newest manifest names, checked against the bytes that are there."""

    folder: Path
    version: int = 0
    tables: dict[str, list[Path]] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0
    rows: int = 0
    content: str = ""
    faults: list[str] = field(default_factory=list)


def deliver(folder: Path) -> Delivery:
    """Read the newest manifest and look at each file that it names."""
    manifests = sorted((folder / "_manifests").glob("*.json"))
    found = Delivery(folder)
    if not manifests:
        found.faults.append("there is no manifest")
        return found
    manifest = json.loads(manifests[-1].read_text())
    found.version = manifest["number"]
    lines, damaged, named = [], 0, set()
    for model, table in manifest["tables"].items():
        found.tables[model] = []
        for file in table["files"]:
            path = folder / file["path"]
            content = path.read_bytes() if path.is_file() else b""
            sha256 = hashlib.sha256(content).hexdigest()
            damaged += (len(content), sha256) != (file["byte_count"], file["sha256"])
            lines.append(f"{model}\t{file['day']}\t{file['row_count']}\t{sha256}")
            named.add(path)
            found.tables[model].append(path)
            found.files += 1
            found.bytes += len(content)
            found.rows += file["row_count"]
    if damaged:
        found.faults.append(f"{damaged} files are not as their manifest says")
    found.content = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    data = {path for path in folder.rglob("*.*") if path.suffix in (".parquet", ".gz")}
    if left := len(data - named):
        found.faults.append(f"{left} files that no manifest names")
    return found


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, and its hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# Parquet


def parquet(paths: list[Path]) -> dict[str, Read]:
    """The rows of Parquet files, by reader."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    names = [str(path) for path in paths]
    found = {
        "duckdb": _by_duckdb(names),
        # one by one: PyArrow takes a folder such as day=… for a column
        "pyarrow": _of_arrow(pa.concat_tables(pq.ParquetFile(name).read() for name in names)),
    }
    try:
        import polars  # noqa: PLC0415
    except ModuleNotFoundError:
        return found
    frame = polars.read_parquet(names, hive_partitioning=False)
    found["polars"] = frame.columns, _counted(frame.iter_rows())
    return found


def _by_duckdb(names: list[str]) -> Read:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        result = connection.execute(
            "select * from read_parquet(?, hive_partitioning = false)", [names]
        )
        columns = [column[0] for column in result.description or ()]
        return columns, _counted(result.fetchall())


def _of_arrow(table: Any) -> Read:
    lists = [column.to_pylist() for column in table.columns]
    return list(table.column_names), _counted(zip(*lists, strict=True))


def _counted(rows: Iterable[Iterable[Any]]) -> Rows:
    return Counter(tuple(map(plain, row)) for row in rows)


# Delta


def delta(folder: Path, uri: str, options: Mapping[str, str] | None) -> dict[str, Read]:
    """The rows of a Delta table, by reader; `folder` holds what is at `uri`."""
    import pyarrow as pa  # noqa: PLC0415
    from deltalake import DeltaTable, QueryBuilder  # noqa: PLC0415

    table = DeltaTable(uri, storage_options=dict(options) if options else None)
    found = QueryBuilder().register("shared", table).execute("select * from shared").read_all()
    return {"delta-rs": _of_arrow(pa.table(found)), "log": _by_log(folder)}


def _by_log(folder: Path) -> Read:
    """A Delta table by its protocol: files that were added and not removed, days from the log."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    live: dict[str, Mapping[str, Any]] = {}
    columns: list[str] = []
    for commit in sorted((folder / "_delta_log").glob("*.json")):
        for action in map(json.loads, commit.read_text().splitlines()):
            if "metaData" in action:
                schema = json.loads(action["metaData"]["schemaString"])
                columns = [column["name"] for column in schema["fields"]]
            if "add" in action:
                live[action["add"]["path"]] = action["add"]["partitionValues"]
            if "remove" in action:
                live.pop(action["remove"]["path"], None)
    rows: Rows = Counter()
    for path, values in live.items():
        table = pq.ParquetFile(folder / unquote(path)).read()
        days = {name: date.fromisoformat(value) for name, value in values.items()}
        lists = [
            [days[name]] * table.num_rows if name in days else table.column(name).to_pylist()
            for name in columns
        ]
        rows += _counted(zip(*lists, strict=True))
    return columns, rows


# the Delta Sharing protocol


def shared(profile: Path, share: str, schema: str) -> Iterator[tuple[str, Read]]:
    """Every table that a share's server lists, as the official client loads it."""
    import delta_sharing  # noqa: PLC0415

    for table in delta_sharing.SharingClient(str(profile)).list_all_tables():
        if (table.share, table.schema) == (share, schema):
            frame = delta_sharing.load_as_pandas(f"{profile}#{share}.{schema}.{table.name}")
            rows = _counted(frame.itertuples(index=False, name=None))
            yield table.name, (list(frame.columns), rows)


# lines


def lines(delivery: Delivery) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every line of a stream beside the folder of its file."""
    for paths in delivery.tables.values():
        for path in paths:
            folder = str(path.parent.relative_to(delivery.folder))
            for line in gzip.decompress(path.read_bytes()).splitlines():
                yield folder, json.loads(line)
