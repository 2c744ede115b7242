"""A share becomes one SELECT a table, or reasons why it is refused. Pure, and fails closed.

Belongs here: every rule about what a share may hold. Does not belong here: the shape of the file
(definitions.py), reading (staging.py).

The SQL holds nothing of the file but names that match a pattern: it joins the temporary table
`scope`, one row a workspace with the oldest day that it may show, and reads database `snapshot`.
Scope columns (workspace_id, the day, environment) go along with every table, so that files describe
themselves and the gates can look at what was written; with events, also what tells them apart.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date

from sharing.contract import TYPES, Column, Table
from sharing.definitions import Consumer, Share, TableShare
from sharing.plans import FORMATS, PUSHED, STREAMED, Plans, Workspace, oldest_day
from sharing.treatments import PERSONAL, hashed, truncated

FORMAT_VERSION = 1
ENDS = ("workspace_id", "environment")
# What receipts are told by, and what consumers did at the server. Were they shared, each export
# would be the reason for the next one, and so would each read.
RECEIPT_ACTIONS = ("analytics.export", "analytics.export_refused", "share.revoked")
READ_ACTIONS = ("share.read", "share.read_refused")
OWN_ACTIONS = (*RECEIPT_ACTIONS, *READ_ACTIONS)

# What a stream holds of each event: a strict subset of what `full` shares of it.
STREAM = (
    "event_id",
    "source_table",
    "project_id",
    "category",
    "type",
    "origin",
    "occurred_at",
    "received_at",
    "user_id",
    "session_id",
    "service_id",
    "trace_id",
    "outcome",
    "is_test",
)
PROFILES = ("full", "stream")
# What tells one event from all others, and what each format of events has to know of it.
EVENT_KEY = ("workspace_id", "source_table", "event_id")
OF_EVENTS = (*EVENT_KEY, "category", "type", "occurred_at")
# What a format takes unless types are named: security and operations want audit and platform, those
# who look at products want sessions.
CATEGORIES = {
    **dict.fromkeys(("ndjson", "ocsf", "hec"), ("audit", "platform")),
    **dict.fromkeys(("heap", "ga4"), ("session",)),
}
# Google takes 25 parameters, of which two are ours: environment and attempt.
GA4_COLUMNS = 23


@dataclass(frozen=True)
class Refusal:
    """Why a share is refused: a word of a closed list, and a sentence with the remedy."""

    code: str
    message: str


@dataclass(frozen=True)
class Slice:
    """What one table of a share holds.

    `query` selects it from `mart`, `source` is the same rows untreated: of the workspaces in scope,
    not before `boundary` (None of a table without days), where all `conditions` hold. `day` is the
    column of the result by which it is cut into files, None for a table that is one file;
    `is_cut_by_day`: the mart's published parts are cut by it too.
    """

    model: str
    selected: tuple[str, ...]
    boundary: str | None
    conditions: tuple[str, ...]
    columns: tuple[Column, ...]
    order: tuple[str, ...]
    day: str | None
    dropped: tuple[str, ...]
    treatments: Mapping[str, str]
    mart: str
    is_cut_by_day: bool

    @property
    def query(self) -> str:
        """All of it, as text of which receipts hold a digest."""
        return self._select(self.source)

    @property
    def source(self) -> str:
        """Where its rows come from."""
        scope = "inner join scope on mart.workspace_id = scope.workspace_id"
        conditions = [self.boundary, *self.conditions] if self.boundary else self.conditions
        where = "\nwhere " + "\n    and ".join(conditions) if conditions else ""
        return f"from {self.mart} as mart\n{scope}{where}"

    @property
    def sorted_by(self) -> str | None:
        """The order of its rows where they lie in that of the mart's parts, as those tell it."""
        if self.treatments.keys() & set(self.order):
            return None
        return ", ".join([self.day, *self.order]) if self.day and self.is_cut_by_day else None

    def query_of(self, rows: str, owners: Iterable[str]) -> str:
        """`query` over rows of the mart (SQL) that lie within the boundary of some workspaces.

        They come in the order in which they lie.
        """
        names = [f"'{name.replace(chr(39), chr(39) * 2)}'" for name in sorted(owners)]
        # by range, row groups of others are not read; by list, as DuckDB makes a long IN a join,
        # and a join loses the order
        whose = [f"mart.workspace_id between {names[0]} and {names[-1]}"] if names else []
        if len(names) != 1:
            whose.append(f"list_contains([{', '.join(names)}]::varchar[], mart.workspace_id)")
        conditions = "\n    and ".join([*whose, *self.conditions])
        return self._select(f"from {rows} as mart\nwhere {conditions}")

    def _select(self, source: str) -> str:
        return "select\n    " + ",\n    ".join(self.selected) + f"\n{source}"

    @property
    def schema_digest(self) -> str:
        """A fingerprint of names and types."""
        text = json.dumps([(column.name, column.type) for column in self.columns])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Compiled:
    """An allowed share. `oldest_days`: the retention boundary by workspace."""

    slices: tuple[Slice, ...]
    oldest_days: Mapping[str, date]
    plan_ids: Mapping[str, str]
    digest: str


def compile_share(  # noqa: PLR0913 - what a share is a function of, by name
    share: Share,
    consumer: Consumer,
    *,
    contract: Mapping[str, Table],
    plans: Plans,
    workspaces: Mapping[str, Workspace],
    today: date,
    key_fingerprint: str = "",
    generation: int = 0,
) -> Compiled | list[Refusal]:
    """One SELECT a table, or all reasons against it.

    `workspaces`: those of the snapshot, `today`: the UTC day of reading. `generation`: that of the
    snapshot; a share of a newer one is another share, of which no older file may stay.
    """
    refusals = [
        *_standing(consumer),
        *_entitlement(share, consumer, plans, workspaces),
        *_format(share),
        *_unknown_treatments(share, contract),
    ]
    slices = []
    for table in share.tables:
        found, faults = _slice(share, table, contract)
        refusals += faults
        slices += [found] if found else []
    if refusals:
        return refusals
    plan_of = {id_: workspaces[id_].plan_id or "" for id_ in sorted(set(consumer.workspace_ids))}
    own = None if share.retention == "plan" else share.retention
    oldest = {
        id_: oldest_day(today, plans[plan, share.environment].retention_days, own)
        for id_, plan in plan_of.items()
    }
    if share.format in STREAMED + PUSHED:
        # a part of a stream holds events of several workspaces and goes as a whole
        oldest = dict.fromkeys(oldest, max(oldest.values()))
    digest = _digest(share, slices, key_fingerprint, generation)
    return Compiled(tuple(slices), oldest, plan_of, digest)


def _digest(share: Share, slices: Iterable[Slice], key_fingerprint: str, generation: int) -> str:
    parts: list[object] = [
        FORMAT_VERSION,
        share.format,
        share.environment,
        key_fingerprint,
        [(s.model, s.query, s.day, s.schema_digest) for s in slices],
        *([generation] if generation else []),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def definition_digest(share: Share, consumer: Consumer) -> str:
    """A fingerprint of what the file says of a share, allowed or not."""
    text = json.dumps([share.model_dump(), consumer.model_dump()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _standing(consumer: Consumer) -> Iterable[Refusal]:
    if consumer.status == "paused":
        yield Refusal("paused", "The consumer is paused. Set its status to active to go on.")
    if consumer.status == "revoked":
        yield Refusal("revoked", "The consumer is revoked. Set its status to active to begin anew.")
    if not consumer.workspace_ids:
        yield Refusal(
            "workspaces_missing", "The consumer has no workspace. Name its workspace_ids."
        )


def _entitlement(
    share: Share, consumer: Consumer, plans: Plans, workspaces: Mapping[str, Workspace]
) -> Iterable[Refusal]:
    for id_ in sorted(set(consumer.workspace_ids)):
        workspace = workspaces.get(id_)
        if workspace is None or workspace.is_deleted:
            yield Refusal(
                "workspace_unknown",
                f"Workspace {id_} is not, or no longer, there. Correct workspace_ids.",
            )
            continue
        plan = plans.get((workspace.plan_id or "", share.environment))
        if plan is None:
            yield Refusal(
                "plan_unknown",
                f"Workspace {id_} has a plan that seeds/plans.csv lacks. Add it there.",
            )
        elif share.capability not in plan.capabilities:
            yield Refusal(
                "capability_missing",
                f"The plan of workspace {id_}, {workspace.plan_id}, does not include"
                f" {share.capability} in {share.environment}.",
            )


def _format(share: Share) -> Iterable[Refusal]:
    if share.capability not in FORMATS[share.format]:
        yield Refusal(
            "capability_mismatch",
            f"Format {share.format} needs one of: {', '.join(FORMATS[share.format])}.",
        )


def _unknown_treatments(share: Share, contract: Mapping[str, Table]) -> Iterable[Refusal]:
    known = {
        column.name
        for table in share.tables
        if table.model in contract
        for column in contract[table.model].columns
    }
    for name in sorted(set(share.pii) - known - PERSONAL):
        yield Refusal("column_unknown", f"pii.{name}: no table of this share has that column.")


def _slice(
    share: Share, wanted: TableShare, contract: Mapping[str, Table]
) -> tuple[Slice | None, list[Refusal]]:
    table = contract.get(wanted.model)
    if table is None:
        there = f"{wanted.model} is no mart of {share.environment}."
        return None, [Refusal("table_unknown", f"{there} Correct the name.")]
    faults = list(_table_faults(table))
    if table.console_link:
        return None, faults
    is_of_events = share.format in STREAMED + PUSHED
    if is_of_events or wanted.types:
        faults += _event_faults(share, wanted, table)
    names, unknown = _names(table, wanted)
    faults += unknown
    ends = (*ENDS, *OF_EVENTS) if is_of_events else ENDS
    scope = [name for name in (*ends, table.day) if name]
    columns, dropped = [], []
    for column in table.columns:
        treatment = share.pii.get(column.name)
        if column.name not in names and column.name not in scope:
            continue
        if treatment == "drop" and column.name not in scope:
            dropped.append(column.name)
            continue
        if wanted.profile and treatment is None and _is_personal(column):
            dropped.append(column.name)
            continue
        faults += _column_faults(share, table, column, scope)
        columns.append(column)
    if share.format == "ga4" and len(columns) > GA4_COLUMNS:
        said = f"{table.name}: ga4 takes {GA4_COLUMNS} columns and here are {len(columns)}."
        faults.append(Refusal("columns_too_many", f"{said} Name those that matter in columns."))
    if share.format == "ga4" and not _hashed_people(share, columns):
        said = "ga4 knows visitors by a keyed hash: share user_id or anonymous_id as keyed_hash"
        faults.append(Refusal("identity_unhashed", f"{said}, and neither as it is."))
    if faults:
        return None, faults
    return _assembled(share, wanted, table, columns, dropped), []


def _hashed_people(share: Share, columns: Iterable[Column]) -> bool:
    treatments = {
        share.pii.get(column.name)
        for column in columns
        if column.name in ("user_id", "anonymous_id")
    }
    return treatments == {"keyed_hash"}


def _event_faults(share: Share, wanted: TableShare, table: Table) -> Iterable[Refusal]:
    missing = [name for name in OF_EVENTS if table.column(name) is None]
    if missing or table.day is None:
        yield Refusal(
            "table_unfit",
            f"{table.name} is no table of single events, which {share.format} and types are for:"
            " take fct_events.",
        )
    elif share.format in STREAMED + PUSHED and [wanted] != share.tables:
        yield Refusal("table_unfit", f"Format {share.format} is one stream: name one table.")


def _is_personal(column: Column) -> bool:
    return column.name in PERSONAL or "personal" in column.tags


def _table_faults(table: Table) -> Iterable[Refusal]:
    if table.console_link:
        yield Refusal(
            "console_only", f"{table.name} is for the console alone: see {table.console_link}"
        )
        return
    for name in ENDS:
        if table.column(name) is None:
            yield Refusal(
                "table_without_scope",
                f"{table.name} has no column {name}: it can't be divided among consumers.",
            )


def _names(table: Table, wanted: TableShare) -> tuple[set[str], list[Refusal]]:
    if wanted.columns is not None:
        unknown = [name for name in wanted.columns if table.column(name) is None]
        return set(wanted.columns), [
            Refusal("column_unknown", f"{table.name}.{name} is not in the contract.")
            for name in unknown
        ]
    everything = {column.name for column in table.columns if "secret" not in column.tags}
    if wanted.profile == "full":
        return everything, []
    if wanted.profile == "stream" and everything > set(STREAM):
        return set(STREAM), []
    known = ", ".join(PROFILES)
    fault = f"{table.name} has no profile of that name (profiles: {known}; stream: of events)."
    return set(), [Refusal("profile_unknown", fault)]


def _column_faults(
    share: Share, table: Table, column: Column, scope: Iterable[str]
) -> Iterable[Refusal]:
    name, treatment = f"{table.name}.{column.name}", share.pii.get(column.name)
    if "secret" in column.tags:
        yield Refusal("column_secret", f"{name} is tagged secret and never leaves.")
    if column.type not in TYPES:
        yield Refusal("type_unknown", f"{name} is of a type that can't be shared.")
    if treatment in (None, "keep"):
        return
    if column.name in scope:
        yield Refusal("treatment_unfit", f"{name} says whose the row is and can't be treated.")
    elif TYPES.get(column.type) != "string":
        yield Refusal("treatment_unfit", f"{name} is no text: keep it or drop it.")
    elif treatment == "truncate" and column.name != "ip" and not column.name.endswith("_ip"):
        yield Refusal("treatment_unfit", f"{name} is no address: truncate is for those.")
    elif treatment == "keyed_hash" and share.hash_key is None:
        yield Refusal("hash_key_missing", f"{name} is to be hashed: name a hash_key.")


def _assembled(
    share: Share, wanted: TableShare, table: Table, columns: list[Column], dropped: list[str]
) -> Slice:
    key_id = share.hash_key.id if share.hash_key else ""
    day_column = _day_column(table)
    listed, treatments = [], {}
    for column in columns:
        treatment = share.pii.get(column.name, "keep")
        if treatment != "keep":
            treatments[column.name] = treatment
        listed.append(f"{_expression(column, treatment, key_id)} as {column.name}")
    if day_column and table.day_of:
        columns = [*columns[:-1], day_column, columns[-1]]
        listed.insert(-1, f"cast(mart.{table.day_of} as date) as {day_column.name}")
    names = {column.name for column in columns}
    order = [name for name in table.key if name in names]
    if len(order) < len(table.key) or any(treatments.get(name) == "truncate" for name in order):
        # no key any more: rows may be told apart by any other column
        order += [column.name for column in columns if column.name not in order]
    return Slice(
        model=table.name,
        selected=tuple(listed),
        boundary=_boundary(table),
        conditions=tuple(_conditions(share, wanted, table)),
        columns=tuple(columns),
        order=tuple(order),
        day=day_column.name if day_column else None,
        dropped=tuple(dropped),
        treatments=treatments,
        mart=f"snapshot.{share.environment}.{table.name}",
        is_cut_by_day=table.is_cut_by_day,
    )


def _day_column(table: Table) -> Column | None:
    if table.day is None or not table.day_of:
        return table.column(table.day) if table.day else None
    return Column(table.day, "date", f"The UTC day of {table.day_of}.")


def _boundary(table: Table) -> str | None:
    if not table.day:
        return None
    day = f"cast(mart.{table.day_of} as date)" if table.day_of else f"mart.{table.day}"
    # a row without a day can't be shown to lie within the boundary: it stays
    return f"{day} >= scope.oldest_date"


def _conditions(share: Share, wanted: TableShare, table: Table) -> Iterable[str]:
    if table.column("source_table") and table.column("type"):
        actions = ", ".join(f"'{action}'" for action in OWN_ACTIONS)
        yield f"not (mart.source_table = 'audit_events' and mart.type in ({actions}))"
    if wanted.types:
        yield f"({' or '.join(map(_is_of_type, wanted.types))})"
    elif share.format in CATEGORIES:
        categories = ", ".join(f"'{category}'" for category in CATEGORIES[share.format])
        yield f"mart.category in ({categories})"


def _is_of_type(wanted: str) -> str:
    # their pattern in definitions.py leaves nothing that could end the text
    if wanted.endswith("*"):
        return f"starts_with(mart.type, '{wanted[:-1]}')"
    return f"mart.type = '{wanted}'"


def _expression(column: Column, treatment: str, key_id: str) -> str:
    qualified = f"mart.{column.name}"
    if treatment == "truncate":
        return truncated(qualified)
    if treatment == "keyed_hash":
        return hashed(qualified, key_id)
    if TYPES[column.type] == "timestamp":
        # a time without zone lifts a Delta table to features that many readers refuse; it is UTC's,
        # which a cast would look up for each row (1M rows of two times: 0.2 s of CPU)
        return f"make_timestamptz(epoch_us({qualified}))"
    return qualified


def describe(slice_: Slice) -> list[dict[str, str]]:
    """The data dictionary of a table."""
    return [
        {key: value for key, value in asdict(column).items() if key != "tags"}
        for column in slice_.columns
    ]
