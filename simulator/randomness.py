"""Pseudo-random numbers as SQL macros: the only source of chance in the simulator.

Here: a documented integer mixer and the draws made from it. Not here: what is drawn.

`hash()` of DuckDB is free to change with any version, and md5 costs 0.5 µs a row (10M rows,
one core, DuckDB 2.0.0). The draws use a multiply-xorshift mixer of 32 bits with the constants of
`lowbias32`, whose products fit an unsigned 64-bit integer: 0.01 µs a row, the same bits on every
version. Its last xorshift gives way to the middle bits of the product: a macro repeats its
argument for every use, and each use doubles what has to be planned.
"""

from __future__ import annotations

MASK = 0xFFFFFFFF

MACROS = """
create or replace temp macro fold(x) as (
    xor(x & 4294967295::ubigint, (x & 4294967295::ubigint) >> 16) * 2146121005::ubigint
) & 4294967295::ubigint;
create or replace temp macro mix(x) as ((
    xor(fold(x), fold(x) >> 15) * 2221713035::ubigint
) >> 16) & 4294967295::ubigint;
-- a fresh 32-bit number of the row whose key is given; each use has a salt of its own
create or replace temp macro draw(key, salt) as
    mix(key + salt::ubigint * 2654435769::ubigint);
create or replace temp macro share(key, salt) as draw(key, salt) / 4294967296.0;
create or replace temp macro pick(key, salt, n) as (draw(key, salt) % n::ubigint)::bigint;
create or replace temp macro one_of(choices, number) as
    choices[1 + (number % len(choices)::ubigint)::bigint];
create or replace temp macro instant(microseconds) as make_timestamp(microseconds);
create or replace temp macro rfc3339(t) as replace(t::varchar, ' ', 'T') || 'Z';
"""


def mix(x: int) -> int:
    """Return the 32 mixed bits of the low 32 bits of `x`: the Python twin of the SQL macro."""
    x &= MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & MASK
    return (((x ^ (x >> 15)) * 0x846CA68B) >> 16) & MASK
