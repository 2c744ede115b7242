"""What an environment was built from, and whether that has to be done again or may be published.

Belongs here: fingerprints of inputs, the bookkeeping of builds and gates (schema `orchestration`
of the build file), the decisions drawn from both. Does not belong here: how dbt is started
(defs/models.py), what a gate looks at (audits.py), how files are published (snapshots.py).
"""

import hashlib
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dagster_project.warehouse import DBT_PROJECT, SEEDS

# What decides the rows of a table. A change elsewhere (a description, a test) is built and checked
# again, but what stands is not computed anew.
LOGIC_SUFFIXES = (".sql", ".csv")
LOGIC_NAMES = ("dbt_project.yml", "profiles.yml")
WITHOUT_LOGIC = ("tests",)
LEFT_OUT = ("target", "logs", "dbt_packages", "__pycache__")


@dataclass(frozen=True)
class Inputs:
    """What the marts of one environment are a function of; equal inputs give equal marts.

    `warehouse` tells one build file from another, `batch` is the newest landing batch, `code` the
    fingerprint of the dbt project and seeds, `logic` that of the part which decides rows, `seals`
    how many seals and corrections of months there are, `generation` how often raw was rewritten
    (erasures.py, purges.py).
    """

    warehouse: str
    batch: int
    code: str
    logic: str
    seals: int = 0
    generation: int = 0

    @property
    def digest(self) -> str:
        """12 hex digits that name these inputs in the name of a published file."""
        text = f"{self.warehouse} {self.batch} {self.code} {self.seals}"
        # a warehouse that was never rewritten keeps the names it had before there were generations
        text += f" {self.generation}" if self.generation else ""
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Build:
    """The last build of an environment: `status` is building, partial, failed or complete.

    `logic` is that of the last complete build, whatever came after it; empty before the first.
    """

    build_id: str
    status: str
    digest: str
    logic: str


def fingerprints(folders: Iterable[Path] = (DBT_PROJECT, SEEDS)) -> tuple[str, str]:
    """Hash the files of the dbt project: (code, logic), see Inputs. About 10 ms for 200 files."""
    code, logic = hashlib.sha256(), hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            if not path.is_file() or not set(parts).isdisjoint(LEFT_OUT):
                continue
            entry = f"{folder.name}/{'/'.join(parts)}\0".encode() + path.read_bytes() + b"\0"
            code.update(entry)
            if decides_rows(parts):
                logic.update(entry)
    code.update(duckdb.__version__.encode())
    return code.hexdigest(), logic.hexdigest()


def decides_rows(parts: tuple[str, ...]) -> bool:
    """Whether a file, by its path inside the project, can change a row of a mart."""
    if parts[0] in WITHOUT_LOGIC:
        return False
    return parts[-1] in LOGIC_NAMES or Path(parts[-1]).suffix in LOGIC_SUFFIXES


def needs_build(published_digest: str | None, inputs: Inputs, marts_exist: bool) -> bool:
    """Whether an environment has to be built: no, when what is published has the same inputs.

    Only a complete build that passed every gate is ever published, so the published name is the
    whole memory of the last success: after a failure or a kill the answer is yes.
    """
    return not marts_exist or published_digest != inputs.digest


def needs_full_refresh(build: Build | None, inputs: Inputs) -> bool:
    """Whether incremental models must be computed anew: their SQL or a seed changed."""
    return build is not None and build.logic not in ("", inputs.logic)


def reason_not_to_publish(
    build: Build | None, inputs: Inputs, gates: Mapping[str, bool], required: Collection[str]
) -> str | None:
    """Why the marts as they stand must not be published, or None when they may.

    `gates`: outcome of each gate that looked at this very build.
    """
    if build is None or build.status != "complete":
        state = build.status if build else "absent"
        return f"the last build is {state}: run the whole job so that all marts are built together"
    if build.digest != inputs.digest:
        return "something landed or the code changed after the last build: run the whole job"
    if failed := sorted(gate for gate in required if gates.get(gate) is False):
        return f"failed: {', '.join(failed)}"
    if missing := sorted(gate for gate in required if gate not in gates):
        return f"not checked since the last build: {', '.join(missing)}"
    return None


def create_bookkeeping(connection: duckdb.DuckDBPyConnection) -> None:
    """Create schema orchestration and its tables; idempotent."""
    connection.execute(
        """
        create schema if not exists orchestration;
        create table if not exists orchestration.warehouse (warehouse_id varchar not null);
        create table if not exists orchestration.builds (
            environment varchar primary key,
            build_id varchar not null,
            status varchar not null,
            digest varchar not null,
            logic varchar not null,
            updated_at timestamp not null
        );
        create table if not exists orchestration.gates (
            environment varchar not null,
            gate varchar not null,
            build_id varchar not null,
            is_passed boolean not null,
            checked_at timestamp not null,
            primary key (environment, gate)
        );
        create table if not exists orchestration.rewrites (
            generation bigint primary key,
            reason varchar not null,
            rewritten_at timestamp not null,
            is_due boolean not null,
            production_version bigint not null,
            sandbox_version bigint not null
        );
        """
    )
    connection.execute(
        "insert into orchestration.warehouse"
        " select ? where not exists (from orchestration.warehouse)",
        [uuid.uuid4().hex],
    )


def read_inputs(connection: duckdb.DuckDBPyConnection) -> Inputs:
    """Inputs as they are now: what has landed and the code on disk."""
    create_bookkeeping(connection)
    warehouse, batch, seals, generation = connection.execute(
        """
        select
            (select warehouse_id from orchestration.warehouse),
            (select coalesce(max(_batch), 0) from raw.landed_files),
            (select count(*) from raw.mau_seals) + (select count(*) from raw.mau_corrections),
            (select coalesce(max(generation), 0) from orchestration.rewrites)
        """
    ).fetchall()[0]
    return Inputs(warehouse, batch, *fingerprints(), seals, generation)


def read_build(connection: duckdb.DuckDBPyConnection, environment: str) -> Build | None:
    """The last build of an environment, or None before the first."""
    rows = connection.execute(
        "select build_id, status, digest, logic from orchestration.builds where environment = ?",
        [environment],
    ).fetchall()
    return Build(*rows[0]) if rows else None


def begin_build(
    connection: duckdb.DuckDBPyConnection, environment: str, build_id: str, inputs: Inputs
) -> None:
    """Note that dbt is about to change the models of an environment."""
    connection.execute(
        """
        insert into orchestration.builds values (?, ?, 'building', ?, '', get_current_timestamp())
        on conflict do update set
            build_id = excluded.build_id,
            status = excluded.status,
            digest = excluded.digest,
            updated_at = excluded.updated_at
        """,
        [environment, build_id, inputs.digest],
    )


def end_build(
    connection: duckdb.DuckDBPyConnection, environment: str, status: str, inputs: Inputs
) -> None:
    """Note how the build ended: complete, partial or failed."""
    connection.execute(
        """
        update orchestration.builds set
            status = ?,
            logic = case when ? = 'complete' then ? else logic end,
            updated_at = get_current_timestamp()
        where environment = ?
        """,
        [status, status, inputs.logic, environment],
    )


def note_all_is_well(connection: duckdb.DuckDBPyConnection, environment: str) -> None:
    """Tests and audits look from here on at what changes from here on.

    To be called when what was built has passed all of them and is published. The row is the dbt
    project's: see macros/build_state.sql.
    """
    connection.execute(f"update {environment}_state.build set checked_batch = built_batch")


def note_gates(
    connection: duckdb.DuckDBPyConnection, environment: str, outcomes: Mapping[str, bool]
) -> None:
    """Note what each gate said of the last build of an environment."""
    for gate, is_passed in outcomes.items():
        connection.execute(
            """
            insert or replace into orchestration.gates
            select environment, ?, build_id, ?, get_current_timestamp()
            from orchestration.builds where environment = ?
            """,
            [gate, is_passed, environment],
        )


def read_gates(connection: duckdb.DuckDBPyConnection, environment: str) -> dict[str, bool]:
    """Outcome of each gate that looked at the last build of an environment."""
    return dict(
        connection.execute(
            """
            select gates.gate, gates.is_passed
            from orchestration.gates
            inner join orchestration.builds using (environment, build_id)
            where gates.environment = ?
            """,
            [environment],
        ).fetchall()
    )
