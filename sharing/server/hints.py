"""Which files a client surely does not need: its predicate on the day of a file.

Belongs here: the JSON predicates of the protocol, as far as they are about days. Does not belong
here: predicates in SQL, which are hints too and are left to the client.

Whatever is not understood is unknown, and only what is surely false leaves a file out.
"""

import json
import operator
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "equal": operator.eq,
    "lessThan": operator.lt,
    "lessThanOrEqual": operator.le,
    "greaterThan": operator.gt,
    "greaterThanOrEqual": operator.ge,
}


def read(text: object) -> Any:
    """A predicate; None for what is none."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def may_match(predicate: Any, column: str | None, day: str) -> bool:
    """Whether rows of a file may match; `day`: its value of the partition column, '' for null."""
    try:
        return _truth(predicate, column, day) is not False
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError):
        return True


def _truth(node: Any, column: str | None, day: str) -> bool | None:
    """True, False or unknown (None) for every row of the file."""
    name, children = node["op"], node.get("children", [])
    if name in ("and", "or"):
        found = [_known(child, column, day) for child in children]
        decisive: bool = name == "or"
        if decisive in found:
            return decisive
        return None if None in found or not found else not decisive
    if name == "not":
        [child] = children
        found_one = _truth(child, column, day)
        return None if found_one is None else not found_one
    if name == "isNull":
        [child] = children
        return day == "" if _is_day(child, column) else None
    if name in COMPARISONS and day:
        left, right = (_value(child, column, day) for child in children)
        return bool(COMPARISONS[name](left, right))
    return None


def _known(node: Any, column: str | None, day: str) -> bool | None:
    # of several conditions those that are understood count
    try:
        return _truth(node, column, day)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def _is_day(node: Any, column: str | None) -> bool:
    return node["op"] == "column" and column is not None and node["name"].lower() == column.lower()


def _value(node: Any, column: str | None, day: str) -> date:
    """Raises ValueError or KeyError for what is no day."""
    if _is_day(node, column):
        return date.fromisoformat(day)
    if node["op"] != "literal" or node["valueType"] != "date":
        raise ValueError("no literal of a day")
    return date.fromisoformat(node["value"])
