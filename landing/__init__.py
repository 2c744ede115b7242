"""Landing: how extract files become raw tables. Knows nothing of Dagster or dbt.

`land(connection, folder, run_id=…, clock=…)` is the door; `create_raw_schema(connection)` makes
the empty tables; `discover(folder)` lists what a landing would look at. What is promised stands in
the landing contract; the modules, in the order of the data: discover → ledger → prescan → tabular →
fastpath / examine → keys → store.
"""

from landing.contract import TABLES, Table
from landing.discover import discover
from landing.lander import FileResult, LandingReport, land
from landing.reasons import LandingError, Reason, message
from landing.schema import create_raw_schema

__all__ = [
    "TABLES",
    "FileResult",
    "LandingError",
    "LandingReport",
    "Reason",
    "Table",
    "create_raw_schema",
    "discover",
    "land",
    "message",
]
