"""What a run says of itself: lines as it goes, one screen when it ends.

Belongs here: pure functions from numbers to text, and the queries behind the numbers. Does not
belong here: where text is printed (run.py), Dagster (defs/).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb

from landing import FileResult, message

# A line after so many files of one table: a landing of years must not be silent for minutes.
FILES_A_LINE = 50
RED_FLAGS = ("failed", "changed")


@dataclass
class GroupedFiles:
    """Turns a result a file into a line a group of files: one table, at most FILES_A_LINE files.

    A file that failed or changed gets a line of its own at once.
    """

    say: Callable[[str], None]
    complain: Callable[[str], None]
    pending: list[FileResult] = field(default_factory=list)

    def add(self, file: FileResult) -> None:
        """Take one result; speaks when a group is full or another table begins."""
        if file.status in RED_FLAGS:
            self.complain(file.message or f"{file.path}: {file.status}")
            return
        if self.pending and self.pending[0].table_name != file.table_name:
            self.finish()
        self.pending.append(file)
        if len(self.pending) >= FILES_A_LINE:
            self.finish()

    def finish(self) -> None:
        """Speak of what is pending."""
        if self.pending:
            self.say(f"{self.pending[0].table_name}: {describe_files(self.pending)}")
            self.pending = []


def landing_numbers(files: Iterable[FileResult]) -> dict[str, int]:
    """Files and their lines by fate, summed."""
    totals = dict.fromkeys(
        ("files", "lines", "accepted", "duplicates", "conflicts", "rejected", "failed_files"), 0
    )
    for file in files:
        totals["files"] += 1
        totals["failed_files"] += file.status in RED_FLAGS
        for name in ("lines", "accepted", "duplicates", "conflicts", "rejected"):
            totals[name] += getattr(file, name)
    return totals


def describe_files(files: Sequence[FileResult]) -> str:
    """`31 files, 12,000 rows, 3 duplicates, 1 rejected`; what is zero is left out."""
    return describe_numbers(landing_numbers(files))


def describe_numbers(numbers: Mapping[str, int]) -> str:
    """The numbers of `landing_numbers` in words."""
    parts = [
        plural(numbers["files"], "file"),
        plural(numbers["accepted"], "row"),
        *(
            plural(numbers[name], noun)
            for name, noun in (
                ("duplicates", "duplicate"),
                ("conflicts", "id conflict"),
            )
            if numbers[name]
        ),
    ]
    if numbers["rejected"]:
        parts.append(f"{numbers['rejected']:,} rejected")
    if numbers["failed_files"]:
        parts.append(f"{numbers['failed_files']:,} not landed")
    return ", ".join(parts)


def plural(count: int, noun: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


@dataclass(frozen=True)
class Rejection:
    """Rejected lines of one reason: how many, and where the first one stands."""

    reason: str
    count: int
    file: str
    line: int


@dataclass(frozen=True)
class Landing:
    """What one run landed, and all that has landed so far."""

    numbers: Mapping[str, int]
    total_rows: int
    total_files: int
    rejections: Sequence[Rejection] = ()
    bad_files: Sequence[str] = ()


@dataclass(frozen=True)
class Environment:
    """One environment at the end of a run; figures are None before the first publish.

    `rows` by mart, `seconds` by mart built in this run; `mau` is users_30d summed over workspaces,
    `sign_in_rate` successful logins / logins, both of the newest day that has them.
    """

    name: str
    rows: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    published: str | None = None
    is_new: bool = False
    mau: tuple[date, int] | None = None
    sign_in_rate: tuple[date, float] | None = None


@dataclass(frozen=True)
class Shared:
    """Where one share stands: its last receipt, whether this run wrote it, and the file's word.

    `status` is None before the first receipt; `is_listed` is false of a share that shares.yml no
    longer names.
    """

    name: str
    status: str | None = None
    reason: str = ""
    row_count: int = 0
    version: int = 0
    is_new: bool = False
    is_listed: bool = True


@dataclass(frozen=True)
class Outcome:
    """Everything the summary tells."""

    is_success: bool
    seconds: float
    landing: Landing | None
    environments: Sequence[Environment]
    checks_passed: int
    checks_warned: Sequence[str]
    checks_failed: Sequence[str]
    failed_steps: Mapping[str, str]
    home: str
    landing_folder: str
    log: str
    shares: Sequence[Shared] = ()


def read_landing(connection: duckdb.DuckDBPyConnection, run_id: str) -> Landing:
    """What a run landed, from the ledger."""
    names = ("files", "lines", "accepted", "duplicates", "conflicts", "rejected", "failed_files")
    numbers = connection.execute(
        """
        select
            count(*), coalesce(sum(lines), 0)::bigint, coalesce(sum(accepted), 0)::bigint,
            coalesce(sum(duplicates), 0)::bigint, coalesce(sum(conflicts), 0)::bigint,
            coalesce(sum(rejected), 0)::bigint, count(*) filter (status in ('failed', 'changed'))
        from raw.landed_files where run_id = ?
        """,
        [run_id],
    ).fetchall()[0]
    total_rows, total_files = connection.execute(
        "select coalesce(sum(accepted), 0)::bigint, count(*) from raw.landed_files"
    ).fetchall()[0]
    rejections = connection.execute(
        """
        select reason, count(*), arg_min(_file, (_file, _line)), arg_min(_line, (_file, _line))
        from raw.rejected_records
        where _batch in (select _batch from raw.landed_files where run_id = ?)
        group by reason order by count(*) desc, reason
        """,
        [run_id],
    ).fetchall()
    bad_files = connection.execute(
        """
        select path, reason
        from raw.landed_files
        where run_id = ? and status in ('failed', 'changed') order by path
        """,
        [run_id],
    ).fetchall()
    return Landing(
        dict(zip(names, numbers, strict=True)),
        total_rows,
        total_files,
        [Rejection(*row) for row in rejections],
        [message(*row) for row in bad_files],
    )


def read_shares(
    connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str], names: Sequence[str]
) -> list[Shared]:
    """The last receipt of every share, also of those that are no longer named."""
    rows = connection.execute(
        """
        select share, arg_max(
            {
                'status': status,
                'reason': body->'reasons'->0->>'message',
                'reason_code': reason_code,
                'row_count': row_count,
                'version': (body->>'version')::bigint,
                'run_id': run_id
            },
            receipt_number
        )
        from raw.share_receipts group by share order by share
        """
    ).fetchall()
    last = dict(rows)
    listed = [_shared(name, last.get(name), run_ids, is_listed=True) for name in names]
    left = [
        _shared(name, receipt, run_ids, is_listed=False)
        for name, receipt in last.items()
        if name not in names and receipt["reason_code"] != "revoked"
    ]
    return listed + left


def _shared(name: str, receipt: Any, run_ids: Sequence[str], *, is_listed: bool) -> Shared:
    if receipt is None:
        return Shared(name, is_listed=is_listed)
    reason = f"{receipt['reason_code']}: {receipt['reason']}" if receipt["reason_code"] else ""
    return Shared(
        name,
        receipt["status"],
        reason,
        receipt["row_count"],
        receipt["version"],
        receipt["run_id"] in run_ids,
        is_listed,
    )


def count_rows(connection: duckdb.DuckDBPyConnection, schema: str) -> dict[str, int]:
    """Rows of each table and view of a schema, by name."""
    tables = connection.execute(
        "select table_name from information_schema.tables"
        " where table_schema = ? and table_catalog = current_database() order by all",
        [schema],
    ).fetchall()
    query = 'select count(*) from "{}"."{}"'
    return {
        table: int(connection.execute(query.format(schema, table)).fetchall()[0][0])
        for (table,) in tables
    }


def read_figures(
    connection: duckdb.DuckDBPyConnection, environment: str
) -> tuple[tuple[date, int] | None, tuple[date, float] | None]:
    """MAU and sign-in success rate of the newest day in a published file; None where unknown."""
    mau = _first_row(
        connection,
        f"""
        select activity_date, sum(users_30d)::bigint
        from {environment}.fct_active_users_daily
        where scope = 'workspace' group by activity_date order by activity_date desc limit 1
        """,
    )
    rate = _first_row(
        connection,
        f"""
        select activity_date, sum(login_success_count) / sum(login_count)
        from {environment}.fct_auth_daily
        group by activity_date having sum(login_count) > 0 order by activity_date desc limit 1
        """,
    )
    return mau, rate


def _first_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[date, int] | None:
    try:
        rows = connection.execute(query).fetchall()
    except duckdb.CatalogException:
        # a version from before the mart existed
        return None
    return rows[0] if rows else None


def summarize(outcome: Outcome) -> str:
    """The one screen at the end of a run; at most about 40 lines of 100 columns."""
    lines = [_headline(outcome), ""]
    lines += _landing_lines(outcome)
    for environment in outcome.environments:
        lines += _environment_lines(environment)
    lines += _share_lines(outcome.shares)
    lines += _check_lines(outcome)
    lines += ["", *_next_lines(outcome)]
    return "\n".join(lines)


def _headline(outcome: Outcome) -> str:
    if outcome.is_success:
        verdict = "All well"
    elif outcome.failed_steps and all(step.startswith("share_") for step in outcome.failed_steps):
        verdict = "Failed: published, and not all of it reached its consumers"
    else:
        verdict = "Failed: what was published before still stands"
    return f"{verdict}  ({outcome.seconds:.1f} s)"


def _landing_lines(outcome: Outcome) -> list[str]:
    landing = outcome.landing
    if landing is None:
        return [_row("landed", "not reached")]
    if not landing.numbers["files"]:
        said = f"nothing new in {outcome.landing_folder}"
    else:
        said = describe_numbers(landing.numbers)
    lines = [
        _row("landed", said),
        _row(
            "", f"so far {plural(landing.total_rows, 'row')}, {plural(landing.total_files, 'file')}"
        ),
    ]
    for rejection in landing.rejections[:3]:
        where = f"first at {rejection.file}:{rejection.line}"
        lines.append(_row("rejected", f"{rejection.count:,} {rejection.reason}, {where}"))
    if landing.rejections:
        lines.append(_row("", 'all of them: `make sql BUILD=1 QUERY="' + REJECTED_QUERY + '"`'))
    lines += [_row("not landed", text) for text in landing.bad_files[:3]]
    if len(landing.bad_files) > 3:
        lines.append(_row("", f"and {len(landing.bad_files) - 3} more in raw.landed_files"))
    return lines


REJECTED_QUERY = "from raw.rejected_records"


def _environment_lines(environment: Environment) -> list[str]:
    name = environment.name
    if environment.published is None:
        return [_row(name, "nothing published yet")]
    total = sum(environment.rows.values())
    state = f"{plural(len(environment.rows), 'mart')}, {plural(total, 'row')}"
    if environment.seconds:
        slowest = max(environment.seconds, key=environment.seconds.__getitem__)
        state += (
            f", built in {sum(environment.seconds.values()):.1f} s"
            f" (longest: {slowest} {environment.seconds[slowest]:.1f} s)"
        )
    else:
        state += ", nothing to build"
    lines = [_row(name, state)]
    lines.append(_row("", _figures(environment)))
    lines.append(_row("", f"{'new: ' if environment.is_new else 'kept: '}{environment.published}"))
    return lines


def _figures(environment: Environment) -> str:
    if environment.mau is None:
        mau = "MAU unknown"
    else:
        mau = f"MAU {environment.mau[1]:,} on {environment.mau[0]}"
    if environment.sign_in_rate is None:
        return f"{mau}, no sign-in"
    day, rate = environment.sign_in_rate
    return f"{mau}, {rate:.1%} of sign-ins succeeded on {day}"


SHARES_TOLD = 5


def _share_lines(shares: Sequence[Shared]) -> list[str]:
    # what needs a person stands first
    told = sorted(shares, key=lambda one: (one.status == "committed", not one.is_new))
    lines = [f"{one.name}: {_share_said(one)}" for one in told[:SHARES_TOLD]]
    if len(told) > SHARES_TOLD:
        lines.append(f"and {len(told) - SHARES_TOLD} more in raw.share_receipts")
    labels = ["shares", *("" for _ in lines)]
    return [_row(label, line) for label, line in zip(labels, lines, strict=False)]


def _share_said(one: Shared) -> str:
    if not one.is_listed:
        return "not in shares.yml any more; what it shared stays until its consumer is revoked"
    if one.status is None:
        return "not reached"
    if one.status != "committed":
        return f"{one.status}, {one.reason}"[:150]
    if one.is_new and one.row_count:
        return f"{plural(one.row_count, 'row')} shared, version {one.version}"
    return f"nothing new since version {one.version}"


def _check_lines(outcome: Outcome) -> list[str]:
    said = f"{outcome.checks_passed:,} passed"
    if outcome.checks_warned:
        said += f", {len(outcome.checks_warned)} with a warning"
    if outcome.checks_failed:
        said += f", {len(outcome.checks_failed)} failed"
    lines = [_row("checks", said)]
    lines += [_row("warning", name) for name in outcome.checks_warned[:3]]
    lines += [_row("failed", name) for name in outcome.checks_failed[:8]]
    errors = list(outcome.failed_steps.items())[:3]
    lines += [_row("error", f"{step}: {error}") for step, error in errors]
    if not outcome.is_success:
        lines.append(_row("", f"more in {outcome.log}"))
    return lines


def _next_lines(outcome: Outcome) -> list[str]:
    return [
        "Next",
        "  make ui                       lineage, checks and schedules in the browser",
        '  make sql QUERY="from production.fct_auth_daily limit 5"',
        f"  put extracts under {outcome.landing_folder}/<table>/ and `make run` again",
    ]


def _row(label: str, text: str) -> str:
    return f"  {label:<12}{text}".rstrip()


def by_environment(durations: Mapping[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    """Split seconds by (schema, table) into seconds by table for each schema."""
    split: dict[str, dict[str, float]] = defaultdict(dict)
    for (schema, table), seconds in durations.items():
        split[schema][table] = seconds
    return split
