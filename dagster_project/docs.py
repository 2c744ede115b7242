"""`python -m dagster_project.docs`: the data dictionary as one HTML file, to hand to an analyst.

Belongs here: calling `dbt docs generate`, and what of its page is fit for reading. Does not belong
here: what it says (descriptions beside the models, models/overview.md).

The page is made from the code alone: no warehouse is opened, so that it can be made at any time,
and nothing is fetched when it is made or read.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster_project.catalog import models
from dagster_project.dbt_runner import DBT_EXECUTABLE
from dagster_project.warehouse import CHECKOUT, DBT_PROJECT, ConfigurationError, Warehouse

ENVIRONMENT = "production"  # has every mart of the other one, and billing
PROJECT = "rollcall"
HIDDEN = ("test", "unit_test", "seed", "operation")


def readable(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest without what fills the page's tree and tells an analyst nothing.

    Macros, seeds and tests stay out of it; a model's own tests are still shown with the model.
    """
    macros = {
        name: {**macro, "docs": {"show": False}}
        for name, macro in manifest["macros"].items()
        if macro["package_name"] == PROJECT
    }
    nodes = {
        name: {**node, "docs": {"show": False}} if node["resource_type"] in HIDDEN else node
        for name, node in manifest["nodes"].items()
    }
    return {**manifest, "macros": macros, "nodes": nodes}


def catalog(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What dbt would ask the warehouse for: the types of columns, from the models' contracts."""
    return {
        model["unique_id"]: {
            "unique_id": model["unique_id"],
            "metadata": {
                "type": "table",
                "schema": model["schema"],
                "name": model["name"],
                "database": model["database"],
                "comment": None,
                "owner": None,
            },
            "columns": {
                name: {"name": name, "type": column["data_type"], "index": index, "comment": None}
                for index, (name, column) in enumerate(model["columns"].items(), start=1)
            },
            "stats": {},
        }
        for model in models(manifest)
        if model["contract"]["enforced"]
    }


def page(folder: Path) -> str:
    """The page of a folder that dbt wrote: index.html with what it shows written into it.

    Raises ValueError when dbt's page has no place for that.
    """
    html = (folder / "index.html").read_text()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    found = json.loads((folder / "catalog.json").read_bytes())
    shown = {"MANIFEST": readable(manifest), "CATALOG": found | {"nodes": catalog(manifest)}}
    for name, content in shown.items():
        place = f'"{name}.JSON INLINE DATA"'
        if place not in html:
            raise ValueError(f"dbt's page has no place for its {name.lower()}")
        # a closing tag would end the script that it stands in; paths of this machine say nothing
        text = json.dumps(content).replace("</", "<\\/").replace(str(CHECKOUT), "")
        html = html.replace(place, text)
    return html


def generate(at: Warehouse, target: Path) -> None:
    """Write the page to a file. Raises ConfigurationError with dbt's message when dbt fails."""
    with tempfile.TemporaryDirectory(prefix="rollcall-docs-") as folder:
        places = [
            *("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)),
            *("--profile", at.engine, "--target", ENVIRONMENT, "--quiet"),
            *("--target-path", folder, "--log-path", folder),
        ]
        # compiling asks the warehouse what stands in it; parsing does not
        parts = (["parse"], ["docs", "generate", "--static", "--empty-catalog", "--no-compile"])
        variables = {**os.environ, **at.variables(), "DO_NOT_TRACK": "1"}
        for part in parts:
            command = [str(DBT_EXECUTABLE), *part, *places]
            done = subprocess.run(
                command, env=variables, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise ConfigurationError(done.stdout + done.stderr)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page(Path(folder)))


def main() -> int:
    """Write to OUT, a folder or an .html file, or to docs/ in ROLLCALL_HOME; 2 if it can't be."""
    try:
        at = Warehouse.from_environment()
        out = Path(os.environ.get("OUT", "").strip() or at.home / "docs")
        target = out if out.suffix == ".html" else out / "index.html"
        generate(at, target)
    except (ConfigurationError, OSError) as error:
        print(f"make docs: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(target.resolve())  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
