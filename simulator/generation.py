"""From parameters to a folder of extracts: which files there are and what each holds.

Here: the order of work and the layout. Not here: the events (`traffic`, `messages`), their
imperfections, the answer key.

    <table>/<day>.jsonl[.gz|.zst]           auth, session and platform events, a file a day
    <table>/<month>.<ext>                   the smaller tables, a file a month
    <table>/redelivered/<day or month>.…    copies of records that were sent before
    auth_events/redelivered/copy-of-<day>   a whole file once more, to the byte
    auth_events/<day after>.jsonl.tmp       a file still being written
    webhook_deliveries/<last day>.jsonl     an empty file: a day without deliveries
    _answer_key/                            see `answer_key`
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import duckdb

from simulator import answer_key, entities, messages, traffic
from simulator.imperfections import REDELIVERED, records_sql
from simulator.world import EPOCH, Parameters, Span, create_world
from simulator.writing import copy_lines, write_records

FORMATS = ("mixed", "jsonl", "parquet")
DAILY: dict[str, Callable[[Parameters, Span], str]] = {
    "auth_events": traffic.auth_events_sql,
    "session_events": traffic.session_events_sql,
    "platform_events": traffic.platform_events_sql,
}
MONTHLY: dict[str, Callable[[Parameters, Span], str]] = {
    "membership_events": messages.membership_events_sql,
    "webhook_deliveries": messages.webhook_deliveries_sql,
    "campaign_events": messages.campaign_events_sql,
    "loyalty_events": messages.loyalty_events_sql,
    "notification_events": messages.notification_events_sql,
}
MIXED_SUFFIXES = {
    "membership_events": "csv",
    "webhook_deliveries": "jsonl.gz",
    "campaign_events": "jsonl.zst",
    "loyalty_events": "jsonl",
    "notification_events": "parquet",
}
# the answer key keeps every intended event in memory: about 0.6 kB each
LARGEST_ANSWERED = 5_000_000
EVENTS_AT_ONCE = 500_000


class UsageError(ValueError):
    """Parameters that make no data set; the message says what to change."""


@dataclass
class GenerationReport:
    """What was written.

    `events`: intended events (each accepted once); `files`: extract files; `bytes`: their size;
    `landing`: per table the lines by disposition (accepted, duplicate, conflict, reason codes).
    """

    out: Path
    events: int = 0
    files: int = 0
    bytes: int = 0
    landing: dict[str, Counter[str]] = field(default_factory=dict)

    def count(self, table: str, dispositions: Iterable[tuple[str, int]]) -> None:
        """Add a file's lines to the table's."""
        counts = self.landing.setdefault(table, Counter())
        for disposition, lines in dispositions:
            counts[disposition] += lines


def generate(  # noqa: PLR0913
    out: Path,
    *,
    events: int,
    days: int,
    until: date,
    seed: int,
    file_format: str = "mixed",
    only: date | None = None,
    with_answer_key: bool | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> GenerationReport:
    """Write extracts (and their answer key) to `out` and report what was written.

    `only`: write just the files that hold this day (the day's, and its month's of the smaller
    tables); they are the same to the byte as those of a whole run; no answer key is written.
    `with_answer_key`: None writes it for up to 5M events. Raises UsageError for parameters that
    make no sense and for a folder that already holds files.
    """
    parameters = Parameters(events, days, until, seed)
    check(parameters, out, file_format, only)
    say = on_progress or (lambda _: None)
    answered = with_answer_key if with_answer_key is not None else events <= LARGEST_ANSWERED
    connection = duckdb.connect(":memory:")
    try:
        connection.execute("set enable_progress_bar = false")
        create_world(connection, parameters)
        run = Run(connection, parameters, out, file_format, answered and only is None)
        for span in spans(parameters, only):
            run.write_days(span)
            say(f"{EPOCH + timedelta(days=span.last)}  {run.report.events:,} events")
        for month in months(parameters):
            if only is None or (only.year, only.month) == (month.year, month.month):
                run.write_month(month)
                say(f"{month:%Y-%m}  {run.report.events:,} events")
        if only is None:
            run.write_oddities()
        if run.keeps_truth:
            answer_key.write(connection, parameters, out / "_answer_key", run.report.landing)
            say("answer key written")
    finally:
        connection.close()
    files = [
        path
        for path in out.rglob("*")
        if path.is_file() and "_answer_key" not in path.relative_to(out).parts
    ]
    run.report.files = len(files)
    run.report.bytes = sum(path.stat().st_size for path in files)
    return run.report


def check(parameters: Parameters, out: Path, file_format: str, only: date | None) -> None:
    """Raise UsageError when the parameters make no data set."""
    if parameters.events < 1:
        raise UsageError(f"events must be at least 1, not {parameters.events}")
    if not 1 <= parameters.days <= 3660:
        raise UsageError(f"days must be between 1 and 3660, not {parameters.days}")
    if file_format not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, not {file_format}")
    if only is not None and not parameters.first <= only <= parameters.until:
        raise UsageError(f"{only} is outside {parameters.first} to {parameters.until}")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is not a folder")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty: give a new folder, or empty this one")


def spans(parameters: Parameters, only: date | None) -> list[Span]:
    """Return the spans of days that are made at once: planning a statement costs 0.1 s."""
    if only is not None:
        return [Span((only - EPOCH).days, (only - EPOCH).days)]
    size = max(1, EVENTS_AT_ONCE * parameters.days // parameters.events)
    return [
        Span(first, min(first + size - 1, parameters.last_day))
        for first in range(parameters.first_day, parameters.last_day + 1, size)
    ]


def months(parameters: Parameters) -> list[date]:
    """Return the first day of each month that has a simulated day."""
    found: list[date] = []
    for number in range(parameters.days):
        month = (parameters.first + timedelta(days=number)).replace(day=1)
        if not found or found[-1] != month:
            found.append(month)
    return found


@dataclass
class Run:
    """One generation: the connection that holds the cast, and what was written so far."""

    connection: duckdb.DuckDBPyConnection
    parameters: Parameters
    out: Path
    file_format: str
    keeps_truth: bool

    def __post_init__(self) -> None:
        self.report = GenerationReport(self.out)
        self.line_counts: dict[tuple[str, str], int] = {}

    def write_days(self, span: Span) -> None:
        """Write a file for each day of `span` and each of the large tables."""
        parameters = self.parameters
        self.make("visits", traffic.visits_sql(parameters, traffic.started_candidates(span)))
        self.make("machines", traffic.machines_sql(parameters, span))
        self.make("visits", traffic.visits_sql(parameters, traffic.received_candidates(span)))
        for table, query in DAILY.items():
            self.make("intended", query(parameters, span))
            self.keep("intended", table)
            self.make_records(span, "parquet" if self.file_format == "parquet" else "jsonl")
            for day in span.days:
                name = str(EPOCH + timedelta(days=day))
                suffix = self.daily_suffix(table, day)
                self.write_file(table, name, suffix, f"file_date = date '{name}'")
                if day % 7 == 3:
                    self.write_redelivery(table, name, suffix, f"file_date = date '{name}'")

    def daily_suffix(self, table: str, day: int) -> str:
        """Return the format of a day's file: now and then a compressed one."""
        if self.file_format != "mixed":
            return self.file_format
        if table == "auth_events" and day % 10 == 4:
            return "jsonl.gz"
        if table == "platform_events" and day % 6 == 2:
            return "jsonl.zst"
        return "jsonl"

    def write_month(self, month: date) -> None:
        """Write the month's file of each of the smaller tables, audit and entities included."""
        parameters = self.parameters
        first = max((month - EPOCH).days, parameters.first_day)
        following = (month + timedelta(days=31)).replace(day=1)
        span = Span(first, min((following - EPOCH).days - 1, parameters.last_day))
        name = f"{month:%Y-%m}"
        for table, event_query in MONTHLY.items():
            self.make("intended", event_query(parameters, span))
            self.keep("intended", table)
            suffix = MIXED_SUFFIXES[table] if self.file_format == "mixed" else self.file_format
            self.make_records(span, suffix.partition(".")[0])
            self.write_file(table, name, suffix)
            if table == "campaign_events":
                self.write_redelivery(table, name, suffix)
        self.write_audit(span, name)
        for table, query in entities.queries(parameters, span).items():
            self.make("entity", query)
            lines = self.connection.execute("select count(*) from entity").fetchall()[0][0]
            if lines:
                copy_lines(
                    self.connection,
                    "select line from entity order by updated_at, line",
                    self.out / table / f"{name}.jsonl",
                )
                self.report.count(table, [("accepted", lines)])

    def write_audit(self, span: Span, name: str) -> None:
        """Write the month's audit records; some of them again in another file."""
        self.make("page_views", messages.page_views_sql(self.parameters, span))
        self.make("audit", messages.audit_records_sql())
        self.keep("page_views")
        self.keep("audit")
        folder = self.out / "audit_events"
        order = "order by occurred_at, line"
        copy_lines(self.connection, f"select line from audit {order}", folder / f"{name}.jsonl")
        again = "from audit where part in (0, 9) and turn % 6 = 3"
        copy_lines(
            self.connection, f"select line {again} {order}", folder / f"redelivered/{name}.jsonl"
        )
        written, copies = self.connection.execute(
            f"select (select count(*) from audit), (select count(*) {again})"
        ).fetchall()[0]
        self.report.events += written
        self.report.count("audit_events", [("accepted", written), ("duplicate", copies)])

    def write_file(self, table: str, name: str, suffix: str, condition: str = "true") -> None:
        """Write those of `records` that fulfil a condition, and count them by disposition."""
        self.connection.execute(
            f"create or replace temp view chosen as select * from records where {condition}"
        )
        path = self.out / table / f"{name}.{suffix}"
        write_records(self.connection, "chosen", suffix.partition(".")[0], path)
        counts = self.connection.execute(
            "select disposition, count(*) from chosen group by all"
        ).fetchall()
        self.report.count(table, counts)
        self.report.events += dict(counts).get("accepted", 0)
        self.line_counts[table, name] = sum(lines for _, lines in counts)

    def write_redelivery(self, table: str, name: str, suffix: str, condition: str = "true") -> None:
        """Write a second file with copies of some of the records of a file."""
        self.connection.execute(
            "create or replace temp view chosen as select * from records"
            f" where disposition = 'accepted' and {REDELIVERED} and {condition}"
        )
        path = self.out / table / "redelivered" / f"{name}.{suffix}"
        write_records(self.connection, "chosen", suffix.partition(".")[0], path)
        lines = self.connection.execute("select count(*) from chosen").fetchall()[0][0]
        self.report.count(table, [("duplicate", lines)])

    def write_oddities(self) -> None:
        """Write a whole file once more, an unfinished one, and an empty one."""
        parameters = self.parameters
        folder = self.out / "auth_events"
        day = parameters.first_day + parameters.days // 5
        suffix = self.daily_suffix("auth_events", day)
        date_text = EPOCH + timedelta(days=day)
        (folder / "redelivered").mkdir(exist_ok=True)
        shutil.copyfile(
            folder / f"{date_text}.{suffix}",
            folder / "redelivered" / f"copy-of-{date_text}.{suffix}",
        )
        self.report.count(
            "auth_events", [("duplicate", self.line_counts["auth_events", str(date_text)])]
        )
        tomorrow = parameters.until + timedelta(days=1)
        (folder / f"{tomorrow}.jsonl.tmp").write_text('{"id":"au_unfinished","type":"log')
        (self.out / "webhook_deliveries" / f"{parameters.until}.jsonl").touch()

    def make(self, name: str, query: str) -> None:
        """Replace a temporary table."""
        self.connection.execute(f"create or replace temp table {name} as {query}")

    def make_records(self, span: Span, file_format: str) -> None:
        """Replace the view `records`; its rows are kept where many files are made of them."""
        query = records_sql(file_format)
        if span.first < span.last:
            self.make("record_rows", query)
            query = "select * from record_rows"
        self.connection.execute(f"create or replace temp view records as {query}")

    def keep(self, name: str, table: str | None = None) -> None:
        """Add a temporary table's rows to the truth that the answer key is computed from."""
        if not self.keeps_truth:
            return
        target = f"truth_{table or name}"
        self.connection.execute(
            f"create table if not exists {target} as select * from {name} limit 0"
        )
        self.connection.execute(f"insert into {target} select * from {name}")
