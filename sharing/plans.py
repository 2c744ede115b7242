"""What a workspace's plan allows: `seeds/plans.csv`, one row a plan and environment.

Belongs here: capabilities and the retention boundary. Does not belong here: what follows for a
share (compiler.py).
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

# the word of shares.yml → the column of plans.csv
CAPABILITIES = {
    "export": "may_export",
    "warehouse_share": "may_share",
    "stream": "may_stream",
    "push": "may_push",
}
# A table that is kept in step with the warehouse is a share, whatever the file calls it.
FORMATS = {
    "parquet": ("export", "warehouse_share"),
    "delta": ("warehouse_share",),
    "ndjson": ("stream",),
    "ocsf": ("stream",),
    "hec": ("push",),
    "heap": ("push",),
    "ga4": ("push",),
}
# Files that only ever come, and requests: both are of single events, each of which leaves once.
STREAMED = ("ndjson", "ocsf")
PUSHED = ("hec", "heap", "ga4")


@dataclass(frozen=True)
class Plan:
    """One row: days of history (None: no limit) and the capabilities that are true."""

    retention_days: int | None
    capabilities: frozenset[str]


@dataclass(frozen=True)
class Workspace:
    """What dim_workspaces says of one workspace."""

    workspace_id: str
    plan_id: str | None
    is_deleted: bool = False


Plans = Mapping[tuple[str, str], Plan]


def read_plans(path: Path) -> Plans:
    """The plans by (plan_id, environment)."""
    with path.open(newline="", encoding="utf-8") as file:
        return {
            (row["plan_id"], row["environment"]): Plan(
                int(row["retention_days"]) if row["retention_days"] else None,
                frozenset(word for word, name in CAPABILITIES.items() if row[name] == "true"),
            )
            for row in csv.DictReader(file)
        }


def oldest_day(today: date, plan_days: int | None, share_days: int | None) -> date:
    """The oldest day that may be shown: the shorter of both retentions, counted from today."""
    days = [limit for limit in (plan_days, share_days) if limit is not None]
    if not days:
        return date.min
    return today - timedelta(days=min(*days, (today - date.min).days))
