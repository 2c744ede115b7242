"""What becomes of columns that name a person: kept, dropped, truncated, hashed with a key.

Belongs here: the SQL of each treatment, and how a key reaches the connection. Does not belong
here: which column gets which (compiler.py).

The key is bound as a value to variables of one connection. It is in no SQL text, so in no log, no
error and no file.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping

import duckdb

# A share's profile leaves these out unless the share says what to do with them.
PERSONAL = frozenset(
    (
        "user_id",
        "anonymous_id",
        "impersonator_id",
        "impersonator_hash",
        "actor_id",
        "viewer_id",
        "ip",
        "user_agent",
    )
)
KEY_BYTES = 32

# Of HMAC-SHA256 (RFC 2104): 1M values in 0.9 s on a core, equal to Python's hmac.
_HASH = (
    "sha256(getvariable('outer_pad')"
    " || unhex(sha256(getvariable('inner_pad') || encode({column}))))"
)
# /24 of IPv4, /48 of IPv6 in whatever spelling; text that is no address is left out.
_TRUNCATED = r"""case
        when regexp_full_match({column}, '(\d{{1,3}}\.){{3}}\d{{1,3}}')
            then regexp_replace({column}, '\d+$', '0')
        when regexp_full_match(
            {column}, '([0-9a-fA-F]{{1,4}}:){{3}}[0-9a-fA-F:.]+'
        )
            then regexp_extract({column}, '^([0-9a-fA-F]{{1,4}}:){{3}}') || ':'
        when regexp_full_match({column}, '[0-9a-fA-F:]*::[0-9a-fA-F:.]*')
            then regexp_extract({column}, '^[0-9a-fA-F:]*?::')
    end"""


class KeyMissingError(Exception):
    """The variable of a key holds none, or one too short; the message says which variable."""


def truncated(column: str) -> str:
    """SQL of an address without its host part."""
    return _TRUNCATED.format(column=column)


def hashed(column: str, key_id: str) -> str:
    """SQL of a keyed hash, `<key id>:<64 hex digits>`; null stays null."""
    return f"'{key_id}:' || {_HASH.format(column=column)}"


def read_secret(reference: str, environ: Mapping[str, str] | None = None) -> str:
    """The value behind `env:NAME`. Raises KeyMissingError, which names the variable."""
    name = reference.removeprefix("env:")
    value = (os.environ if environ is None else environ).get(name, "")
    if not value:
        raise KeyMissingError(f"the variable {name} is not set: set it where the run starts")
    return value


def read_key(reference: str) -> bytes:
    """The key of keyed hashes. Raises KeyMissingError."""
    key = read_secret(reference).encode()
    if len(key) < KEY_BYTES:
        raise KeyMissingError(
            f"the key in {reference.removeprefix('env:')} is shorter than {KEY_BYTES} bytes:"
            " `openssl rand -hex 32` makes one"
        )
    return key


def bind_key(connection: duckdb.DuckDBPyConnection, key: bytes) -> None:
    """Make a key known to one connection, as the two pads of HMAC."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    connection.execute("set variable inner_pad = ?", [bytes(byte ^ 0x36 for byte in block)])
    connection.execute("set variable outer_pad = ?", [bytes(byte ^ 0x5C for byte in block)])


def fingerprint(key: bytes) -> str:
    """16 hex digits by which a key is known again, and which tell nothing of it."""
    return hmac.new(key, b"rollcall: which key is this", hashlib.sha256).hexdigest()[:16]
