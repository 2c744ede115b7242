"""The lines a run prints as it goes: a Dagster logger that speaks to a newcomer.

Belongs here: which Dagster event becomes which line, and what is collected for the summary. Does
not belong here: the summary's text (reporting.py).
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

# Marks a log record as one of our own sentences.
SAID = "is_said_by_rollcall"

PHASES = {
    "land_extracts": "Landing extracts",
    "reconcile_ledger": "Checking that every line is accounted for",
    "build": "Building {}",
    "audit": "Checking {} against raw and against the other environment",
    "publish": "Publishing {}",
    "share": "Sharing {}",
}


@dataclass
class Collected:
    """What the events of one run amount to."""

    checks_passed: int = 0
    checks_warned: list[str] = field(default_factory=list)
    checks_failed: list[str] = field(default_factory=list)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    published: set[str] = field(default_factory=set)
    failed_steps: dict[str, str] = field(default_factory=dict)


def heading(step: str) -> str:
    """What a step does, in words."""
    if step in PHASES:
        return PHASES[step]
    verb, _, rest = step.partition("_")
    return PHASES[verb].format(rest) if verb in PHASES else step.replace("_", " ").capitalize()


def sayer(log: logging.Logger, level: int = logging.INFO) -> Callable[[str], None]:
    """A function that logs a sentence for the event log and for the console of `make run`."""
    return lambda sentence: log.log(level, sentence, extra={SAID: True})


class ProgressHandler(logging.Handler):
    """Prints what matters of a run's events through `say` and keeps count of the rest."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.DEBUG)
        self.say = say
        self.collected = Collected()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record of Dagster's log."""
        meta = getattr(record, "dagster_meta", None) or {}
        event = meta.get("dagster_event")
        if event is not None:
            self.take(event)
        elif not getattr(record, SAID, False):
            # Dagster and its dbt integration log for the event log, not for this reader.
            return
        elif record.levelno >= logging.WARNING:
            self.say(f"  ! {meta.get('orig_message', record.getMessage())}")
        else:
            self.say(f"  {meta.get('orig_message', record.getMessage())}")

    def take(self, event: dg.DagsterEvent) -> None:
        """Print or count one event."""
        kind = event.event_type_value
        if kind == "STEP_START":
            self.say(heading(event.step_key or ""))
        elif kind == "STEP_RESTARTED":
            self.say(f"{heading(event.step_key or '')}: once more")
        elif kind == "ASSET_MATERIALIZATION":
            self._materialized(event)
        elif kind == "ASSET_CHECK_EVALUATION":
            self._checked(event.asset_check_evaluation_data)
        elif kind == "STEP_FAILURE" and event.step_key:
            self.collected.failed_steps[event.step_key] = cause(event.step_failure_data.error)

    def _materialized(self, event: dg.DagsterEvent) -> None:
        materialization = event.step_materialization_data.materialization
        schema, table = materialization.asset_key.path
        if schema == "published":
            self.collected.published.add(table)
            path = materialization.metadata["path"].value
            self.say(f"  {path}")
        elif duration := materialization.metadata.get("Execution Duration"):
            seconds = float(duration.value)  # type: ignore[arg-type]
            self.collected.seconds[schema, table] = seconds
            # views and seeds take no time that anyone waits for, and would be half of the lines
            if not schema.endswith(("_staging", "_seeds")):
                self.say(f"  {table}  {seconds:.2f} s")

    def _checked(self, evaluation: Any) -> None:
        name = f"{'.'.join(evaluation.asset_key.path)}: {evaluation.check_name}"
        if evaluation.passed:
            self.collected.checks_passed += 1
        elif evaluation.severity == dg.AssetCheckSeverity.WARN:
            self.collected.checks_warned.append(name)
            self.say(f"  ! {name}")
        else:
            self.collected.checks_failed.append(name)
            self.say(f"  FAILED {name}")


def cause(error: Any) -> str:
    """The innermost message of a serialized error, its first lines in one."""
    while error.cause is not None:
        error = error.cause
    return in_one_line(error.message)


def in_one_line(message: str) -> str:
    """The first lines of a message in one: of dbt what its log says, of DuckDB no more than said.

    DuckDB's advice names settings of its own, see `remedy`.
    """
    _, _, of_dbt = message.partition("Errors parsed from dbt logs:")
    said, _, _ = (of_dbt or message).partition("Possible solutions:")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " ".join(lines)[:300] + remedy(message)


def remedy(message: str) -> str:
    """What to do where DuckDB lacked memory; nothing where it lacked something else."""
    if "Out of Memory Error" not in message:
        return ""
    memory = os.environ.get("ROLLCALL_MEMORY") or "80%"
    return f" ROLLCALL_MEMORY is {memory}: set more (4GB, 80%) or unset it, and run again."


def logger_definition(handler: logging.Handler) -> dg.LoggerDefinition:
    """A Dagster logger that hands everything to one handler."""

    def progress(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("rollcall", logging.DEBUG)
        logger.addHandler(handler)
        return logger

    return dg.LoggerDefinition(progress, config_schema={}, description="The lines of `make run`.")
