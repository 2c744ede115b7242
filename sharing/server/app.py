"""The routes of the Delta Sharing protocol: what is asked, and the lines of the answer.

Belongs here: requests, answers, which of them are audited. Does not belong here: who may
(tokens.py, gate.py), which files (tables.py).

A share of shares.yml is a share, its environment is the schema. Answers are of the Parquet format
of the protocol; predicates in SQL, which are hints, are left to the client.
"""

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sharing.definitions import SharesFileError
from sharing.server import hints, links
from sharing.server.answers import NotServedError, told
from sharing.server.gate import Gate, Verdict
from sharing.server.journal import SECONDS, Journal, event_of
from sharing.server.links import Claims, Links
from sharing.server.tables import Changed, Point, Table, find_table
from sharing.server.tokens import Token, Tokens, TokensError
from sharing.stores import DestinationError
from sharing.versions import File

PREFIX = "/delta-sharing"
FILES = f"{PREFIX}/files"
BODY_BYTES = 1 << 20
PAGE = 500
CAPABILITIES = {"delta-sharing-capabilities": "responseformat=parquet"}
LINES = "application/x-ndjson; charset=utf-8"
NAME = re.compile(r"[a-z0-9_]{1,200}")

log = logging.getLogger("rollcall.sharing")

Asked = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """Lines of an answer, and what the audit event tells of it."""

    version: int
    lines: Sequence[Mapping[str, Any]]
    files: Sequence[File] = ()

    def response(self) -> Response:
        """The answer as HTTP."""
        content = "".join(f"{json.dumps(line)}\n" for line in self.lines)
        headers = {"delta-table-version": str(self.version), **CAPABILITIES}
        return Response(content, media_type=LINES, headers=headers)

    def told(self) -> dict[str, Any]:
        """What is audited."""
        rows = sum(file.row_count for file in self.files)
        return {"version": self.version, "file_count": len(self.files), "row_count": rows}


@dataclass(frozen=True)
class Server:
    """What requests are answered with."""

    gate: Gate
    tokens: Tokens
    links: Links
    journal: Journal

    def app(self) -> Starlette:
        """The application; its journal has to be open."""
        table = f"{PREFIX}/shares/{{share}}/schemas/{{schema}}/tables/{{table}}"
        routes: list[BaseRoute] = [
            self._route(f"{PREFIX}/shares", self.shares),
            self._route(f"{PREFIX}/shares/{{share}}", self.share),
            self._route(f"{PREFIX}/shares/{{share}}/schemas", self.schemas),
            self._route(f"{PREFIX}/shares/{{share}}/schemas/{{schema}}/tables", self.tables),
            self._route(f"{PREFIX}/shares/{{share}}/all-tables", self.tables),
            self._route(f"{table}/version", self.version),
            self._route(f"{table}/metadata", self._audited("metadata", self.metadata)),
            self._route(f"{table}/query", self._audited("query", self.query), "POST"),
            self._route(f"{table}/changes", self._audited("changes", self.changes)),
            Route(f"{FILES}/{{link}}", self.file, methods=["GET"]),
        ]
        handlers: Mapping[Any, Any] = {
            NotServedError: _refused,
            HTTPException: _refused,
            DestinationError: _unavailable,
            SharesFileError: _unavailable,
            TokensError: _unavailable,
            Exception: _failed,
        }
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=self._running)

    @asynccontextmanager
    async def _running(self, _: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(self._hand_over())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await run_in_threadpool(self.journal.hand_over)

    async def _hand_over(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            try:
                await run_in_threadpool(self.journal.hand_over)
            except OSError as error:
                log.error("audit events wait: %s", error)

    def _route(
        self, path: str, answer: Callable[[Token, Asked], Response], method: str = "GET"
    ) -> Route:
        async def endpoint(request: Request) -> Response:
            token = await run_in_threadpool(self._caller, request)
            asked = {
                **(await _body(request) if method == "POST" else request.query_params),
                "capabilities": request.headers.get("delta-sharing-capabilities", ""),
                "path": request.path_params,
            }
            return await run_in_threadpool(answer, token, asked)

        return Route(path, endpoint, methods=[method])

    def _caller(self, request: Request) -> Token:
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise NotServedError(401, "token_missing", "the bearer token is missing")
        token = self.tokens.find(text.strip())
        if token is None:
            raise NotServedError(401, "token_unknown", "the bearer token is not known")
        token.check(self.gate.clock())
        return token

    def _audited(
        self, operation: str, answer: Callable[[Table, Asked], Answer]
    ) -> Callable[[Token, Asked], Response]:
        def audited(token: Token, asked: Asked) -> Response:
            path = asked["path"]
            verdict = self.gate.share_of(token, path["share"])
            about: dict[str, Any] = {"operation": operation, "table": ""}
            try:
                table = find_table(verdict, path["schema"], path["table"], self.gate.places.state)
                about["table"] = table.slice_.model
                _check_capabilities(asked["capabilities"])
                given = answer(table, asked)
                given = self._linked(given, table, token)
            except NotServedError as error:
                self._note(verdict, token, error.reason, about)
                raise
            # before the answer leaves; without it nothing does
            self._note(verdict, token, "", {**about, **given.told()})
            return given.response()

        return audited

    def _note(self, verdict: Verdict, token: Token, reason: str, about: Mapping[str, Any]) -> None:
        self.journal.add(event_of(verdict, token, self.gate.clock, reason, about))

    def _linked(self, given: Answer, table: Table, token: Token) -> Answer:
        """The answer with the URLs of its files, which are its last lines, in their order."""
        if not given.files:
            return given
        seal = table.verdict.seal
        claims = [
            Claims(token.token_id, table.verdict.share.name, seal, file.path)
            for file in given.files
        ]
        urls, expires = self.links.to(table.store, claims)
        head = len(given.lines) - len(given.files)
        lines = [
            {
                kind: {"url": url, "expirationTimestamp": expires, **said}
                for kind, said in line.items()
            }
            for line, url in zip(given.lines[head:], urls, strict=True)
        ]
        return Answer(given.version, [*given.lines[:head], *lines], given.files)

    # lists

    def shares(self, token: Token, asked: Asked) -> Response:
        """The shares of the consumer."""
        names = [verdict.share.name for verdict in self.gate.shares_of(token)]
        return _page(asked, {name: {"name": name} for name in names})

    def share(self, token: Token, asked: Asked) -> Response:
        """One share."""
        verdict = self._allowed(token, asked)
        return JSONResponse({"share": {"name": verdict.share.name}})

    def schemas(self, token: Token, asked: Asked) -> Response:
        """The schemas of a share: its environment."""
        share = self._allowed(token, asked).share
        return _page(asked, {share.environment: {"name": share.environment, "share": share.name}})

    def tables(self, token: Token, asked: Asked) -> Response:
        """The tables of a schema or, there being one, of a share."""
        verdict = self._allowed(token, asked)
        share = verdict.share
        if asked["path"].get("schema", share.environment).lower() != share.environment:
            raise NotServedError(404, "schema_unknown", "there is no such schema in the share")
        return _page(
            asked,
            {
                slice_.model: {
                    "name": slice_.model,
                    "schema": share.environment,
                    "share": share.name,
                }
                for slice_ in verdict.allowed().slices
            },
        )

    def _allowed(self, token: Token, asked: Asked) -> Verdict:
        verdict = self.gate.share_of(token, asked["path"]["share"])
        verdict.allowed()
        return verdict

    # tables

    def version(self, token: Token, asked: Asked) -> Response:
        """The version of a table, the newest or the first at or after a time."""
        path = asked["path"]
        verdict = self.gate.share_of(token, path["share"])
        table = find_table(verdict, path["schema"], path["table"], self.gate.places.state)
        since = _moment(asked, "startingTimestamp")
        at = table.newest if since is None else table.since(since)
        return Response(headers={"delta-table-version": str(at.version), **CAPABILITIES})

    def metadata(self, table: Table, _: Asked) -> Answer:
        """Schema and name of a table."""
        at = table.newest
        return Answer(at.version, _head(table, at))

    def query(self, table: Table, asked: Asked) -> Answer:
        """The files of a version; of changes since one, as streams of Spark ask for."""
        starting = _number(asked, "startingVersion")
        if starting is not None:
            return self.changed(table, starting, _number(asked, "endingVersion"))
        version, as_of = _number(asked, "version"), _moment(asked, "timestamp")
        if version is not None and as_of is not None:
            raise NotServedError(400, "parameters_unfit", "name a version or a timestamp, not both")
        if version is not None:
            at = table.at(version)
        else:
            at = table.newest if as_of is None else table.as_of(as_of)
        files = _chosen(at.files, table, asked)
        is_travel = version is not None or as_of is not None
        lines = [{"file": _said(file, table)} for file in files]
        return Answer(at.version, [*_head(table, at, is_travel=is_travel), *lines], files)

    def changes(self, table: Table, asked: Asked) -> Answer:
        """The change feed: files that versions brought and took away."""
        bounds: list[int | None] = []
        for word, find in (("starting", table.since), ("ending", table.as_of)):
            number, moment = _number(asked, f"{word}Version"), _moment(asked, f"{word}Timestamp")
            if number is not None and moment is not None:
                raise NotServedError(
                    400, "parameters_unfit", f"name {word}Version or {word}Timestamp, not both"
                )
            bounds.append(find(moment).version if moment is not None else number)
        first, last = bounds
        if first is None:
            raise NotServedError(
                400, "parameters_unfit", "startingVersion or startingTimestamp is missing"
            )
        return self.changed(table, first, last)

    def changed(self, table: Table, first: int, last: int | None) -> Answer:
        """Changes from one version to another, None for the newest."""
        newest = table.newest
        found = table.changes(first, newest.version if last is None else last)
        lines = [_change(one, table) for one in found]
        return Answer(first, [*_head(table, newest), *lines], [one.file for one in found])

    # files

    async def file(self, request: Request) -> Response:
        """A file of a local folder, or the part of it that was asked for."""
        path = await run_in_threadpool(self._file, request.path_params["link"])
        return FileResponse(path, media_type="application/vnd.apache.parquet")

    def _file(self, link: str) -> Path:
        claims = self.links.read(link)
        token = self.tokens.of_id(claims.token_id)
        if token is None:
            raise NotServedError(403, "token_unknown", "the token is no more")
        token.check(self.gate.clock())
        verdict = self.gate.share_of(token, claims.share)
        if verdict.seal != claims.seal:
            raise NotServedError(403, "redefined", "the share was changed: ask again")
        return links.inside(verdict.share.destination, claims.path)


async def _body(request: Request) -> Mapping[str, Any]:
    """The object of a request; nothing at all is an empty one. Raises NotServedError."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > BODY_BYTES:
            raise NotServedError(400, "body_too_long", "the body is longer than a query can be")
    try:
        found = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise NotServedError(400, "body_unfit", "the body has to be a JSON object")
    return found


def _check_capabilities(said: str) -> None:
    """Refuse who takes no Parquet answers: `responseformat=delta,parquet;readerfeatures=…`."""
    named = dict(part.strip().partition("=")[::2] for part in said.lower().split(";"))
    formats = named.get("responseformat", "parquet").split(",")
    if "parquet" not in (name.strip() for name in formats):
        raise NotServedError(
            400, "format_unknown", "tables are served in responseformat=parquet alone"
        )


def _page(asked: Asked, items: Mapping[str, Mapping[str, str]]) -> Response:
    """A part of a list by name; a page token is the name that the next page begins with."""
    size = _number(asked, "maxResults")
    begin = asked.get("pageToken") or ""
    if begin and not NAME.fullmatch(begin):
        raise NotServedError(400, "parameters_unfit", "the pageToken is not one that was given")
    names = sorted(name for name in items if name >= begin)
    count = PAGE if size is None else min(size, PAGE)
    answer: dict[str, Any] = {"items": [items[name] for name in names[:count]]}
    if names[count:]:
        answer["nextPageToken"] = names[count]
    return JSONResponse(answer)


def _number(asked: Asked, name: str) -> int | None:
    """A parameter that is a number of 0 or more. Raises NotServedError."""
    said = asked.get(name)
    if said is None:
        return None
    text = str(said)
    if isinstance(said, bool) or not re.fullmatch(r"[0-9]{1,18}", text):
        raise NotServedError(400, "parameters_unfit", f"{name} has to be a number of 0 or more")
    return int(text)


def _moment(asked: Asked, name: str) -> datetime | None:
    """A parameter that is a time, UTC unless it says; without zone. Raises NotServedError."""
    said = asked.get(name)
    if said is None:
        return None
    try:
        found = datetime.fromisoformat(said)
        return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    except (TypeError, ValueError, OverflowError):
        raise NotServedError(
            400, "parameters_unfit", f"{name} has to be a time such as 2025-01-31T09:00:00Z"
        ) from None


def _head(table: Table, at: Point, *, is_travel: bool = False) -> list[Mapping[str, Any]]:
    """Protocol and metadata, the first two lines of every answer."""
    opened = table.opened(at)
    said = opened.metadata()
    metadata = {
        "id": str(said.id),
        "name": said.name,
        "format": {"provider": "parquet"},
        "schemaString": opened.schema().to_json(),
        "partitionColumns": said.partition_columns,
        "configuration": {"enableChangeDataFeed": "true"},
        **({"version": at.version} if is_travel else {}),
    }
    return [{"protocol": {"minReaderVersion": 1}}, {"metaData": metadata}]


def _chosen(files: Iterable[File], table: Table, asked: Asked) -> list[File]:
    """Files that the client's hints leave."""
    predicate = hints.read(asked.get("jsonPredicateHints"))
    if predicate is not None:
        files = [one for one in files if hints.may_match(predicate, table.slice_.day, one.day)]
    limit = _number(asked, "limitHint")
    # nobody knows how many rows of a file a predicate takes
    if not limit or predicate is not None or asked.get("predicateHints"):
        return list(files)
    chosen: list[File] = []
    for file in files:
        if sum(one.row_count for one in chosen) >= limit:
            break
        chosen.append(file)
    return chosen


def _said(file: File, table: Table) -> dict[str, Any]:
    """A file without its URL."""
    day = table.slice_.day
    return {
        "id": hashlib.sha256(file.path.encode()).hexdigest()[:32],
        "partitionValues": {day: file.day} if day else {},
        "size": file.byte_count,
        "stats": json.dumps({"numRecords": file.row_count}),
    }


def _change(one: Changed, table: Table) -> Mapping[str, Any]:
    said = _said(one.file, table) | {"version": one.version, "timestamp": one.moment}
    if one.is_added:
        return {"add": said}
    said.pop("stats")
    return {"remove": said}


def _refused(_: Request, error: NotServedError | HTTPException) -> Response:
    status = error.status if isinstance(error, NotServedError) else error.status_code
    message = str(error) if isinstance(error, NotServedError) else error.detail
    if isinstance(error, NotServedError):
        log.warning("refused: %s, %s", status, error.reason)
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(told(status, message), status, headers=headers)


def _unavailable(_: Request, error: Exception) -> Response:
    # its words may name files and variables: they are for the operator
    log.error("%s", error)
    return JSONResponse(told(503, "not available at present: try again later"), 503)


def _failed(_: Request, error: Exception) -> Response:
    log.error("%s", type(error).__name__)
    return JSONResponse(told(500, "something went wrong here"), 500)
