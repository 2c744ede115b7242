"""The same promises on S3, against a server that speaks its protocol, and one that refuses."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from deltalake import DeltaTable
from served import THINGS, listening
from shares import DAY, HASH_KEY, World, event, some_days

from sharing import stores
from sharing.stores import AlreadyThereError, open_store

BUCKET, PREFIX = "acme-bucket", "from/rollcall"
KEYS = {"access_key_id": "AKIA_acme", "secret_access_key": "s3cret-of-acme"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    # a process of its own: some calls of deltalake wait for an answer with the interpreter locked
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    moto = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        moto.terminate()
        moto.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the S3 server did not start")


@pytest.fixture
def bucket(server: str) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=server,
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    client.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    yield client
    empty(client)


def empty(client: Any) -> None:
    try:
        for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            client.delete_object(Bucket=BUCKET, Key=item["Key"])
        client.delete_bucket(Bucket=BUCKET)
    except client.exceptions.NoSuchBucket:
        return


def made(folder: Path, endpoint: str, form: str, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)
    monkeypatch.setenv("ACME_S3", json.dumps(KEYS))
    # a server that is not there is asked once
    monkeypatch.setattr(stores, "RETRIES", 0)
    world = World(folder)
    world.share["format"] = form
    world.share["destination"] = {
        "kind": "s3",
        "url": f"s3://{BUCKET}/{PREFIX}",
        "secret": "env:ACME_S3",
        "region": "eu-west-1",
        "endpoint": endpoint,
    }
    world.add(*some_days(), *some_days(workspace="ws_b")).publish()
    return world


@pytest.fixture(params=["parquet", "delta"])
def world(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    server: str,
    bucket: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    return made(tmp_path, server, request.param, monkeypatch)


def download(world: World, client: Any) -> None:
    """What a consumer does: fetch all that is under their prefix."""
    shutil.rmtree(world.out, ignore_errors=True)
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        path = world.out / item["Key"].removeprefix(f"{PREFIX}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read())


def ids(world: World) -> list[str]:
    return [row[1] for row in world.consumed()]


def test_a_consumer_reads_exactly_their_rows_from_a_bucket(world: World, bucket: Any) -> None:
    assert world.carry_out().row_count == 17
    download(world, bucket)
    mine = sorted(one[1] for one in world.events.values() if one[0] == "ws_a")
    assert ids(world) == mine
    first = world.data_files()
    assert world.step(event("late", DAY)).row_count == 4 + 1
    download(world, bucket)
    assert ids(world) == sorted([*mine, "late"])
    assert len(set(world.data_files()) - set(first)) == 2
    assert world.carry_out().status == "unchanged"
    assert world.publish() and world.carry_out().row_count == 0


def test_a_bucket_holds_what_a_folder_would(world: World, bucket: Any, tmp_path: Path) -> None:
    world.carry_out()
    download(world, bucket)
    local = World(tmp_path / "local", events=dict(world.events))
    local.share["format"] = world.share["format"]
    local.publish()
    local.carry_out()
    assert world.data_files() == local.data_files()
    contents = [one.receipts()[0]["content_sha256"] for one in (world, local)]
    assert contents[0] == contents[1]


def test_a_delta_table_in_a_bucket_is_one_to_a_reader(
    tmp_path: Path, server: str, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = made(tmp_path, server, "delta", monkeypatch)
    world.carry_out()
    world.step(event("late", DAY))
    options = {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "eu-west-1",
        "AWS_ALLOW_HTTP": "true",
    }
    table = DeltaTable(f"s3://{BUCKET}/{PREFIX}/fct_things", storage_options=options)
    assert table.count() == 13
    assert table.history(1)[0]["receipt_id"] == world.receipts()[-1]["receipt_id"]
    assert table.load_cdf(starting_version=table.version()).read_all().num_rows == 3 + 4


def test_a_consumer_loads_from_a_bucket_through_the_server(
    tmp_path: Path, server: str, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = made(tmp_path / "world", server, "delta", monkeypatch)
    world.carry_out()
    world.now += timedelta(hours=1)
    world.step(event("late", DAY))
    mine = sorted(one[1] for one in world.events.values() if one[0] == "ws_a")
    with listening(world) as served:
        assert sorted(row[1] for row in served.load()) == mine
        assert sorted(row[1] for row in served.load(version=1)) == sorted({*mine} - {"late"})
        assert len(served.load_changes(starting_version=2)) == 3 + 4
        urls = [urlsplit(file["url"]) for file in served.files()]
        world.consumer["status"] = "revoked"
        world.write_file()
        assert served.ask(f"{THINGS}/query", {}).status_code == 403
    asked = [parse_qs(url.query) for url in urls]
    assert {url.path.rsplit("/", 3)[1] for url in urls} == {"fct_things"}
    assert {url.path.split("/fct_things")[0] for url in urls} == {f"/{BUCKET}/{PREFIX}"}
    assert {one["X-Amz-Expires"][0] for one in asked} == {"900"}
    assert KEYS["secret_access_key"] not in "".join(url.geturl() for url in urls)
    # a bucket that is gone is nobody's fault that could be told to a consumer
    world.consumer["status"] = "active"
    world.write_file()
    empty(bucket)
    assert served.refusal(f"{THINGS}/query", {}) == (503, "TEMPORARILY_UNAVAILABLE")


def test_revoking_empties_the_prefix_and_nothing_else(world: World, bucket: Any) -> None:
    bucket.put_object(Bucket=BUCKET, Key="from/rollcall-not-ours", Body=b"x")
    world.carry_out()
    world.consumer["status"] = "revoked"
    assert world.carry_out().reason_code == "revoked"
    left = [item["Key"] for item in bucket.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert left == ["from/rollcall-not-ours"]


def test_a_bucket_that_is_gone_is_a_failure_until_it_is_back(world: World, bucket: Any) -> None:
    empty(bucket)
    outcome = world.carry_out()
    assert (outcome.status, outcome.reason_code) == ("failed", "destination_gone")
    world.carry_out()
    assert [one[0] for one in world.statuses()] == ["failed", "failed"]
    assert world.audit_files() == []
    bucket.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    assert world.carry_out().status == "committed"
    download(world, bucket)
    assert len(ids(world)) == 12


def test_a_bucket_that_vanished_later_is_not_begun_anew(world: World, bucket: Any) -> None:
    world.carry_out()
    empty(bucket)
    assert world.step(event("new")).reason_code == "destination_gone"
    bucket.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    assert world.carry_out().reason_code == "destination_lost"


def test_one_of_sixteen_gets_the_claim(world: World, bucket: Any) -> None:
    [share] = world.write_file().shares
    store = open_store(share.destination)
    won: list[int] = []

    def attempt(number: int) -> None:
        try:
            store.create("_claims/000001.json", json.dumps({"warehouse": number}).encode())
            won.append(number)
        except AlreadyThereError:
            pass

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert world.carry_out().reason_code == "claim_taken"
    assert world.statuses() == [("failed", "claim_taken", 0)]


EMPTY_LISTING = (
    b'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Name>x</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
)
REFUSAL = b"<Error><Code>AccessDenied</Code><Message>put of s3cret-of-acme</Message></Error>"


class Refusing(BaseHTTPRequestHandler):
    """A bucket that lets itself be listed and nothing else."""

    status = 403
    puts = 0

    def do_GET(self) -> None:
        self._answer(200 if "list-type" in self.path else 404, EMPTY_LISTING)

    def do_PUT(self) -> None:
        type(self).puts += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(self.status, REFUSAL)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


@pytest.mark.parametrize(
    ("status", "code"), [(403, "destination_denied"), (503, "destination_unreachable")]
)
def test_a_bucket_that_refuses_is_a_failure_in_our_words(
    status: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = type("Handler", (Refusing,), {"status": status, "puts": 0})
    refusing = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=refusing.serve_forever, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{refusing.server_address[1]}"
        world = made(tmp_path, endpoint, "parquet", monkeypatch)
        outcome = world.carry_out()
    finally:
        refusing.shutdown()
    assert (outcome.status, outcome.reason_code) == ("failed", code)
    assert handler.puts >= 1
    assert "s3cret" not in json.dumps(world.receipts())
    assert world.audit_files() == []


def test_a_server_that_is_not_there_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = made(tmp_path, "http://127.0.0.1:9", "delta", monkeypatch)
    assert world.carry_out().reason_code == "destination_unreachable"


@pytest.mark.parametrize("value", ["", "not JSON", "{}", '{"access_key_id": "a"}', "[1]"])
def test_credentials_that_are_none_are_told_by_the_name_of_their_variable(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = made(tmp_path, "http://127.0.0.1:9", "parquet", monkeypatch)
    monkeypatch.setenv("ACME_S3", value)
    outcome = world.carry_out()
    assert outcome.reason_code == "secret_missing"
    assert "ACME_S3" in outcome.message and "not JSON" not in outcome.message


def test_credentials_are_written_down_nowhere(world: World) -> None:
    world.carry_out()
    for path in world.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [key for key in KEYS.values() if key.encode() in content], path
