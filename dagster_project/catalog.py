"""What there is, read from dbt's manifests: asset paths, marts, sources, staged event tables.

Belongs here: pure functions of a manifest, so that no list of models is kept by hand. Does not
belong here: Dagster objects (defs/), how a manifest comes about (dbt_runner.py).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from landing import TABLES

Manifest = Mapping[str, Any]


def asset_path(properties: Mapping[str, Any]) -> list[str]:
    """The address of a model, seed or source inside the warehouse: [schema, table]."""
    return [properties["schema"], properties.get("alias") or properties["name"]]


def models(manifest: Manifest) -> Iterator[Mapping[str, Any]]:
    """Every enabled model."""
    for node in manifest["nodes"].values():
        if node["resource_type"] == "model":
            yield node


def marts(manifest: Manifest, environment: str) -> list[str]:
    """Names of the marts: models whose schema is the environment itself; sorted."""
    return sorted(
        asset_path(model)[1] for model in models(manifest) if model["schema"] == environment
    )


def key_columns(manifest: Manifest, unique_id: str) -> list[str]:
    """The key of a model, as its test key_is_unique names it; empty without that test."""
    for node in manifest["nodes"].values():
        if node["resource_type"] != "test" or node.get("attached_node") != unique_id:
            continue
        test = node.get("test_metadata") or {}
        if test.get("name") == "key_is_unique":
            return list(test["kwargs"]["columns"])
    return []


def staged_event_tables(manifest: Manifest) -> list[str]:
    """Raw tables of events, of which staging keeps one row each; sorted.

    Entities are left out: staging keeps the newest of their versions.
    """
    names = {model["name"] for model in models(manifest)}
    return sorted(
        name
        for name, table in TABLES.items()
        if table.family != "entity" and f"stg_{name}" in names
    )


def sources(manifest: Manifest) -> dict[str, str]:
    """Raw tables that dbt reads, each with its description."""
    return {
        source["name"]: source.get("description") or ""
        for source in manifest["sources"].values()
        if source["schema"] == "raw"
    }


def describe_test(test: Mapping[str, Any]) -> str:
    """What a dbt test says: its description, else its kind and column."""
    if test.get("description"):
        return str(test["description"])
    kind = (test.get("test_metadata") or {}).get("name")
    if kind is None:
        return f"{test['name'].removeprefix('assert_').replace('_', ' ').capitalize()}."
    place = f" of column {test['column_name']}" if test.get("column_name") else ""
    return f"dbt test {kind}{place}."


def with_tests_attached(manifest: Manifest) -> dict[str, Any]:
    """The manifest with every test over several models attached to one of them.

    Dagster shows a test at one asset; for a test that names several models and no place of its
    own that is the one furthest downstream, by name among equals.
    """
    nodes = dict(manifest["nodes"])
    for unique_id, node in manifest["nodes"].items():
        if node["resource_type"] != "test" or node.get("attached_node"):
            continue
        parents = [name for name in node["depends_on"]["nodes"] if name in manifest["nodes"]]
        if len(parents) < 2:
            continue
        ancestors = {name: _ancestors(manifest, name) for name in parents}
        last = min(parents, key=lambda name: (-len(ancestors[name] & {*parents}), name))
        name = manifest["nodes"][last]["name"]
        config = dict(node["config"])
        config["meta"] = {"dagster": {"ref": {"name": name}}} | (config.get("meta") or {})
        nodes[unique_id] = {**node, "config": config}
    return {**manifest, "nodes": nodes}


def _ancestors(manifest: Manifest, unique_id: str) -> set[str]:
    found: set[str] = set()
    waiting = [unique_id]
    while waiting:
        for parent in manifest["parent_map"].get(waiting.pop(), ()):
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found
