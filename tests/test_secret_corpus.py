"""How many secrets are found, and how much that is none, by rule; and the gate behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import stamina
from receivers import TOKEN, Receiver, running
from secret_corpus import Positive, benign, positives
from shares import DAY, HASH_KEY, World, event

from landing.secrets import load_rules

RULES = load_rules()
COVERED = ("stripe_key",)


def redacted(text: str) -> tuple[str, Counter[str]]:
    found: Counter[str] = Counter()
    return RULES.redact_value(text, found), found


def test_the_corpus_is_large_and_knows_every_rule() -> None:
    found = positives()
    assert len(found) >= 300 and len({one.text for one in found}) >= 0.98 * len(found)
    assert {one.rule for one in found} == {rule.rule_id for rule in RULES.values}
    assert len(benign()) >= 300 and len(set(benign())) >= 250
    assert positives() == found and benign() == benign()


def test_every_secret_is_removed() -> None:
    survived = [one for one in positives() if one.secret in redacted(one.text)[0]]
    recall = {rule: 1 - count / 10 for rule, count in Counter(one.rule for one in survived).items()}
    assert not survived, f"recall by rule, where it is not 1: {recall}"


def test_each_rule_finds_what_it_is_there_for() -> None:
    # but for one, whose secrets a broader rule before it takes
    own = Counter(one.rule for one in positives() if one.rule in redacted(one.text)[1])
    few = {rule.rule_id: own[rule.rule_id] for rule in RULES.values if own[rule.rule_id] < 8}
    assert set(few) <= {"ai_key"}


def test_nothing_benign_is_touched() -> None:
    hits: Counter[str] = Counter()
    for text in benign():
        after, found = redacted(text)
        assert (after == text) == (not found)
        hits += found
    assert not hits, f"false hits by rule: {dict(hits)}"


def test_without_a_rule_its_secrets_survive() -> None:
    # the corpus tells of each rule that is missing
    for rule in RULES.values:
        left = [one for one in RULES.values if one is not rule]
        survived = 0
        for one in positives():
            text = one.text
            if one.rule != rule.rule_id:
                continue
            for other in left:
                text = other.pattern.sub(other.replacement, text)
            survived += one.secret in text
        # these are also found by a broader one
        assert survived or rule.rule_id in COVERED, rule.rule_id


def test_the_gate_sees_what_landing_would_remove() -> None:
    connection = duckdb.connect()
    texts = [one.text for one in positives()]
    [(seen,)] = connection.execute(
        "select count(*) from (select unnest(?) as text) where regexp_matches(text, ?)",
        [texts, RULES.prefilter],
    ).fetchall()
    [(wrong,)] = connection.execute(
        "select count(*) from (select unnest(?) as text) where regexp_matches(text, ?)",
        [benign(), RULES.prefilter],
    ).fetchall()
    assert (seen, wrong) == (len(texts), 0)


# redaction switched off


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)
    monkeypatch.setenv("ACME_TOKEN", TOKEN)
    with stamina.set_testing(True, attempts=2), running(Receiver()) as found:
        yield found


def share_of(form: str, folder: Path, receiver: Receiver) -> World:
    world = World(folder).stay_open()
    capability = {"parquet": "warehouse_share", "delta": "warehouse_share", "hec": "push"}
    model = "fct_things" if form in ("parquet", "delta") else "fct_events"
    note = "note" if model == "fct_things" else "summary"
    world.share |= {
        "format": form,
        "capability": capability.get(form, "stream"),
        "tables": [{"model": model, "columns": ["event_id", note]}],
        "pii": {},
    }
    if form == "hec":
        world.share["destination"] = {
            "kind": "http",
            "url": receiver.url,
            "secret": "env:ACME_TOKEN",
        }
    return world


def first_of_each() -> list[Positive]:
    return list({one.rule: one for one in reversed(positives())}.values())


@pytest.mark.parametrize("form", ["parquet", "delta", "ndjson", "ocsf", "hec"])
def test_a_share_whose_redaction_was_switched_off_is_held_back(
    form: str, tmp_path: Path, receiver: Receiver
) -> None:
    chosen = first_of_each()
    world = share_of(form, tmp_path, receiver)
    world.add(*(event(f"api_{one.rule}", DAY, note=one.text) for one in chosen))
    outcome = world.step()
    assert (outcome.status, outcome.reason_code) == ("quarantined", "secret_found")
    [receipt] = world.receipts()
    expected = {rule for one in chosen for rule in redacted(one.text)[1]}
    assert set(receipt["secrets"]) == expected
    said = outcome.message + str(receipt)
    assert not [one.rule for one in chosen if one.secret in said]
    assert world.files() == {} and receiver.taken == []
    # with it on, all of it goes
    world.add(*(event(f"api_{one.rule}", DAY, note=redacted(one.text)[0]) for one in chosen))
    assert world.step().status == "committed"


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
def test_benign_strings_are_shared_as_they_are(
    form: str, tmp_path: Path, receiver: Receiver
) -> None:
    world = share_of(form, tmp_path, receiver)
    texts = sorted(set(benign()))
    world.add(*(event(f"api_{number}", DAY, note=text) for number, text in enumerate(texts)))
    assert world.step().status == "committed"
    if form == "ndjson":
        assert sorted(line["summary"] for line in world.lines()) == texts
    else:
        assert sorted(row[2] for row in world.consumed()) == texts
