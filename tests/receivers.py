"""Services that events are pushed to, as far as their protocols go, on a port of their own."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "9f2c-token-of-acme"


@dataclass
class Receiver:
    """A service. `script`: what it does with the next requests that carry events, then it is well.

    ok; busy: 503, nothing taken; dies: taken, and no answer; hangs: taken, and the answer comes
    when the test is over; broken: 500 after taking; 400, 403: refused as a whole.
    """

    script: list[str] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    # Splunk's
    stores: bool = True
    acknowledges: bool = True
    numbers: dict[str, set[int]] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def counts(self, *path: str) -> Counter[str]:
        """How often each event id was taken; where it stands in an event is its path."""
        found: Counter[str] = Counter()
        for one in self.taken:
            value: Any = one
            for step in path:
                value = value[step]
            found[value] += 1
        return found

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any] | None:
        """(status, JSON) of a request; None for no answer at all."""
        with self.lock:
            self.requests.append((path, headers, body))
        place = urlsplit(path).path
        if place == "/services/collector/ack":
            return self.acknowledge(headers, json.loads(body))
        if place == "/services/collector/event":
            return self.collect(headers, body)
        if place == "/api/track":
            return self.track(json.loads(body))
        if place == "/mp/collect":
            return self.measure(parse_qs(urlsplit(path).query), json.loads(body))
        return 404, {}

    def next_step(self) -> str:
        return self.script.pop(0) if self.script else "ok"

    def finish(self, events: list[dict[str, Any]], good: tuple[int, Any]) -> tuple[int, Any] | None:
        step = self.next_step()
        if step == "busy":
            return 503, {"text": "Server is busy", "code": 9}
        if step in ("400", "403"):
            return int(step), {"text": "no", "code": {"400": 5, "403": 4}[step]}
        self.taken += events
        if step == "dies":
            return None
        if step == "hangs":
            self.over.wait(30)
            return None
        return (500, {"code": 8}) if step == "broken" else good

    # Splunk

    def collect(self, headers: dict[str, str], body: bytes) -> tuple[int, Any] | None:
        if headers.get("authorization") != f"Splunk {TOKEN}":
            return 403, {"text": "Invalid token", "code": 4}
        channel = headers.get("x-splunk-request-channel")
        if self.acknowledges and not channel:
            return 400, {"text": "Data channel is missing", "code": 10}
        text = gzip.decompress(body).decode()
        assert len(text) <= 1_000_000
        events, at, decoder = [], 0, json.JSONDecoder()
        while at < len(text):
            event, at = decoder.raw_decode(text, at)
            at += text[at : at + 1].isspace()
            events.append(event)
        for number, event in enumerate(events):
            if "_bad" in event["fields"]["event_id"]:
                # those before it are in
                self.taken += events[:number]
                named = {} if "worse" in event["fields"]["event_id"] else {
                    "invalid-event-number": number
                }  # fmt: skip
                return 400, {"text": "Invalid data format", "code": 6, **named}
        good: dict[str, Any] = {"text": "Success", "code": 0}
        if self.acknowledges and channel:
            numbers = self.numbers.setdefault(channel, set())
            good["ackId"] = self.given = getattr(self, "given", -1) + 1
            numbers.add(good["ackId"])
        return self.finish(events, (200, good))

    def acknowledge(self, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        if headers.get("authorization") != f"Splunk {TOKEN}":
            return 403, {"text": "Invalid token", "code": 4}
        if not self.acknowledges:
            return 400, {"text": "ACK is disabled", "code": 14}
        known = self.numbers.get(headers["x-splunk-request-channel"], set())
        told = {str(one): self.stores and one in known for one in body["acks"]}
        if self.stores:
            # true is told once
            known -= {int(one) for one in told}
        return 200, {"acks": told}

    # Heap

    def track(self, body: dict[str, Any]) -> tuple[int, Any] | None:
        assert body["app_id"] == TOKEN and len(body["events"]) <= 1000
        if any("_bad" in event["idempotency_key"] for event in body["events"]):
            return 400, {"error": "invalid"}
        known = {event["idempotency_key"] for event in self.taken}
        return self.finish(
            [event for event in body["events"] if event["idempotency_key"] not in known], (200, {})
        )

    # Google

    def measure(self, query: dict[str, list[str]], body: dict[str, Any]) -> tuple[int, Any] | None:
        assert query == {"measurement_id": ["G-ACME1234"], "api_secret": [TOKEN]}
        assert len(body["events"]) <= 25
        events = [{"client_id": body["client_id"], **event} for event in body["events"]]
        return self.finish(events, (204, None))


@contextmanager
def running(receiver: Receiver) -> Iterator[Receiver]:
    """The service on the loopback; `url` is its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = receiver.answer(self.path, headers, self.rfile.read(length))
            self.close_connection = True
            if answer is None:
                return
            status, value = answer
            content = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        server.server_close()
