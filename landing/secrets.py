"""What may never be stored: credentials in keys, in values and in broken lines.

The rules are data (`seeds/secret_rules.csv`), written for RE2 and Python alike:
`key_deny`/`key_allow` match a whole object key (in lower case, `-` as `_`), at any depth, and a
denied key is dropped; `value` rules redact the matching part of any string. `anchors` are
lower-case literals, separated by blanks, one of which every match contains: looking for them
first costs 3 µs a line where Python's `re` over all patterns costs 300 µs (2-core machine).

Belongs here: finding and removing. Does not: deciding whether a record is accepted.
"""

import csv
import functools
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from landing.contract import SEEDS

DROPPED = "[redacted]"


class ValueRule(NamedTuple):
    """One pattern on string values; `replacement` may refer to groups as `\\1`."""

    rule_id: str
    anchors: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str


@dataclass(frozen=True)
class SecretRules:
    """All rules, compiled."""

    deny: tuple[tuple[str, re.Pattern[str]], ...]
    allow: tuple[re.Pattern[str], ...]
    values: tuple[ValueRule, ...]
    prefilter: str
    """RE2 alternation of every value rule: a line without escapes that does not match it holds
    no secret in a value (1 s for 741 MB on 2 cores)."""
    key_cache: dict[str, str | None]

    def denied(self, key: str) -> str | None:
        """The rule that forbids this object key, or None."""
        try:
            return self.key_cache[key]
        except KeyError:
            rule = self._denied(key)
            if len(self.key_cache) < 100_000:  # keys come from outside: bound what is remembered
                self.key_cache[key] = rule
            return rule

    def _denied(self, key: str) -> str | None:
        name = key.lower().replace("-", "_").replace(" ", "_")
        if any(pattern.fullmatch(name) for pattern in self.allow):
            return None
        for rule_id, pattern in self.deny:
            if pattern.fullmatch(name):
                return rule_id
        return None

    def redact_value(self, text: str, found: Counter[str]) -> str:
        """The string with every match of a value rule replaced; matches counted by rule."""
        lowered = text.lower()
        for rule in self.values:
            if any(anchor in lowered for anchor in rule.anchors):
                text, count = rule.pattern.subn(rule.replacement, text)
                if count:
                    found[rule.rule_id] += count
        return text

    def redact(self, value: Any, found: Counter[str], *, values: bool = True) -> Any:
        """The value without denied keys and, if `values`, with its strings redacted.

        Returns the very same object where nothing changed, so that `is` tells.
        """
        if type(value) is str:
            return self.redact_value(value, found) if values else value
        if type(value) is dict:
            return self._redact_object(value, found, values=values)
        if type(value) is list:
            items = [self.redact(item, found, values=values) for item in value]
            changed = any(new is not old for new, old in zip(items, value, strict=True))
            return items if changed else value
        return value

    def _redact_object(
        self, value: dict[str, Any], found: Counter[str], *, values: bool
    ) -> dict[str, Any]:
        changed: dict[str, Any] | None = None
        for key, item in value.items():
            rule = self.denied(key)
            if rule is not None and item is not None:
                changed = dict(value) if changed is None else changed
                del changed[key]
                found[rule] += 1
                continue
            new = item
            if type(item) is dict or type(item) is list or (values and type(item) is str):
                new = self.redact(item, found, values=values)
            if new is not item:
                changed = dict(value) if changed is None else changed
                changed[key] = new
        if values and any(self.redact_value(key, Counter()) != key for key in value):
            source = value if changed is None else changed
            changed = {self.redact_value(key, found): item for key, item in source.items()}
        return value if changed is None else changed

    def redact_text(self, text: str, found: Counter[str]) -> str:
        """A line that is no valid record: value rules, and `key: value` of denied keys."""

        pieces: list[str] = []
        end = 0
        for match in _KEY.finditer(text):
            rule = self.denied(match["key"]) if match.start() >= end else None
            value = _VALUE.match(text, match.end()) if rule is not None else None
            if rule is not None and value is not None:
                pieces += [text[end : match.end()], DROPPED]
                end = value.end()
                found[rule] += 1
        return self.redact_value("".join(pieces) + text[end:], found)


# in text that is no valid record: a key with its `:` or `=`, then a string (also escaped, also
# unclosed), an object or array up to its first closer, or a bare word
_KEY = re.compile(r"""(?P<key>[A-Za-z][A-Za-z0-9_.-]{0,63})\\*["']?\s*[:=]\s*""")
_VALUE = re.compile(
    r"""\\+"(?:[^"\\]|\\+[^"\\])*(?:\\+")?|"(?:[^"\\]|\\.)*"?|'[^']*'?"""
    r"""|\{[^}]*\}?|\[[^\]]*\]?|[^\s,;&}\]"']+"""
)


@functools.cache
def load_rules(path: Path = SEEDS / "secret_rules.csv") -> SecretRules:
    """The rules of the seed file, compiled."""
    with path.open(newline="", encoding="utf-8") as file:
        rows: list[Mapping[str, str]] = list(csv.DictReader(file))
    values = tuple(
        ValueRule(
            row["rule_id"],
            tuple(row["anchors"].split()),
            re.compile(row["pattern"]),
            row["replacement"],
        )
        for row in rows
        if row["kind"] == "value"
    )
    return SecretRules(
        deny=tuple(
            (row["rule_id"], re.compile(row["pattern"]))
            for row in rows
            if row["kind"] == "key_deny"
        ),
        allow=tuple(re.compile(row["pattern"]) for row in rows if row["kind"] == "key_allow"),
        values=values,
        prefilter="|".join(f"(?:{rule.pattern.pattern})" for rule in values),
        key_cache={},
    )
