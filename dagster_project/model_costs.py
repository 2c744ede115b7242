"""What each model of a build cost, as the build wrote it down: the run report.

`orchestration.model_costs` in the build file has one row a build, schema, model and part:

    environment, build_id   the build; build_id is Dagster's run, or dbt's invocation without one
    schema_name, model      the address of the model; of a test of no model, its own
    part                    model, seed, or test: all tests of the model together
    rows_read               rows that scans of tables really read, after DuckDB passed over the row
                            groups and segments which its filters exclude; all statements of the
                            model, the deleting one included, but for the move of new rows from
                            dbt's temporary table into place. None for a count(*) without a filter,
                            which DuckDB knows without reading, and for a statement that failed
    rows_deleted            rows of before that are no more or were replaced; of a model computed
                            anew, all it had
    rows_inserted           rows written; both null for tests and for what failed
    row_count               rows afterwards
    seconds                 of its statements in DuckDB; those of other threads run meanwhile
    ended_at                when the build ended, UTC; 90 days are kept

Belongs here: reading that table, its numbers as Dagster shows them. Does not belong here: how they
are measured (dbt_project/macros/engine/model_costs.sql).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import duckdb


@dataclass(frozen=True)
class Cost:
    """What one model or seed cost; see the module for the columns."""

    schema_name: str
    model: str
    rows_read: int
    rows_deleted: int
    rows_inserted: int
    row_count: int
    seconds: float


def read(connection: duckdb.DuckDBPyConnection, environment: str, build_id: str) -> list[Cost]:
    """Costs of the tables that a build wrote, by address; empty for a build that left none."""
    try:
        rows = connection.execute(
            """
            select schema_name, model, rows_read, rows_deleted, rows_inserted, row_count, seconds
            from orchestration.model_costs
            where
                environment = ? and build_id = ? and part in ('model', 'seed')
                and rows_inserted is not null
            qualify row_number() over (partition by schema_name, model order by ended_at desc) = 1
            order by all
            """,
            [environment, build_id],
        ).fetchall()
    except duckdb.CatalogException:
        # an engine or a dbt that keeps no such table
        return []
    return [Cost(*row) for row in rows]


def observations(costs: list[Cost]) -> Iterator[dg.AssetObservation]:
    """The numbers as Dagster shows them: beside the last materialization, and as plots over runs.

    Observations, because they are known when dbt has ended and Dagster has been told of every
    model long before.
    """
    for cost in costs:
        yield dg.AssetObservation(
            asset_key=[cost.schema_name, cost.model],
            metadata={
                "rows read": cost.rows_read,
                "rows deleted": cost.rows_deleted,
                "rows inserted": cost.rows_inserted,
                "rows": cost.row_count,
                "seconds in DuckDB": round(cost.seconds, 3),
            },
        )
