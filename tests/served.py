"""A Delta Sharing server over a World of shares.py, as its consumers see it."""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
import site
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from httpx import Response
from shares import CONTRACT, ROOT, World

from sharing.server.app import FILES, PREFIX, Server
from sharing.server.gate import Gate
from sharing.server.journal import Journal
from sharing.server.links import Links
from sharing.server.tokens import Tokens

# behind the project's packages: the official client has lower pins, see clients.in
site.addsitedir(str(ROOT / ".venv-clients"))
delta_sharing = pytest.importorskip("delta_sharing", reason="make test installs the client")

THINGS = "shares/acme_things/schemas/production/tables/fct_things"


@dataclass
class Served:
    """A server, and a consumer with a token of `token_id`."""

    world: World
    url: str = "http://testserver"
    text: str = ""
    token_id: str = ""

    def __post_init__(self) -> None:
        world = self.world
        self.server = Server(
            Gate(
                world.places,
                lambda _: world.published if world.number else None,
                {"production": CONTRACT},
                lambda: world.now,
            ),
            Tokens(world.folder / "home" / "sharing" / "tokens.json"),
            Links(self.url + FILES),
            Journal(world.places.landing, lambda: world.now),
        )
        token, self.text = self.server.tokens.issue("acme", 30, world.now)
        self.token_id = token.token_id
        self.server.journal.open()
        self.app = self.server.app()

    # as a program asks

    def http(self, method: str, url: str, **request: Any) -> Response:
        """One request, without a network."""

        async def answered() -> Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self.url) as client:
                return await client.request(method, url, **request)

        return asyncio.run(answered())

    def get(self, url: str, **request: Any) -> Response:
        """What is at a URL."""
        return self.http("GET", url, **request)

    def ask(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """A request of the consumer: POST with a body, GET without."""
        method = "GET" if body is None else "POST"
        asked = {"authorization": f"Bearer {token or self.text}", **(headers or {})}
        return self.http(method, f"{PREFIX}/{path}", json=body, headers=asked)

    def lines(self, path: str, body: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The lines of an answer of 200."""
        answer = self.ask(path, body)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    def files(self, **body: Any) -> list[dict[str, Any]]:
        """The files of fct_things."""
        return [line["file"] for line in self.lines(f"{THINGS}/query", body)[2:]]

    def days(self, **body: Any) -> list[str]:
        """The days of those."""
        return sorted(file["partitionValues"]["activity_date"] for file in self.files(**body))

    def refusal(self, path: str, body: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """(status, errorCode) of an answer that is none."""
        answer = self.ask(path, body, **more)
        said = answer.json()
        assert set(said) == {"errorCode", "message"} and said["message"]
        return answer.status_code, said["errorCode"]

    # as the official client asks

    def profile(self) -> Path:
        """The profile file."""
        path = self.world.folder.parent / f"{self.world.folder.name}.share"
        profile = {
            "shareCredentialsVersion": 1,
            "endpoint": self.url + PREFIX,
            "bearerToken": self.text,
        }
        path.write_text(json.dumps(profile))
        return path

    def table(self, model: str = "fct_things") -> str:
        """What the client calls a table."""
        return f"{self.profile()}#acme_things.production.{model}"

    def load(self, model: str = "fct_things", **asked: Any) -> list[tuple[Any, ...]]:
        """The rows of a table, in order."""
        return rows(delta_sharing.load_as_pandas(self.table(model), **asked))

    def load_changes(self, **asked: Any) -> list[tuple[Any, ...]]:
        """(event, change, version, milliseconds) of fct_things, in order."""
        found = delta_sharing.load_table_changes_as_pandas(self.table(), **asked)
        names = ["event_id", "_change_type", "_commit_version", "_commit_timestamp"]
        return sorted(map(tuple, found[names].values.tolist()))

    # what is left of it

    def events(self) -> list[dict[str, Any]]:
        """Audit events of reading, oldest first; those that are written by now."""
        self.server.journal.hand_over()
        folder = self.server.journal.folder
        files = sorted(folder.glob("reads-*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]


@contextmanager
def listening(world: World) -> Iterator[Served]:
    """A server on a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Served(world, f"http://127.0.0.1:{listener.getsockname()[1]}")
        config = uvicorn.Config(made.server.app(), access_log=False, log_level="warning")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, args=([listener],))
        thread.start()
        try:
            yield made
        finally:
            running.should_exit = True
            thread.join()


def rows(frame: Any) -> list[tuple[Any, ...]]:
    """The rows of a data frame as plain values, in their order as text."""
    return sorted((tuple(map(_plain, row)) for row in frame.itertuples(index=False)), key=str)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_pydatetime"):
        return value.to_pydatetime()
    return value.tolist() if hasattr(value, "tolist") else value


def copied(world: World, folder: Path) -> World:
    """A world as it is, in another folder."""
    shutil.copytree(world.folder, folder, symlinks=True)
    made = copy.deepcopy(world)
    made.folder = folder
    made.share["destination"] = {"kind": "folder", "url": f"file://{made.out}"}
    made.write_file()
    return made
