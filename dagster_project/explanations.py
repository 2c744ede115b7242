"""From any figure to the rows behind it: schema `explained` of a published version.

Belongs here: the views of that schema, made of what aggregate marts say of their measures. Does not
belong here: what they say (`config: meta: explained` beside each mart), when views are written
(defs/publish.py).

An aggregate mart has a view of its own name there, a row for each thing that a figure counts:

| column | |
|---|---|
| measure | the column of the mart that is explained |
| the mart's key | the cell |
| counted_id | what is counted: a cell's count is its number of distinct ids |
| amount | what is added up, or the sample of a mean or percentile; 1 where rows are counted |
| source_table, event_id, occurred_at, user_id, membership_id, session_key, trace_id | where known |

`explained.measures` says of every measure how its figure follows from those rows.

    explained:
      rows: fct_events                      # a mart, or a SELECT; {marts} stands for its schema
      where: not is_test                    # which of the rows
      counts: event_id                      # default of the measures
      keys: {activity_hour_at: "date_trunc('hour', occurred_at)"}   # key columns the rows lack
      measures:
        failure_count: {where: outcome = 'failure'}
        user_count: {counts: user_id}
        points: {sums: points}
        latency_p95_ms: {statistic: "quantile_cont(amount, 0.95)", sums: latency_ms}
        failure_rate: {ratio: [failure_count, attempt_count]}
        is_complete: {states: every asked day is covered by landed files}
        users_7d: {days: [activity_date, activity_date + 6]}   # the cells that a row counts in

A measure may say otherwise than its mart in rows, where (both hold), keys and counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from dagster_project import catalog

SCHEMA = "explained"
META = "explained"
IDS = (
    *("source_table", "event_id", "occurred_at", "user_id", "membership_id", "session_key"),
    "trace_id",
)
KINDS = ("count", "sum", "statistic", "ratio", "statement")
MART_WORDS = {"rows", "where", "counts", "keys", "measures"}
MEASURE_WORDS = {"rows", "where", "counts", "sums", "keys", "days", "statistic", "ratio", "states"}
# the rows that make a user active, once for each scope they count in
QUALIFYING = "qualifying_events"
QUALIFYING_VIEW = """
    select 'workspace' as scope, events.* replace (null as project_id, null as service_id)
    from {marts}.fct_events as events where is_qualifying
    union all
    select 'project' as scope, events.* replace (null as service_id)
    from {marts}.fct_events as events where is_qualifying
    union all
    select 'service' as scope, events.*
    from {marts}.fct_events as events where is_qualifying and service_id is not null
"""


@dataclass(frozen=True)
class Measure:
    """How one figure of a mart follows from rows.

    `kind` is one of KINDS, `rule` the SQL or the sentence that says how, `of` the two measures of a
    ratio. `rows` is None where there are none to list.
    """

    name: str
    kind: str
    rule: str
    of: tuple[str, ...] = ()
    rows: str | None = None
    where: tuple[str, ...] = ()
    counts: str = "null"
    amount: str = "1"
    keys: Mapping[str, str] | None = None
    days: tuple[str, str] | None = None


@dataclass(frozen=True)
class Explanation:
    """The measures of one mart, and its key columns in order."""

    mart: str
    key: tuple[str, ...]
    measures: tuple[Measure, ...]


def explanations(manifest: Mapping[str, Any], environment: str) -> list[Explanation]:
    """What every mart with meta `explained` says, by name. Raises ValueError on what can't be."""
    found = []
    for model in catalog.models(manifest):
        said = (model["config"].get("meta") or {}).get(META)
        if said and model["schema"] == environment:
            key = catalog.key_columns(manifest, model["unique_id"])
            found.append(parse(model["name"], key, said))
    return sorted(found, key=lambda explanation: explanation.mart)


def parse(mart: str, key: Sequence[str], said: Mapping[str, Any]) -> Explanation:
    """An explanation from its meta. Raises ValueError that names mart, measure and remedy."""
    if unknown := sorted(set(said) - MART_WORDS):
        raise ValueError(f"{mart}: meta explained knows no {', '.join(unknown)}")
    measures = tuple(
        _measure(f"{mart}.{name}", name, said, own or {}) for name, own in said["measures"].items()
    )
    names = {measure.name for measure in measures}
    for measure in measures:
        if lacking := sorted(set(measure.of) - names):
            raise ValueError(
                f"{mart}.{measure.name} is a ratio of {', '.join(lacking)}, which the mart does"
                " not explain: add it to the measures"
            )
    return Explanation(mart, tuple(key), measures)


def _measure(place: str, name: str, mart: Mapping[str, Any], own: Mapping[str, Any]) -> Measure:
    if unknown := sorted(set(own) - MEASURE_WORDS):
        raise ValueError(f"{place}: meta explained knows no {', '.join(unknown)}")
    if states := own.get("states"):
        return Measure(name, "statement", states)
    if ratio := own.get("ratio"):
        return Measure(name, "ratio", f"{ratio[0]} / {ratio[1]}", tuple(ratio))
    rows = own.get("rows") or mart.get("rows")
    if not rows:
        raise ValueError(f"{place}: say under meta explained which rows are behind it")
    kind, rule = "count", "count(distinct counted_id)"
    if "statistic" in own:
        kind, rule = "statistic", own["statistic"]
    elif "sums" in own:
        kind, rule = "sum", "sum(amount)"
    days = own.get("days")
    return Measure(
        name,
        kind,
        rule,
        rows=rows,
        where=tuple(text for text in (mart.get("where"), own.get("where")) if text),
        counts=own.get("counts") or mart.get("counts") or "event_id",
        amount=str(own.get("sums", "1")),
        keys={**(mart.get("keys") or {}), **(own.get("keys") or {})},
        days=(days[0], days[1]) if days else None,
    )


def write(
    connection: duckdb.DuckDBPyConnection, environment: str, found: Sequence[Explanation]
) -> None:
    """Create schema `explained` in a version's own file, whose marts stand in `environment`.

    Raises duckdb.Error for rows that can't be read so.
    """
    connection.execute(f"create schema {SCHEMA}")
    connection.execute(
        f"create table {SCHEMA}.measures"
        " (mart varchar, measure varchar, kind varchar, rule varchar, of_measures varchar[])"
    )
    if not found:
        return
    places = {"marts": environment, QUALIFYING: f"{SCHEMA}.{QUALIFYING}"}
    connection.execute(f"create view {SCHEMA}.{QUALIFYING} as {QUALIFYING_VIEW.format(**places)}")
    for explanation in found:
        branches = list(_branches(connection, explanation, places))
        if branches:
            connection.execute(
                f'create view {SCHEMA}."{explanation.mart}" as {" union all ".join(branches)}'
            )
        connection.executemany(
            f"insert into {SCHEMA}.measures values (?, ?, ?, ?, ?)",
            [
                [explanation.mart, each.name, each.kind, each.rule, list(each.of)]
                for each in explanation.measures
            ],
        )


def _branches(
    connection: duckdb.DuckDBPyConnection, explanation: Explanation, places: Mapping[str, str]
) -> Iterator[str]:
    """A SELECT for each measure that has rows."""
    columns: dict[str, set[str]] = {}
    for measure in explanation.measures:
        if measure.rows is None:
            continue
        rows = _relation(measure.rows, places)
        if rows not in columns:
            described = connection.execute(f"describe select * from {rows}").fetchall()
            columns[rows] = {column[0] for column in described}
        yield _select(explanation, measure, rows, columns[rows], places)


def _relation(rows: str, places: Mapping[str, str]) -> str:
    text = rows.format(**places)
    return f"({text}) as each" if " " in text.strip() else f"{places['marts']}.{text} as each"


def _select(
    explanation: Explanation,
    measure: Measure,
    rows: str,
    columns: set[str],
    places: Mapping[str, str],
) -> str:
    own = measure.keys or {}
    key, day = explanation.key, explanation.key[-1]
    found = {name: own.get(name, f'"{name}"' if name in columns else "null") for name in key}
    named = [f'{expression} as "{name}"' for name, expression in found.items()]
    named += [
        f"cast({measure.counts} as varchar) as counted_id",
        f"cast({measure.amount} as double) as amount",
        *(f'"{name}"' if name in columns else f"null as {name}" for name in IDS),
    ]
    where = " and ".join(f"({text.format(**places)})" for text in measure.where) or "true"
    if not measure.days:
        return f"select '{measure.name}' as measure, {', '.join(named)} from {rows} where {where}"
    # a row counts in the cells of several days: the mart says which cells there are
    first, last = measure.days
    named += [f"{first} as first_cell", f"{last} as last_cell"]
    same = "".join(
        f' and cells."{name}" is not distinct from listed."{name}"' for name in key if name != day
    )
    shown = ", ".join(
        [f'cells."{name}"' for name in key]
        + [f"listed.{name}" for name in ("counted_id", "amount", *IDS)]
    )
    return (
        f"select '{measure.name}' as measure, {shown} from {places['marts']}.\"{explanation.mart}\""
        f" as cells inner join (select {', '.join(named)} from {rows} where {where}) as listed"
        f' on cells."{day}" between listed.first_cell and listed.last_cell{same}'
    )
