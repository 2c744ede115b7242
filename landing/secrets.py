"""What may never be stored: credentials in keys, in values and in broken lines.

The rules are data (`seeds/secret_rules.csv`), written for RE2 and Python alike:
`key_deny`/`key_allow` match a whole object key (in lower case, `-` as `_`), at any depth, and a
denied key is dropped; `value` rules redact the matching part of any string. `anchors` are
literals, separated by `|`, one of which every match contains (in lower case where the pattern
ignores case): they are looked for first, because Python's `re` tries every pattern at every
position.

Belongs here: finding and removing. Does not: deciding whether a record is accepted.
"""

import csv
import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from landing.contract import SEEDS

DROPPED = "[redacted]"


class ValueRule(NamedTuple):
    """One pattern on string values; the replacement may refer to groups by number."""

    rule_id: str
    anchors: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str
    ignores_case: bool

    def may_match(self, text: str, lowered: str) -> bool:
        """Whether one of the anchors stands in the text."""
        haystack = lowered if self.ignores_case else text
        for anchor in self.anchors:  # noqa: SIM110 - any() takes three times as long here
            if anchor in haystack:
                return True
        return False


@dataclass(frozen=True)
class SecretRules:
    """All rules, compiled."""

    deny: tuple[tuple[str, re.Pattern[str]], ...]
    allow: tuple[re.Pattern[str], ...]
    values: tuple[ValueRule, ...]
    prefilter: str
    """RE2 alternation of every value rule: a line without escapes that does not match it holds
    no secret in a value (1 s for 741 MB on 2 cores)."""
    exact_anchors: tuple[tuple[str, ValueRule], ...]
    loose_anchors: tuple[tuple[str, ValueRule], ...]
    key_cache: dict[str, str | None]

    def denied(self, key: str) -> str | None:
        """Return the rule that forbids this object key, or None."""
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

    def candidates(self, text: str) -> list[ValueRule]:
        """Return the value rules that could match somewhere in a text without escapes."""
        lowered = text.lower()
        exact = [rule for anchor, rule in self.exact_anchors if anchor in text]
        loose = [rule for anchor, rule in self.loose_anchors if anchor in lowered]
        if not exact and not loose:
            return []
        return [rule for rule in self.values if rule in exact or rule in loose]

    def redact_value(self, text: str, found: Counter[str]) -> str:
        """Return the string with every match of a value rule replaced; matches counted by rule."""
        return _replace(text, self.candidates(text), found)

    def redact(self, record: Any, text: str, found: Counter[str]) -> Any:
        """Return the record without denied keys and with its strings redacted.

        `text` holds every string of the record as it is (JSON whose only escapes are those of
        quotes, backslashes and controls); "" says that no value rule can match. Returns the very
        same object where nothing changed, so that `is` tells.
        """
        return self._redact(record, self.candidates(text) if text else [], found)

    def _redact(self, value: Any, rules: Sequence[ValueRule], found: Counter[str]) -> Any:
        if type(value) is str:
            return _replace(value, rules, found)
        if type(value) is list:
            items = [self._redact(item, rules, found) for item in value]
            changed = any(new is not old for new, old in zip(items, value, strict=True))
            return items if changed else value
        if type(value) is not dict:
            return value
        clean: dict[str, Any] | None = None
        for key, item in value.items():
            rule = self.denied(key)
            if rule is not None and item is not None:
                clean = dict(value) if clean is None else clean
                del clean[key]
                found[rule] += 1
                continue
            kind = type(item)
            if kind is dict or kind is list or (rules and kind is str):
                new = self._redact(item, rules, found)
                if new is not item:
                    clean = dict(value) if clean is None else clean
                    clean[key] = new
        result = value if clean is None else clean
        if rules and any(_replace(key, rules, Counter()) != key for key in result):
            return {_replace(key, rules, found): item for key, item in result.items()}
        return result

    def redact_line(self, text: str, found: Counter[str]) -> str:
        """Redact a rejected line: as the JSON that it may be, and as text.

        The text itself comes back when no rule matches.
        """
        try:
            record = orjson.loads(text)
            clean = self.redact(record, orjson.dumps(record).decode(), found)
            if clean is not record:
                text = orjson.dumps(clean).decode()
        except orjson.JSONDecodeError:
            pass
        # escapes could hide a key or a value from the patterns
        plain = _ESCAPE.sub(lambda match: chr(int(match[1] or "2f", 16)), text)
        redacted = self._redact_text(plain, found)
        return text if redacted == plain else redacted

    def _redact_text(self, text: str, found: Counter[str]) -> str:
        """Redact by value rules, and the values that follow denied keys."""
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


def _replace(text: str, rules: Sequence[ValueRule], found: Counter[str]) -> str:
    if not rules:
        return text
    lowered = text.lower()
    for rule in rules:
        if rule.may_match(text, lowered):
            text, count = rule.pattern.subn(rule.replacement, text)
            if count:
                found[rule.rule_id] += count
    return text


# printable ASCII as an escape, but for the quote and the backslash
_ESCAPE = re.compile(r"\\(?:/|u00(2[013-9a-fA-F]|[346][0-9a-fA-F]|5[0-9abABd-fD-F]|7[0-9a-eA-E]))")

# in text that is no valid record: a key with its `:` or `=`, then a string (also escaped, also
# unclosed), an object or array up to its first closer, or a bare word
_KEY = re.compile(r"""(?P<key>[A-Za-z][A-Za-z0-9_.-]{0,63})\\*["']?\s*[:=]\s*""")
_VALUE = re.compile(
    r"""\\+"(?:[^"\\]|\\+[^"\\])*(?:\\+")?|"(?:[^"\\]|\\.)*"?|'[^']*'?"""
    r"""|\{[^}]*\}?|\[[^\]]*\]?|[^\s,;&}\]"']+"""
)


@functools.cache
def load_rules(path: Path = SEEDS / "secret_rules.csv") -> SecretRules:
    """Return the rules of the seed file, compiled."""
    with path.open(newline="", encoding="utf-8") as file:
        rows: list[Mapping[str, str]] = list(csv.DictReader(file))
    values = tuple(
        ValueRule(
            row["rule_id"],
            tuple(row["anchors"].split("|")),
            re.compile(row["pattern"]),
            row["replacement"],
            row["pattern"].startswith("(?i)"),
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
        exact_anchors=tuple((a, r) for r in values if not r.ignores_case for a in r.anchors),
        loose_anchors=tuple((a, r) for r in values if r.ignores_case for a in r.anchors),
        key_cache={},
    )
