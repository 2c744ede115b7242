"""dbt models and seeds become assets, dbt tests become checks: one set an environment.

Belongs here: keys, groups and the step that runs dbt. Does not belong here: how dbt is started
(dbt_runner.py), whether a build is needed (builds.py).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtProject,
    dbt_assets,
)

from dagster_project import builds, catalog, dbt_runner, model_costs, worklist
from dagster_project.defs.resources import WRITER_POOL, retried_when_busy
from dagster_project.progress import sayer
from dagster_project.warehouse import ENVIRONMENTS, Warehouse


class AddressTranslator(DagsterDbtTranslator):
    """Asset key = address in the warehouse, group = schema, description = the model's own."""

    def __init__(self) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_source_tests_as_checks=True))

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """[schema, table]."""
        return dg.AssetKey(catalog.asset_path(dbt_resource_props))

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The schema: a column of the lineage."""
        return str(dbt_resource_props["schema"])

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The description without the SQL, which has a tab of its own in the file."""
        return str(dbt_resource_props.get("description") or "")

    def get_asset_check_spec(
        self,
        asset_spec: dg.AssetSpec,
        manifest: Mapping[str, Any],
        unique_id: str,
        project: DbtProject | None,
    ) -> dg.AssetCheckSpec | None:
        """The check of a test, described by the test or else by what kind of test it is."""
        check = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        described = catalog.describe_test(manifest["nodes"][unique_id])
        return check and check._replace(description=described)


def begin(at: Warehouse, environment: str, build_id: str) -> tuple[builds.Inputs, bool] | None:
    """Note that a build begins: (its inputs, whether all is computed anew); None if not needed."""
    with at.connect() as connection:
        inputs = builds.read_inputs(connection)
        if not worklist.needs_build(at, environment, inputs):
            return None
        is_full_refresh = builds.needs_full_refresh(
            builds.read_build(connection, environment), inputs
        )
        builds.begin_build(connection, environment, build_id, inputs)
    return inputs, is_full_refresh


def end(
    at: Warehouse, environment: str, status: str, inputs: builds.Inputs, build_id: str
) -> list[model_costs.Cost]:
    """Note how a build ended; returns what its models cost."""
    with at.connect() as connection:
        builds.end_build(connection, environment, status, inputs)
        return model_costs.read(connection, environment, build_id)


def dbt_models(at: Warehouse, environment: str) -> dg.AssetsDefinition:
    """Every model and seed of one environment: one step, one dbt process."""

    @dbt_assets(
        manifest=catalog.with_tests_attached(dbt_runner.read_manifest(at, environment)),
        project=dbt_runner.project(at, environment),
        dagster_dbt_translator=AddressTranslator(),
        name=f"build_{environment}",
        pool=WRITER_POOL,
    )
    def build(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[Any]:
        with retried_when_busy():
            begun = begin(warehouse, environment, context.run_id)
        if begun is None:
            sayer(context.log)("nothing new since the last publish: not built again")
            return
        inputs, is_full_refresh = begun
        arguments = dbt_runner.build_arguments(is_full_refresh)
        invocation = dbt_runner.cli(warehouse, environment).cli(
            arguments, context=context, target_path=warehouse.dbt_target(environment)
        )
        yield from invocation.stream()
        status = "partial" if context.is_subset else "complete"
        costs = end(warehouse, environment, status, inputs, context.run_id)
        yield from model_costs.observations(costs)

    return build


@dg.definitions
def models() -> dg.Definitions:
    """The models of both environments."""
    at = Warehouse.from_environment()
    dbt_runner.prepare_manifests(at)
    return dg.Definitions(assets=[dbt_models(at, name) for name in ENVIRONMENTS])
