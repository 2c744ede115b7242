"""Pseudo-random numbers as SQL macros: the only source of chance in the simulator.

Here: a documented integer mixer and the draws made from it. Not here: what is drawn.

`hash()` of DuckDB is free to change with any version, and md5 costs 0.5 µs a row (10M rows,
one core, DuckDB 2.0.0), so the draws use `lowbias32`, a multiply-xorshift mixer of 32 bits whose
products fit an unsigned 64-bit integer: 0.007 µs a row, the same bits on every version.
"""

from __future__ import annotations

MASK = 0xFFFFFFFF

MACROS = """
create or replace temp macro fold(x, bits, factor) as
    (xor(x, x >> bits) * factor) & 4294967295::ubigint;
create or replace temp macro mix(x) as xor(
    fold(fold(x & 4294967295::ubigint, 16, 2146121005::ubigint), 15, 2221713035::ubigint),
    fold(fold(x & 4294967295::ubigint, 16, 2146121005::ubigint), 15, 2221713035::ubigint) >> 16
);
-- a fresh 32-bit number of the row whose key is given; each use has a salt of its own
create or replace temp macro draw(key, salt) as
    mix(key + salt::ubigint * 2654435769::ubigint);
create or replace temp macro share(key, salt) as draw(key, salt) / 4294967296.0;
create or replace temp macro pick(key, salt, n) as (draw(key, salt) % n::ubigint)::bigint;
create or replace temp macro instant(microseconds) as make_timestamp(microseconds);
create or replace temp macro rfc3339(t) as replace(t::varchar, ' ', 'T') || 'Z';
"""


def mix(x: int) -> int:
    """Return lowbias32 of the low 32 bits of `x`; the Python twin of the SQL macro `mix`."""
    x &= MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & MASK
    return x ^ (x >> 16)
