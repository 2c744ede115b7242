"""One consumer a destination reads back exactly what it should, on demo and on real extracts.

The job builds a warehouse, shares.yml is written, and the job carries the shares out: tables to a
folder and to S3, streams, and events to three services. Then each consumer reads with tools of
their own (reading.py), and what they have is held against SQL written by hand (owed.py): tables as
multisets of whole rows, events once each and field by field. So are the receipts. The run after
that lands the audit events of exporting and reading; it and one more must bring nobody anything.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import yaml

from tests.conftest import ROOT, job_environment, run_job
from tests.receivers import TOKEN, Receiver, running
from tests.soak import owed, reading
from tests.soak.owed import Scope
from tests.soak.reading import Bucket, Delivery, Rows

REAL = Path(os.environ.get("ROLLCALL_REAL_EXTRACTS", ROOT.parent / "shared" / "data"))
DAYS = 20
# A boundary must not move between a run and what is held against it.
BEFORE_MIDNIGHT = timedelta(minutes=20)
GA4_TAKES = timedelta(hours=72)
FIRST_RECEIPT = "0" * 64


@dataclass(frozen=True)
class Spec:
    """A share: `tables` by data, none for events; `is_short`: of fewer days than the plan's."""

    name: str
    format: str
    kind: str
    capability: str
    tables: Mapping[str, Sequence[str]] = field(default_factory=dict)
    is_short: bool = False
    environment: str = "production"


SPECS = [
    Spec(
        "parquet_folder",
        "parquet",
        "folder",
        "export",
        {
            "demo": ["fct_auth_attempts", "fct_auth_daily", "fct_sessions", "dim_projects"],
            "rails": ["fct_sessions", "fct_active_user_days", "dim_projects"],
        },
    ),
    Spec(
        "parquet_s3",
        "parquet",
        "s3",
        "warehouse_share",
        {"demo": ["fct_events", "fct_failure_signals"], "rails": ["fct_events"]},
        is_short=True,
    ),
    Spec(
        "parquet_sandbox",
        "parquet",
        "folder",
        "export",
        {"demo": ["fct_events"], "rails": ["fct_events"]},
        is_short=True,
        environment="sandbox",
    ),
    Spec(
        "delta_folder",
        "delta",
        "folder",
        "warehouse_share",
        {
            "demo": ["fct_events", "fct_auth_daily", "dim_projects"],
            "rails": ["fct_events", "dim_projects"],
        },
    ),
    Spec(
        "delta_s3",
        "delta",
        "s3",
        "warehouse_share",
        {
            "demo": ["fct_failure_signals", "fct_sessions", "fct_active_user_days"],
            "rails": ["fct_sessions", "fct_active_user_days"],
        },
        is_short=True,
    ),
    Spec("ndjson_s3", "ndjson", "s3", "stream", is_short=True),
    Spec("ocsf_folder", "ocsf", "folder", "stream"),
    Spec("splunk", "hec", "http", "push"),
    Spec("heap", "heap", "http", "push", is_short=True),
    Spec("ga4", "ga4", "http", "push"),
]
SERVICES = ("hec", "heap", "ga4")
# what a format takes where no types are named
CATEGORIES = {
    **dict.fromkeys(("ndjson", "ocsf", "hec"), ("audit", "platform")),
    **dict.fromkeys(("heap", "ga4"), ("session",)),
}


def soak(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Share demo extracts of `count` events, and real ones where they are."""
    if not (ROOT / ".venv-clients").is_dir():
        return {"broken": ["there is no .venv-clients, whose readers this needs: see make soak"]}
    found: dict[str, Any] = {}
    broken: list[str] = []
    with simple_storage() as endpoint:
        for name in ("demo", "rails"):
            landing = folder / name / "landing"
            if not landing.exists() and not (
                simulated(landing, count, seed) if name == "demo" else moved(REAL / name, landing)
            ):
                found[name] = "absent"
                continue
            print(f"{name}: extracts", file=sys.stderr, flush=True)
            with ExitStack() as stack:
                at = Home(name, folder / name, landing, Bucket(endpoint, f"acme-{name}"), stack)
                found[name] = at.soak()
                broken += [f"{name}, {fault}" for fault in at.broken]
            print(f"{name}: {len(at.broken)} faults", file=sys.stderr, flush=True)
    return {**found, "broken": broken}


# extracts


def simulated(landing: Path, count: int, seed: int) -> bool:
    """Demo extracts up to yesterday, so that some are young enough for every service."""
    command = [sys.executable, "-m", "simulator", "--out", str(landing), "--quiet"]
    size = ["--events", str(count), "--days", str(DAYS), "--seed", str(seed)]
    until = ["--until", f"{datetime.now(UTC).date() - timedelta(days=1)}"]
    subprocess.run([*command, *size, *until], cwd=ROOT, check=True, capture_output=True)
    return True


def moved(source: Path, landing: Path) -> bool:
    """Real extracts with every time moved by one number of days; False where there are none.

    The newest event is of yesterday then. As they are, nearly all of them lie beyond the retention
    of every plan, and all beyond the 72 hours that Google takes: nothing would leave, and nothing
    be shown. Whole days keep hours, order and distances. A time that is none stays as it is. Files
    are put together anew, since a month in a name says what a file covers. The plan of rails is
    enterprise already, with every capability.
    """
    if not source.is_dir():
        return False
    files = {
        path.relative_to(source): [
            json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()
        ]
        for path in sorted(source.rglob("*.jsonl.gz"))
    }
    newest = max(
        moment
        for path, records in files.items()
        if path.parts[0].endswith("_events")
        for moment in (moment_of(record["occurred_at"]) for record in records)
        if moment
    )
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    by = timedelta(days=(yesterday - newest.astimezone(UTC).date()).days)
    lines: dict[Path, list[str]] = {}
    for path, records in files.items():
        for record in records:
            for name, value in record.items():
                if name.endswith("_at") and (moment := moment_of(value)):
                    record[name] = (moment + by).isoformat()
            is_of_event = path.parts[0].endswith("_events")
            month = f"{record['received_at'][:7]}.jsonl.gz" if is_of_event else path.name
            lines.setdefault(path.with_name(month), []).append(json.dumps(record))
    for path, some in lines.items():
        (landing / path).parent.mkdir(parents=True, exist_ok=True)
        (landing / path).write_bytes(gzip.compress("\n".join([*some, ""]).encode(), mtime=0))
    return True


def moment_of(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


# places


@contextmanager
def simple_storage() -> Iterator[str]:
    """A server that speaks S3's protocol, in a process of its own as in tests/test_shares_on_s3."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with served(command, port):
        yield f"http://127.0.0.1:{port}"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def served(command: list[str], port: int, env: Mapping[str, str] | None = None) -> Iterator[None]:
    """A program that listens on a port."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=quiet, stderr=quiet)
    try:
        for _ in range(1_200):
            if process.poll() is not None:
                raise RuntimeError(f"{command[2]} ended with {process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise TimeoutError(f"{command[2]} did not start")
        yield
    finally:
        process.terminate()
        process.wait()


class Home:
    """A warehouse, its shares, and the consumers at their ends."""

    def __init__(
        self, data: str, folder: Path, landing: Path, bucket: Bucket, stack: ExitStack
    ) -> None:
        self.data, self.folder, self.landing, self.bucket = data, folder, landing, bucket
        self.home, self.out = folder / "home", folder / "out"
        self.receivers = {
            form: stack.enter_context(running(Receiver(acknowledges=form == "hec")))
            for form in SERVICES
        }
        self.types = ["session.activity"] if data == "rails" else []
        self.short = 12 if data == "demo" else 300
        self.broken: list[str] = []
        self.figures: dict[str, dict[str, Any]] = {spec.name: {} for spec in SPECS}
        keys = {"access_key_id": "AKIA_acme", "secret_access_key": "s3cret-of-acme"}
        self.env = {
            "ACME_HASH_KEY": owed.HASH_KEY,
            "ACME_S3": json.dumps(keys),
            **{f"ACME_{form.upper()}": TOKEN for form in SERVICES},
        }
        self.workspaces: list[str] = []
        self.read: dict[str, Any] = {}
        # when the services were sent to: from, to
        self.sent = (datetime.max, datetime.min)

    def soak(self) -> dict[str, Any]:
        """Build, share, read, and see that two more runs change nothing."""
        if not (self.home / "published").exists():
            self.run("build")
        self.workspaces = self.choose()
        self.bucket.client().create_bucket(
            Bucket=self.bucket.name,
            CreateBucketConfiguration={"LocationConstraint": self.bucket.region},
        )
        self.write_shares()
        now = datetime.now(UTC)
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        if midnight - now < BEFORE_MIDNIGHT:
            print(f"{self.data}: waiting for midnight, UTC", file=sys.stderr, flush=True)
            time.sleep((midnight - now).total_seconds() + 5)
        began = datetime.now(UTC).replace(tzinfo=None)
        self.run("share")
        self.sent = began, datetime.now(UTC).replace(tzinfo=None)
        self.read_all()
        self.compare("the first run")
        first = self.receipts()
        self.look_at_receipts(first)
        self.read_from_server()
        standing = self.state()
        self.run("land what was exported")
        self.expect_same("the second run", standing)
        self.compare("the second run")
        self.look_at_audit(first)
        second = self.receipts()
        self.look_at_empty(first, second)
        said = self.run("nothing new")
        self.expect_same("the third run", standing)
        if "nothing new in" not in said or len(self.receipts()) != len(second):
            self.broken.append("the third run found something to do")
        return self.figures

    def run(self, what: str) -> str:
        """The job, as a user runs it; what it said."""
        done = run_job(self.home, self.landing, timeout=3_600, **self.env)
        if done.returncode:
            self.broken.append(f"{what}: exit {done.returncode}: {done.stdout[-900:]}")
        print(f"{self.data}: {what}", file=sys.stderr, flush=True)
        return done.stdout

    # who gets what

    def choose(self) -> list[str]:
        """The two busiest workspaces whose plan has every capability, so that some stay out."""
        with duckdb.connect(str(self.snapshot("production")), read_only=True) as connection:
            rows = connection.execute(
                "select workspace_id from production.fct_events join production.dim_workspaces"
                " using (workspace_id) where plan_id = 'enterprise'"
                " group by all order by count(*) desc, workspace_id limit 2"
            ).fetchall()
        return [workspace for (workspace,) in rows]

    def snapshot(self, environment: str) -> Path:
        """What is published."""
        return (self.home / "published" / environment / "latest.duckdb").resolve()

    def write_shares(self) -> None:
        """shares.yml, one share a destination and format."""
        consumer = {"workspace_ids": self.workspaces, "contact": "data@acme.example"}
        shares = [self.share(spec) for spec in SPECS]
        content = {"consumers": {"acme": consumer}, "shares": shares}
        (self.home / "shares.yml").write_text(yaml.safe_dump(content, sort_keys=False))

    def share(self, spec: Spec) -> dict[str, Any]:
        """One share, as shares.yml says it."""
        if spec.tables:
            tables = [{"model": name, **owed.TABLES[name][0]} for name in spec.tables[self.data]]
        else:
            chosen = owed.VISITED if spec.format in ("heap", "ga4") else owed.STREAMED
            tables = [{"model": "fct_events", **chosen}]
            if self.types:
                tables[0]["types"] = list(self.types)
        return {
            "name": spec.name,
            "consumer": "acme",
            "environment": spec.environment,
            "tables": tables,
            "pii": dict(owed.PII),
            "hash_key": {"id": "k1", "secret": "env:ACME_HASH_KEY"},
            "format": spec.format,
            "destination": self.destination(spec),
            "capability": spec.capability,
            "retention": self.short if spec.is_short else "plan",
            "requested_by": "usr_ops_1",
        }

    def destination(self, spec: Spec) -> dict[str, Any]:
        """Where a share goes."""
        if spec.kind == "folder":
            return {"kind": "folder", "url": f"file://{self.out / spec.name}"}
        if spec.kind == "s3":
            return {
                "kind": "s3",
                "url": f"s3://{self.bucket.name}/from/{spec.name}",
                "secret": "env:ACME_S3",
                "region": self.bucket.region,
                "endpoint": self.bucket.endpoint,
            }
        url = self.receivers[spec.format].url
        named = {"hec": {"index": "main"}, "ga4": {"measurement_id": "G-ACME1234"}}
        secret = f"env:ACME_{spec.format.upper()}"
        return {"kind": "http", "url": url, "secret": secret, **named.get(spec.format, {})}

    def scope(self, spec: Spec) -> Scope:
        """What a consumer should have is read of it."""
        today = datetime.now(UTC).date()
        days = self.short if spec.is_short else None
        oldest = owed.oldest_day("enterprise", spec.environment, today, days)
        types = self.types if not spec.tables else ()
        snapshot = self.snapshot(spec.environment)
        return Scope(snapshot, spec.environment, self.workspaces, oldest, types)

    # what they have

    def read_all(self) -> None:
        """Each consumer reads what is at their end."""
        for spec in SPECS:
            told = self.figures[spec.name]
            if spec.kind == "http":
                took = self.taken(spec.format)
                carried = [r for r in self.receivers[spec.format].requests if "/ack" not in r[0]]
                sizes = [len(body) for _, _, body in carried]
                told |= {"events": len(took), "requests": len(sizes), "bytes": sum(sizes)}
                self.read[spec.name] = took
                continue
            folder = self.out / spec.name
            if spec.kind == "s3":
                folder = self.bucket.fetch(f"from/{spec.name}", self.folder / "fetched")
            delivery = reading.deliver(folder)
            self.broken += [f"{spec.name}: {fault}" for fault in delivery.faults]
            told |= {"files": delivery.files, "bytes": delivery.bytes}
            if spec.tables:
                tables = self.tables_of(spec, delivery)
                self.read[spec.name] = delivery, tables
                any_reader = [next(iter(readers.values())) for readers in tables.values()]
                told["rows"] = sum(rows.total() for _, rows in any_reader)
                told["readers"] = sorted({name for readers in tables.values() for name in readers})
            else:
                lines = list(reading.lines(delivery))
                self.read[spec.name] = delivery, [HEARD[spec.format](*one) for one in lines]
                told["events"] = len(lines)

    def tables_of(self, spec: Spec, delivery: Delivery) -> dict[str, dict[str, reading.Read]]:
        """The tables of a share, by reader."""
        if spec.format == "parquet":
            return {model: reading.parquet(paths) for model, paths in delivery.tables.items()}
        uri, options = str(self.out / spec.name), None
        if spec.kind == "s3":
            uri, options = f"s3://{self.bucket.name}/from/{spec.name}", self.bucket.options()
        return {
            model: reading.delta(delivery.folder / model, f"{uri}/{model}", options)
            for model in delivery.tables
        }

    def taken(self, form: str) -> list[tuple[str, dict[str, Any]]]:
        """The events that a service took, as often as it was told them."""
        receiver = self.receivers[form]
        if form != "heap":
            return [HEARD[form]("", one) for one in receiver.taken]
        # it keeps one of each key: what it was told counts
        bodies = [json.loads(body) for _, _, body in receiver.requests]
        return [HEARD[form]("", one) for body in bodies for one in body["events"]]

    def read_from_server(self) -> None:
        """The Delta shares once more, from the server, with the official client."""
        port = free_port()
        url = {"ROLLCALL_SHARING_URL": f"http://127.0.0.1:{port}"}
        env = job_environment(self.home, self.landing, **self.env, **url)
        command = [sys.executable, "-m", "dagster_project.server"]
        issued = subprocess.run(
            [*command, "issue", "acme"], cwd=ROOT, env=env, check=True, capture_output=True
        )
        profile = self.folder / "acme.share"
        profile.write_bytes(issued.stdout)
        with served([*command, "serve", "--port", str(port)], port, env):
            for spec in SPECS:
                if spec.format != "delta":
                    continue
                began = time.monotonic()
                found = dict(reading.shared(profile, spec.name, spec.environment))
                name = f"server_{spec.name.removeprefix('delta_')}"
                self.figures[name] = {
                    "rows": sum(rows.total() for _, rows in found.values()),
                    "tables": len(found),
                    "seconds": round(time.monotonic() - began, 1),
                }
                tables = {model: {"delta_sharing": read} for model, read in found.items()}
                self.broken += [f"{name}: {fault}" for fault in self.table_faults(spec, tables)]

    # whether it is what they should have

    def compare(self, when: str) -> None:
        """Hold what was read against what is published now."""
        for spec in SPECS:
            if spec.tables:
                _, tables = self.read[spec.name]
                faults = self.table_faults(spec, tables)
            elif spec.kind == "http":
                faults = self.event_faults(spec, self.read[spec.name])
            else:
                faults = self.event_faults(spec, self.read[spec.name][1])
            self.broken += [f"{spec.name} after {when}: {fault}" for fault in faults]

    def table_faults(
        self, spec: Spec, tables: Mapping[str, Mapping[str, tuple[list[str], Rows]]]
    ) -> Iterator[str]:
        """Where tables differ from what they should be."""
        if set(tables) != set(spec.tables[self.data]):
            yield "other tables than were named"
        scope = self.scope(spec)
        for model, readers in tables.items():
            names, right = owed.table(scope, model)
            if not right:
                yield f"{model}: no rows, which shows nothing"
            for reader, (columns, rows) in readers.items():
                if columns != names:
                    yield f"{model} by {reader}: other columns"
                for fault in owed.differences(rows, right):
                    yield f"{model} by {reader}: {fault}"

    def event_faults(self, spec: Spec, took: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[str]:
        """Where events differ from what they should be: their number, then each field."""
        right, _, edge = self.events(spec)
        if not right:
            yield "no events, which shows nothing"
        counts = Counter(key for key, _ in took if key not in edge)
        yield from owed.differences(counts, Counter(dict.fromkeys(right, 1)))
        wrong: Counter[str] = Counter()
        for key, event in took:
            expected = right.get(key, event)
            wrong.update(
                name
                for name in {*event, *expected}
                if event.get(name, ...) != expected.get(name, ...)
            )
        for name, count in sorted(wrong.items()):
            yield f"{name} differs in {count} events"
        if spec.format in ("ndjson", "hec") and not self.types:
            tables = {key.split("/")[1] for key, _ in took}
            if not {"audit_events", "platform_events"} <= tables:
                yield "not both of audit and platform events"

    def events(self, spec: Spec) -> tuple[dict[str, dict[str, Any]], Counter[str], set[str]]:
        """What of events should have left, what not by reason, and what may be either way.

        Either way: what became too old for Google while the run was on.
        """
        columns = owed.VISITS if spec.format in ("heap", "ga4") else owed.STREAM
        rows = owed.events(self.scope(spec), columns, CATEGORIES[spec.format])
        right, dead, edge = {}, Counter[str](), set()
        for key, row in rows.items():
            if spec.format in ("heap", "ga4"):
                if not (row["user_id"] or row["anonymous_id"]):
                    dead["no_identity"] += 1
                    continue
                if spec.format == "ga4" and row["occurred_at"] < self.sent[1] - GA4_TAKES:
                    if row["occurred_at"] >= self.sent[0] - GA4_TAKES:
                        edge.add(key)
                    else:
                        dead["too_old"] += 1
                    continue
            right[key] = RIGHT[spec.format](row)
        return right, dead, edge

    # receipts

    def receipts(self) -> list[dict[str, Any]]:
        """All of them, in the order of the chain, with the body's fields under `body`."""
        with duckdb.connect(str(self.home / "warehouse.duckdb"), read_only=True) as connection:
            found = connection.execute("from raw.share_receipts order by receipt_number")
            names = [column[0] for column in found.description or ()]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        return [{**row, "told": json.loads(row["body"])} for row in rows]

    def look_at_receipts(self, receipts: list[dict[str, Any]]) -> None:
        """A receipt a share, that tells what the consumer has; and the chain."""
        by_share = {one["share"]: one for one in receipts}
        if len(receipts) != len(SPECS) or set(by_share) != {spec.name for spec in SPECS}:
            self.broken.append(f"{len(receipts)} receipts of {len(SPECS)} shares")
        for spec in SPECS:
            if spec.name not in by_share:
                continue
            receipt, figures = by_share[spec.name], self.figures[spec.name]
            told = receipt["told"]
            facts = {
                "status": (receipt["status"], "committed"),
                "reason_code": (receipt["reason_code"], None),
                "consumer": (receipt["consumer"], "acme"),
                "workspace_ids": (told["workspace_ids"], sorted(self.workspaces)),
                "row_count": (receipt["row_count"], figures.get("rows", figures.get("events"))),
            }
            if spec.kind == "http":
                dead = self.events(spec)[1]
                # those at the edge of Google's 72 hours are in one of both
                left = dict(sorted(dead.items()))
                is_edgy = bool(self.events(spec)[2])
                facts["dead"] = (None, None) if is_edgy else (told["dead"], left)
                status = "sent" if spec.format == "ga4" else "acknowledged"
                facts["deliveries"] = told["deliveries"].get(status), figures["events"]
                figures["dead"] = told["dead"]
            else:
                delivery = self.read[spec.name][0]
                facts["byte_count"] = told["byte_count"], delivery.bytes
                facts["total_row_count"] = told["total_row_count"], delivery.rows
                facts["content_sha256"] = receipt["content_sha256"], delivery.content
                facts["version"] = told["version"], delivery.version
            for name, (one, other) in facts.items():
                if one != other:
                    self.broken.append(f"{spec.name}: {name} of its receipt differs")
            began, ended = told["requested_at"], told["committed_at"]
            took = datetime.fromisoformat(ended) - datetime.fromisoformat(began)
            figures["seconds"] = round(took.total_seconds(), 1)
        self.look_at_chain(receipts)

    def look_at_chain(self, receipts: list[dict[str, Any]]) -> None:
        """Whether each receipt holds the hash of the one before, by hand and by the command."""
        previous = FIRST_RECEIPT
        for number, one in enumerate(receipts, start=1):
            sha256 = hashlib.sha256(f"{previous}\n{one['body']}".encode()).hexdigest()
            named = (one["receipt_number"], one["previous_sha256"], one["receipt_sha256"])
            if named != (number, previous, sha256):
                self.broken.append(f"receipt {number} breaks the chain")
            previous = one["receipt_sha256"]
        command = [sys.executable, "-m", "dagster_project.receipts"]
        env = job_environment(self.home, self.landing)
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            self.broken.append(f"the chain of receipts: {done.stdout[-300:]}")

    def look_at_audit(self, receipts: list[dict[str, Any]]) -> None:
        """Every export is an audit event among the marts, and a row of fct_exports."""
        for environment in ("production", "sandbox"):
            names = {spec.name for spec in SPECS if spec.environment == environment}
            right = Counter(
                (one["receipt_id"], one["share"], one["row_count"], one["content_sha256"])
                for one in receipts
                if one["share"] in names
            )
            with duckdb.connect(str(self.snapshot(environment)), read_only=True) as connection:
                connection.execute(f"set schema = '{environment}'")
                exports = connection.execute(
                    "select receipt_id, share, row_count, content_sha256 from fct_exports"
                    " where status = 'committed' and consumer = 'acme'"
                ).fetchall()
                audited = connection.execute(
                    "select event_id from fct_events where source_table = 'audit_events'"
                    " and type = 'analytics.export' and user_id = 'usr_ops_1'"
                ).fetchall()
                reads = connection.execute(
                    "select count(*) from fct_events where type = 'share.read'"
                ).fetchall()
            for fault in owed.differences(Counter(exports), right):
                self.broken.append(f"fct_exports of {environment}: {fault}")
            ids = Counter((receipt_id,) for receipt_id, *_ in right)
            for fault in owed.differences(Counter(audited), ids):
                self.broken.append(f"audit events of {environment}: {fault}")
            if environment == "production" and not reads[0][0]:
                self.broken.append("no read at the server was audited")
        self.look_at_chain(self.receipts())
        # or leaving them out would be shown by nothing
        if not owed.own_events(self.scope(SPECS[0])):
            self.broken.append("no event of exporting is of the consumer's own workspaces")

    def look_at_empty(self, first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
        """The batch of audit events: one receipt more a share, of no rows and the same content."""
        before = {one["share"]: one for one in first}
        more = second[len(first) :]
        if sorted(one["share"] for one in more) != sorted(before):
            self.broken.append(f"{len(more)} receipts of a batch that brings nothing")
        for one in more:
            told, known = one["told"], before[one["share"]]["told"]
            is_empty = one["status"] == "committed" and one["row_count"] == 0
            is_file = one["told"]["format"] not in SERVICES
            is_same = (told["version"], told["content_sha256"], told["total_row_count"]) == (
                known["version"],
                known["content_sha256"],
                known["total_row_count"],
            )
            if not is_empty or (is_file and not is_same):
                self.broken.append(
                    f"{one['share']}: a batch that brings nothing has a receipt of more"
                )

    # whether anything changed

    def state(self) -> dict[str, Any]:
        """What is at each end: files with their hash or tag, requests that carried events."""
        found: dict[str, Any] = {}
        client = self.bucket.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket.name)
        tags = {
            item["Key"]: (item["ETag"], item["LastModified"])
            for page in pages
            for item in page.get("Contents", [])
        }
        for spec in SPECS:
            if spec.kind == "folder":
                found[spec.name] = reading.tree(self.out / spec.name)
            elif spec.kind == "s3":
                prefix = f"from/{spec.name}/"
                found[spec.name] = {key: tags[key] for key in tags if key.startswith(prefix)}
            else:
                receiver = self.receivers[spec.format]
                found[spec.name] = sum("/ack" not in path for path, _, _ in receiver.requests)
        return found

    def expect_same(self, when: str, standing: Mapping[str, Any]) -> None:
        """Nobody got anything since."""
        now = self.state()
        self.broken += [
            f"{name}: {when} brought something" for name in standing if now[name] != standing[name]
        ]


# What a consumer makes of an event, and what it should be: flat, by format. The name of a share is
# in it where the format says it.

STREAM_OF = {"audit": "audit_events", "platform": "platform_events", "session": "session_events"}
STATUS_OF = {"success": 1, "delivered": 1, "failure": 2, "failed": 2}
CLASS_OF = {"auth_events": 3002, "membership_events": 3006, "audit_events": 3004}


def flat(value: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Names of nested fields, with dots."""
    found: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, dict):
            found |= flat(item, f"{place}{name}.")
        else:
            found[f"{place}{name}"] = item
    return found


def ndjson_heard(folder: str, event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return owed.key_of(event), {**event, "folder": folder}


def ndjson_right(row: owed.Row) -> dict[str, Any]:
    at = row["occurred_at"]
    folder = f"stream={STREAM_OF[row['category']]}/env={row['environment']}/dt={at:%Y-%m-%d}"
    return {**owed.line(row), "folder": f"{folder}/hour={at:%H}"}


def ocsf_heard(folder: str, event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The columns again, each from the place that the class has for it."""
    told, actor = event["metadata"], event.get("actor", {})
    user = (event.get("user") or actor.get("user") or {}).get("uid")
    service = event.get("service") or event.get("api", {}).get("service") or {}
    found = {
        "workspace_id": told["tenant_uid"],
        "source_table": told["log_name"],
        "event_id": told["uid"],
        "type": told["event_code"],
        "time": event["time"],
        "logged_time": told.get("logged_time"),
        "trace_id": told.get("correlation_uid"),
        # classes that can't be without a user say so
        "user_id": None if user == "unknown" else user,
        "session_id": event.get("session", {}).get("uid"),
        "service_id": service.get("uid"),
        "status_id": event["status_id"],
        "class_uid": event["class_uid"],
    }
    known = {name: value for name, value in found.items() if value is not None}
    return owed.key_of(found), {**event["unmapped"], **known}


def ocsf_right(row: owed.Row) -> dict[str, Any]:
    class_ = CLASS_OF.get(row["source_table"], 6003)
    if row["type"] in ("signup", "password_reset"):
        class_ = 3001
    found = owed.known(row, "occurred_at", "received_at", "outcome")
    if class_ in (3002, 6003):
        found.setdefault("service_id", row["project_id"])
    return {
        **found,
        "time": owed.milliseconds(row["occurred_at"]),
        "logged_time": owed.milliseconds(row["received_at"]),
        "status_id": STATUS_OF.get(row["outcome"] or "", 0),
        "class_uid": class_,
    }


def hec_heard(_: str, event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    # which request it came with is the run's own affair
    marks = {k: v for k, v in event["fields"].items() if k not in ("batch", "sequence")}
    return owed.key_of(event["fields"]), flat({**event, "fields": marks})


def hec_right(row: owed.Row) -> dict[str, Any]:
    key = {name: row[name] for name in ("workspace_id", "source_table", "event_id")}
    return flat(
        {
            "time": owed.milliseconds(row["occurred_at"]) / 1000,
            "host": "rollcall",
            "source": "rollcall:splunk",
            "sourcetype": "rollcall:event",
            "index": "main",
            "event": owed.known(row),
            "fields": {**key, "attempt": 1},
        }
    )


def heap_heard(_: str, event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return owed.key_of(event["properties"]), flat(event)


def heap_right(row: owed.Row) -> dict[str, Any]:
    return flat(
        {
            "identity": row["user_id"] or row["anonymous_id"],
            "event": row["type"],
            "timestamp": owed.said(row["occurred_at"]),
            "idempotency_key": owed.key_of(row),
            "properties": owed.known(row, "user_id", "anonymous_id"),
        }
    )


def ga4_heard(_: str, event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return owed.key_of(event["params"]), flat(event)


def ga4_right(row: owed.Row) -> dict[str, Any]:
    params = owed.known(row, "user_id", "anonymous_id", "type", "occurred_at", "session_id")
    # session_id is a number of Google's own
    session = {"source_session_id": row["session_id"]} if row["session_id"] else {}
    return flat(
        {
            "client_id": row["user_id"] or row["anonymous_id"],
            "name": row["type"].replace(".", "_"),
            "timestamp_micros": owed.microseconds(row["occurred_at"]),
            "params": {**params, **session, "attempt": 1},
        }
    )


HEARD = {
    "ndjson": ndjson_heard,
    "ocsf": ocsf_heard,
    "hec": hec_heard,
    "heap": heap_heard,
    "ga4": ga4_heard,
}
RIGHT = {
    "ndjson": ndjson_right,
    "ocsf": ocsf_right,
    "hec": hec_right,
    "heap": heap_right,
    "ga4": ga4_right,
}
