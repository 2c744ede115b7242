"""The closed list of reason codes, and how a reason becomes a message a person can act on.

Codes are constants here; their meaning and remedy are kept in `seeds/rejection_reasons.csv`,
which a test holds against this list. Codes that begin with `file_` fail a whole file, the others
reject one record.
"""

import csv
import functools
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from landing.contract import SEEDS


class Reason(StrEnum):
    """Why a record or a file was not accepted."""

    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    SEVERAL_VALUES = "several_values_on_line"
    DUPLICATE_KEY = "duplicate_key"
    NOT_A_NUMBER = "not_a_number"
    INVALID_UTF8 = "invalid_utf8"
    NUL_CHARACTER = "nul_character"
    LONE_SURROGATE = "lone_surrogate"
    LINE_TOO_LONG = "line_too_long"
    TOO_DEEP = "too_deeply_nested"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_ENVIRONMENT = "unknown_environment"
    UNKNOWN_VALUE = "unknown_value"
    OUT_OF_RANGE = "out_of_range"
    INVALID_UUID = "invalid_uuid"
    INVALID_TIME = "invalid_time"
    TIME_WITHOUT_OFFSET = "time_without_offset"
    DATE_WITHOUT_TIME = "date_without_time"
    TIME_IN_FUTURE = "time_in_future"
    SECRET_IN_KEY = "secret_in_key"
    CSV_QUOTE = "csv_unclosed_quote"
    CSV_SYNTAX = "csv_syntax"
    CSV_CELL_COUNT = "csv_cell_count"

    FILE_UNKNOWN_TABLE = "file_unknown_table"
    FILE_UNKNOWN_FORMAT = "file_unknown_format"
    FILE_UNREADABLE = "file_unreadable"
    FILE_NOT_REGULAR = "file_not_regular"
    FILE_LINK = "file_link_not_followed"
    FILE_WRONG_MAGIC = "file_wrong_magic"
    FILE_TRUNCATED = "file_truncated"
    FILE_CORRUPT = "file_corrupt"
    FILE_TRAILING_GARBAGE = "file_trailing_garbage"
    FILE_UNPACKED_TOO_LARGE = "file_unpacked_too_large"
    FILE_UNREADABLE_PARQUET = "file_unreadable_parquet"
    FILE_CSV_HEADER = "file_csv_header"
    FILE_CHANGED = "file_changed"
    FILE_SECRET_IN_NAME = "file_secret_in_name"


class Explanation(NamedTuple):
    """What a code means and what to do about it."""

    meaning: str
    remedy: str


class LandingError(Exception):
    """Landing cannot work at all as it was called; the message names the remedy."""


class FileFailure(Exception):
    """One file cannot be landed, for a reason of the closed list."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.detail = detail


@functools.cache
def explanations(path: Path = SEEDS / "rejection_reasons.csv") -> Mapping[str, Explanation]:
    """Meaning and remedy by code."""
    with path.open(newline="", encoding="utf-8") as file:
        return {
            row["code"]: Explanation(row["meaning"], row["remedy"]) for row in csv.DictReader(file)
        }


def message(path: str, reason: str, *, line: int | None = None, field: str | None = None) -> str:
    """One sentence that names file, line, field and remedy."""
    meaning, remedy = explanations()[reason]
    place = path if line is None else f"{path}, line {line}"
    where = f" (field {field})" if field else ""
    return f"{place}: {meaning}{where}. {remedy}"
