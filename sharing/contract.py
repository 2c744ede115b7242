"""What there is to share: the contracted columns of the marts, from dbt's manifest.

Belongs here: pure reading of the manifest. Does not belong here: what of it a share may have
(compiler.py).

A model or exposure that is for the console alone says so with its link, `meta: {console_only: true,
console_link: https://…}`; a column that may never leave is tagged `secret`, one that names a person
`personal`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The word of the contract → that of Delta; what is not here can't be shared.
TYPES = {
    "string": "string",
    "varchar": "string",
    "timestamp": "timestamp",
    "date": "date",
    "bigint": "long",
    "double": "double",
    "boolean": "boolean",
    "string[]": "array<string>",
    "varchar[]": "array<string>",
}


@dataclass(frozen=True)
class Column:
    """One column of a mart, as its contract says; `type` in the contract's words."""

    name: str
    type: str
    description: str = ""
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Table:
    """One mart.

    `day`: the column that says which UTC day a row belongs to, None for marts without days.
    `day_of`: the timestamp that the day is taken from when there is no such column.
    `is_cut_by_day`: the mart is published in parts by just this day.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    day: str | None = None
    day_of: str | None = None
    console_link: str | None = None
    is_cut_by_day: bool = False

    def column(self, name: str) -> Column | None:
        """The column of a name, or None."""
        return next((column for column in self.columns if column.name == name), None)


def read_contract(manifest: Mapping[str, Any], environment: str) -> dict[str, Table]:
    """Every mart of an environment by name: models whose schema is the environment itself.

    Views that are for the console alone are among them, so that who asks for one gets its link.
    """
    keys = _keys(manifest)
    exposures = manifest.get("exposures", {}).values()
    views = {one["name"]: Table(one["name"], (), console_link=_link(one)) for one in exposures}
    marts = {
        node["name"]: _table(node, keys.get(unique_id, ()))
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] == "model" and node["schema"] == environment
    }
    return {name: view for name, view in views.items() if view.console_link} | marts


def _keys(manifest: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        str(node["attached_node"]): tuple(node["test_metadata"]["kwargs"]["columns"])
        for node in manifest["nodes"].values()
        if (node.get("test_metadata") or {}).get("name") == "key_is_unique"
        and node.get("attached_node")
    }


def _table(node: Mapping[str, Any], key: tuple[str, ...]) -> Table:
    meta = node["config"].get("meta") or {}
    columns = tuple(
        Column(
            name,
            (column.get("data_type") or "").lower(),
            column.get("description") or "",
            frozenset(column.get("tags") or (column.get("config") or {}).get("tags") or ()),
        )
        for name, column in node["columns"].items()
    )
    published_by = (meta.get("published_by_day") or {}).get("day")
    day, day_of = _day(columns, key, published_by)
    is_cut_by_day = day is not None and day == published_by
    return Table(node["name"], columns, key, day, day_of, _link(node), is_cut_by_day)


def _link(node: Mapping[str, Any]) -> str | None:
    meta = node["config"].get("meta") or {}
    return str(meta.get("console_link") or "the console") if meta.get("console_only") else None


def _day(
    columns: tuple[Column, ...], key: tuple[str, ...], published_by: str | None
) -> tuple[str | None, str | None]:
    """(day, day_of), see Table: the day a mart is published by, else that of its key."""
    types = {column.name: column.type for column in columns}
    for name in (published_by, *key):
        if name and types.get(name) == "date":
            return name, None
    for name in key:
        if types.get(name) == "timestamp":
            day = f"{name.removesuffix('_at').removesuffix('_hour')}_date"
            return (day, None) if types.get(day) == "date" else (day, name)
    return None, None
