"""Questions that no single dbt model can answer, as queries with a verdict each.

Belongs here: reconciliation of landing with its ledger and with staging, and the wall between the
environments. Does not belong here: what one model can state of itself (dbt tests), what follows
from a verdict (defs/checks.py, builds.py).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

import duckdb

from dagster_project.parts import DailyMart, read_changed_days
from dagster_project.warehouse import ENVIRONMENTS
from landing import TABLES
from landing.keys import batches_with, count_unnamed, is_in


@dataclass(frozen=True)
class Finding:
    """One verdict: about which table, whether the sentence holds, and the numbers behind it."""

    table: str
    is_passed: bool
    numbers: Mapping[str, int] = field(default_factory=dict)


def account_for_every_line(
    connection: duckdb.DuckDBPyConnection, tables: Iterable[str]
) -> list[Finding]:
    """Every line of every file ended in exactly one place, for each raw record table.

    Holds when each ledger row adds up (lines = accepted + duplicates + conflicts + rejected),
    the raw table has as many rows as were accepted less those that other content received earlier
    displaced (a copy of the same content takes the place of its row and is a duplicate) and those
    that were purged, each rejected line is on record, and the lines of an event file by received
    day add up to its lines.
    """
    ledger = {
        row[0]: row[1:]
        for row in connection.execute(
            """
            select
                table_name,
                count(*) filter (
                    lines is distinct from accepted + duplicates + conflicts + rejected
                ),
                sum(lines)::bigint, sum(accepted)::bigint, sum(duplicates)::bigint,
                sum(conflicts)::bigint, sum(rejected)::bigint
            from raw.landed_files
            where table_name is not null
            group by table_name
            """
        ).fetchall()
    }
    superseded = _counts(connection, "raw.superseded_records", "not is_same_content")
    rejected_on_record = _counts(connection, "raw.rejected_records")
    purged = _counts(
        connection, "raw.purged_records", counted="sum(accepted_count + superseded_count)"
    )
    files_off = dict(
        connection.execute(
            """
            with days as (
                select
                    _file, _batch, sum(line_count) as lines, sum(rejected_count) as rejected
                from raw.received_lines
                group by _file, _batch
            )
            select files.table_name, count(*)
            from raw.landed_files as files
            left join days on files.path = days._file and files._batch = days._batch
            where files.lines <> coalesce(days.lines, 0)
                or files.rejected <> coalesce(days.rejected, 0)
            group by files.table_name
            """
        ).fetchall()
    )
    findings = []
    for table in tables:
        torn, lines, accepted, duplicates, conflicts, rejected = ledger.get(table, (0,) * 6)
        rows = _single(connection, f"select count(*) from raw.{table}")
        numbers = {
            "files_that_do_not_add_up": torn,
            "lines": lines or 0,
            "accepted": accepted or 0,
            "duplicates": duplicates or 0,
            "conflicts": conflicts or 0,
            "rejected": rejected or 0,
            "rejected_on_record": rejected_on_record.get(table, 0),
            "superseded": superseded.get(table, 0),
            "rows": rows,
        }
        if gone := purged.get(table, 0):
            numbers["purged"] = gone
        if TABLES[table].family != "entity":
            numbers["files_whose_days_do_not_add_up"] = files_off.get(table, 0)
        is_passed = (
            torn == 0
            and rows == numbers["accepted"] - numbers["superseded"] - gone
            and numbers["rejected_on_record"] == numbers["rejected"]
            and not numbers.get("files_whose_days_do_not_add_up")
        )
        findings.append(Finding(table, is_passed, numbers))
    return findings


def find_landed_twice(
    connection: duckdb.DuckDBPyConnection, tables: Iterable[str]
) -> list[Finding]:
    """No id of an event that landed since everything was last well is in an earlier batch.

    Finds them as landing does, by `keys`, which must name every row that landed since. Of an
    environment that was refreshed in full nothing is asked here: a test of its staging compares all
    ids.
    """
    since = _checked_by_changes(connection)
    findings = []
    for table in tables:
        if since == 0:
            findings.append(Finding(table, is_passed=True))
            continue
        landed = f"select _key_hash from raw.{table} where _batch > {since}"
        rows, unnamed = count_unnamed(connection, table, since)
        near = batches_with(connection, table, landed, up_to=since)
        twice = _single(
            connection,
            f"""
            select count(*)
            from raw.{table} as newer
            inner join (
                select * from raw.{table} where {is_in(near)} and _key_hash in ({landed})
            ) as older using ({", ".join(TABLES[table].key)})
            where newer._batch > {since}
            """,
        )
        numbers = {"landed_rows": rows, "ids_twice": twice, "rows_without_key": unnamed}
        findings.append(Finding(table, twice == unnamed == 0, numbers))
    return findings


def _checked_by_changes(connection: duckdb.DuckDBPyConnection) -> int:
    """The batch up to which each environment that is not to be compared whole was found well.

    0 when there is none. One that was never well, or was refreshed in full, says 0 of itself.
    """
    states = connection.execute(
        "select schema_name from duckdb_tables()"
        " where table_name = 'build' and schema_name in (select unnest(?))",
        [[f"{name}_state" for name in ENVIRONMENTS]],
    ).fetchall()
    batches = [_single(connection, f"select checked_batch from {name}.build") for (name,) in states]
    return min(filter(None, batches), default=0)


def compare_staged_with_raw(
    connection: duckdb.DuckDBPyConnection, environment: str, tables: Sequence[str]
) -> list[Finding]:
    """Staging of an environment holds the accepted events of that environment, no more, no fewer.

    Ids are compared as a count and a sum of hashes, which no order disturbs: one pass, where two
    anti-joins of 40 million ids would spill. No third environment may exist in raw. Looks at what
    landed since everything was last well: a row that stands is not written again.
    """
    findings = []
    since = f"_batch > (select checked_batch from {environment}_state.build)"
    for table in tables:
        staged, staged_sum = connection.execute(
            f"""
            select count(*), sum(hash(workspace_id, event_id)::hugeint)
            from {environment}_staging.stg_{table}
            where {since}
            """
        ).fetchall()[0]
        raw, raw_sum, unknown = connection.execute(
            f"""
            select
                count(*) filter (environment = $environment),
                sum(hash(workspace_id, id)::hugeint) filter (environment = $environment),
                count(*) filter (
                    environment is null or environment not in ('production', 'sandbox')
                )
            from raw.{table}
            where {since}
            """,
            {"environment": environment},
        ).fetchall()[0]
        numbers = {"staged_rows": staged, "raw_rows": raw, "rows_of_no_environment": unknown}
        is_passed = staged == raw and staged_sum == raw_sum and unknown == 0
        findings.append(Finding(table, is_passed, numbers))
    return findings


def find_strangers(
    connection: duckdb.DuckDBPyConnection,
    environment: str,
    marts: Iterable[str],
    by_day: Mapping[str, DailyMart] = MappingProxyType({}),
) -> list[Finding]:
    """Every row of every mart belongs to the environment whose mart it is.

    The marts have to be attached as <environment>_marts. Of a mart that is published by day the
    days are looked at that changed since everything was last well.
    """
    findings = []
    checked = _single(connection, f"select checked_batch from {environment}_state.build")
    for mart in marts:
        condition = "true"
        if mart in by_day:
            changed = read_changed_days(connection, environment, by_day[mart], checked)
            condition = _is_of(by_day[mart].day, changed)
        rows, strangers = connection.execute(
            f"""
            select count(*), count(*) filter (environment is distinct from ?)
            from {environment}_marts.{environment}.{mart}
            where {condition}
            """,
            [environment],
        ).fetchall()[0]
        findings.append(Finding(mart, strangers == 0, {"rows": rows, "strangers": strangers}))
    return findings


def _is_of(day: str, days: Collection[date]) -> str:
    """SQL that is true of rows of some days.

    By name, because DuckDB does not look for the days of a subquery below the joins of a view: four
    days of fct_membership_changes, of 850,000 rows by 300 days, took 0.7 s in place of 0.05.
    """
    listed = ", ".join(f"date '{one}'" for one in sorted(days))
    return f"{day} in ({listed})" if days else "false"


def _counts(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    condition: str = "true",
    counted: str = "count(*)",
) -> dict[str, int]:
    query = f"select table_name, {counted} from {table} where {condition} group by table_name"
    return {name: int(count) for name, count in connection.execute(query).fetchall()}


def _single(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])
