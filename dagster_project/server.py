"""`python -m dagster_project.server`: the Delta Sharing server, and the tokens of its consumers.

Belongs here: the console, exit codes, what has to be in place before the server starts. Does not
belong here: what it answers (sharing/server/).

    serve [--port 8808]              on 127.0.0.1 alone: a proxy with TLS goes in front
    issue CONSUMER [--days 90]       a profile file for the consumer's client, printed once
    tokens                           what was issued
    revoke TOKEN_ID                  ends a token at once

Exit codes: 0 done; 2 usage or configuration.
"""

import argparse
import json
import logging
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

try:
    import uvicorn

    from sharing.server.app import FILES, PREFIX, Server
    from sharing.server.gate import FORMAT, Gate
    from sharing.server.journal import Journal
    from sharing.server.links import Links
    from sharing.server.tokens import Tokens, TokensError
except ModuleNotFoundError as missing:
    print(  # noqa: T201
        f"rollcall: the package {missing.name} is not there: install the extra sharing-server,"
        " `pip install '.[sharing-server]'`",
        file=sys.stderr,
    )
    sys.exit(2)

from filelock import FileLock, Timeout

from dagster_project import dbt_runner, shares
from dagster_project.warehouse import ENVIRONMENTS, ConfigurationError, Warehouse
from sharing import SharesFile
from sharing.contract import read_contract
from sharing.exporting import utc_now
from sharing.stores import DestinationError

PORT = 8808
DAYS = 90


def url_of(at: Warehouse, port: int) -> str:
    """Where consumers reach the server."""
    return at.sharing_url or f"http://127.0.0.1:{port}"


def delta_shares(at: Warehouse) -> SharesFile:
    """shares.yml, if there is something in it to serve. Raises ConfigurationError."""
    file = shares.read(at)
    if not at.shares_file.is_file():
        raise ConfigurationError(
            f"there is no {at.shares_file}: write it, see README, or name it in ROLLCALL_SHARES"
        )
    if not any(share.format == FORMAT for share in file.shares):
        raise ConfigurationError(
            f"{at.shares_file} has no share of format {FORMAT}, which is what is served"
        )
    return file


def server(at: Warehouse, port: int) -> Server:
    """The server of an installation. Raises ConfigurationError."""
    delta_shares(at)
    at.prepare_folders()
    dbt_runner.prepare_manifests(at)
    contracts = {
        name: read_contract(dbt_runner.read_manifest(at, name), name) for name in ENVIRONMENTS
    }
    return Server(
        Gate(shares.places(at), at.published_version, contracts, utc_now),
        Tokens(at.tokens_file),
        Links(url_of(at, port) + FILES),
        Journal(at.landing, utc_now),
    )


def serve(at: Warehouse, port: int) -> None:
    """Serve until it is ended by a signal. Raises ConfigurationError."""
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise ConfigurationError(
            f"port {port} can't be listened on ({error.strerror}): name another one with --port"
        ) from None
    at.server_lock_file.parent.mkdir(parents=True, exist_ok=True)
    with listener, FileLock(at.server_lock_file, timeout=0):
        port = listener.getsockname()[1]
        made = server(at, port)
        made.journal.open()
        logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
        print(  # noqa: T201
            f"http://127.0.0.1:{port}{PREFIX} (Ctrl-C ends), for consumers"
            f" {url_of(at, port)}{PREFIX}",
            flush=True,
        )
        # its log of requests would hold URLs of files
        config = uvicorn.Config(
            made.app(), access_log=False, log_level="warning", server_header=False
        )
        # ended as it is meant to be
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run([listener])


def issue(at: Warehouse, consumer: str, days: int) -> None:
    """Print a new profile file. Raises ConfigurationError, TokensError."""
    served = {share.consumer for share in delta_shares(at).shares if share.format == FORMAT}
    if consumer not in served:
        there = ", ".join(sorted(served))
        raise ConfigurationError(
            f"{consumer} is no consumer of a share of format {FORMAT}; there are: {there}"
        )
    if not 1 <= days <= 3650:
        raise ConfigurationError("--days has to be 1 to 3650")
    token, text = Tokens(at.tokens_file).issue(consumer, days, utc_now())
    profile = {
        "shareCredentialsVersion": 1,
        "endpoint": url_of(at, PORT) + PREFIX,
        "bearerToken": text,
        "expirationTime": f"{token.expires_at}Z",
    }
    print(json.dumps(profile, indent=1))  # noqa: T201
    print(  # noqa: T201
        f"{token.token_id} of {consumer}, until {token.expires_at}Z: shown this once",
        file=sys.stderr,
    )


def tell(at: Warehouse) -> None:
    """Print what was issued. Raises TokensError."""
    now = utc_now().isoformat()
    for one in Tokens(at.tokens_file).listed():
        ended = f"revoked {one.revoked_at}Z" if one.revoked_at else f"until {one.expires_at}Z"
        over = " (over)" if not one.revoked_at and one.expires_at <= now else ""
        print(f"{one.token_id}  {one.consumer}  issued {one.issued_at}Z  {ended}{over}")  # noqa: T201


def revoke(at: Warehouse, token_id: str) -> None:
    """End a token. Raises ConfigurationError, TokensError."""
    found = Tokens(at.tokens_file).revoke(token_id, utc_now())
    if found is None:
        raise ConfigurationError(f"there is no token {token_id}: `tokens` lists them")
    print(f"{found.token_id} of {found.consumer} is revoked")  # noqa: T201


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, or see to tokens; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dagster_project.server",
        description="The Delta Sharing server. Settings: ROLLCALL_HOME, ROLLCALL_SHARES,"
        " ROLLCALL_SHARING_URL.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    serving = verbs.add_parser("serve", help="serve on 127.0.0.1")
    serving.add_argument("--port", type=int, default=PORT)
    issuing = verbs.add_parser("issue", help="print a profile file with a new token")
    issuing.add_argument("consumer", help="its name in shares.yml")
    issuing.add_argument("--days", type=int, default=DAYS, help=f"it is good for, {DAYS} if unsaid")
    verbs.add_parser("tokens", help="list what was issued")
    revoking = verbs.add_parser("revoke", help="end a token")
    revoking.add_argument("token_id", help="such as tok_0123456789ab")
    asked = parser.parse_args(arguments)
    try:
        at = Warehouse.from_environment()
        match asked.verb:
            case "serve":
                serve(at, asked.port)
            case "issue":
                issue(at, asked.consumer, asked.days)
            case "tokens":
                tell(at)
            case "revoke":
                revoke(at, asked.token_id)
    except Timeout:
        print("rollcall: a server of this installation runs already", file=sys.stderr)  # noqa: T201
        return 2
    except (ConfigurationError, DestinationError, TokensError) as error:
        print(f"rollcall: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
