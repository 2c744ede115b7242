"""shares.yml is refused with file, field and remedy; what it may say a pure function decides."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from shares import CONTRACT, HASH_KEY, ROOT, SHARE, columns

from sharing import load
from sharing.compiler import STREAM, Compiled, Refusal, compile_share
from sharing.contract import Column, Table, read_contract
from sharing.definitions import NO_SHARES, Consumer, Share, SharesFileError
from sharing.plans import Plan, Workspace, oldest_day, read_plans
from sharing.treatments import bind_key, fingerprint, hashed, read_key, truncated

TODAY = date(2026, 3, 10)
PLANS = read_plans(ROOT / "seeds" / "plans.csv")
WORKSPACES = {
    id_: Workspace(id_, plan)
    for id_, plan in {"ws_a": "enterprise", "ws_b": "enterprise", "ws_c": "growth"}.items()
}
DESTINATION = {"kind": "folder", "url": "file:///srv/acme"}


def document(**share: Any) -> dict[str, Any]:
    consumer = {"workspace_ids": ["ws_a"], "contact": "data@acme.example"}
    shares = [{**SHARE, "destination": DESTINATION, **share}]
    return {"consumers": {"acme": consumer}, "shares": shares}


def message(tmp_path: Path, content: Any) -> str:
    path = tmp_path / "shares.yml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(SharesFileError) as caught:
        load(path)
    text = str(caught.value)
    assert all(line.startswith(f"{path}: ") for line in text.splitlines())
    return text


# the file


def test_no_file_and_an_empty_one_mean_no_shares(tmp_path: Path) -> None:
    assert load(tmp_path / "shares.yml") == NO_SHARES
    (tmp_path / "shares.yml").write_text("# nobody yet\n")
    assert load(tmp_path / "shares.yml") == NO_SHARES


def test_the_file_of_the_documentation_is_one(tmp_path: Path) -> None:
    blocks = (ROOT / "README.md").read_text().split("```yaml\n")[1:]
    [text] = [block.split("```")[0] for block in blocks if block.startswith("consumers:")]
    (tmp_path / "shares.yml").write_text(text)
    assert load(tmp_path / "shares.yml").shares


def without(name: str) -> dict[str, Any]:
    content = document()
    del content["shares"][0][name]
    return content


FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "an unknown key": (
        lambda: document(tabels=[]),
        "shares[0].tabels: unknown here. Correct its spelling or take it out.",
    ),
    "an unknown key deep inside": (
        lambda: document(destination={**DESTINATION, "acl": "public"}),
        "shares[0].destination.acl: unknown here",
    ),
    "no environment": (lambda: without("environment"), "shares[0].environment: missing. Add it."),
    "both environments": (
        lambda: document(environment=["production", "sandbox"]),
        "shares[0].environment: one environment a share",
    ),
    "another environment": (
        lambda: document(environment="staging"),
        "shares[0].environment: has to be 'production' or 'sandbox'.",
    ),
    "no capability": (lambda: without("capability"), "shares[0].capability: missing"),
    "a consumer nobody knows": (lambda: document(consumer="acne"), "shares[0].consumer is not"),
    "columns and a profile": (
        lambda: document(tables=[{"model": "fct_x", "columns": ["a"], "profile": "full"}]),
        "shares[0].tables[0]: needs either columns or a profile, and not both.",
    ),
    "neither": (lambda: document(tables=[{"model": "fct_x"}]), "needs either columns or a profile"),
    "no column": (
        lambda: document(tables=[{"model": "fct_x", "columns": []}]),
        "columns is empty: name at least one",
    ),
    "no table": (lambda: document(tables=[]), "shares[0].tables: "),
    "a table twice": (
        lambda: document(tables=[{"model": "fct_x", "profile": "full"}] * 2),
        "shares[0].tables: names a model twice",
    ),
    "SQL instead of a column": (
        lambda: document(tables=[{"model": "fct_x", "columns": ["a; drop table b"]}]),
        "shares[0].tables[0].columns[0]: has to match",
    ),
    "SQL instead of a model": (
        lambda: document(tables=[{"model": "fct_x where true", "profile": "full"}]),
        "shares[0].tables[0].model: has to match",
    ),
    "a secret written down": (
        lambda: document(hash_key={"id": "k1", "secret": "hunter2hunter2"}),
        "shares[0].hash_key.secret: a secret is named, never written down: env:NAME",
    ),
    "credentials in a URL": (
        lambda: document(destination={"kind": "s3", "url": "s3://AKIA:hunter2@bucket/x"}),
        "the URL carries credentials: name them in secret",
    ),
    "a bucket without credentials": (
        lambda: document(destination={"kind": "s3", "url": "s3://bucket/x"}),
        "secret is missing",
    ),
    "a whole bucket": (
        lambda: document(destination={"kind": "s3", "url": "s3://bucket/", "secret": "env:A"}),
        "a folder or prefix of this share's own",
    ),
    "a relative folder": (
        lambda: document(destination={"kind": "folder", "url": "out/acme"}),
        "has to be absolute",
    ),
    "a folder above": (
        lambda: document(destination={"kind": "folder", "url": "file:///srv/../etc"}),
        "a folder or prefix of this share's own",
    ),
    "no days of history": (lambda: document(retention=0), "shares[0].retention"),
    "a number in quotes": (lambda: document(retention="30"), "shares[0].retention"),
    "an unknown treatment": (
        lambda: document(pii={"ip": "blur"}),
        "shares[0].pii.ip: has to be 'keep', 'drop', 'truncate' or 'keyed_hash'.",
    ),
    "no YAML": (lambda: "consumers: [\n", "line 2"),
    "a list": (lambda: [1], "the file: "),
    "a key twice": (
        lambda: "consumers: {}\nshares: []\nconsumers: {}\n",
        "line 1: a key stands there twice",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_by_file_field_and_remedy(tmp_path: Path, name: str) -> None:
    content, said = FAULTS[name]
    text = message(tmp_path, content())
    assert said in text
    assert "hunter2" not in text


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = message(tmp_path, document(format="csv", environment="staging"))
    assert len(text.splitlines()) == 2


def test_two_shares_have_two_names_and_two_places(tmp_path: Path) -> None:
    content = document()
    [first] = content["shares"]
    content["shares"].append({**first, "destination": {"kind": "folder", "url": "file:///b"}})
    assert "two shares have one name" in message(tmp_path, content)
    for url in ("file:///srv/acme", "file:///srv/acme/", "file:///srv/acme/sandbox"):
        content["shares"][1] = {**first, "name": "b", "destination": {**DESTINATION, "url": url}}
        assert "one destination, or one lies inside" in message(tmp_path, content)
    content["shares"][1]["destination"]["url"] = "file:///srv/acme2"
    (tmp_path / "shares.yml").write_text(yaml.safe_dump(content))
    assert len(load(tmp_path / "shares.yml").shares) == 2


def test_no_share_goes_into_the_landing_folder(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/landing/out"
    content = document(destination={"kind": "folder", "url": url})
    (tmp_path / "shares.yml").write_text(yaml.safe_dump(content))
    with pytest.raises(SharesFileError, match="lies in the landing folder"):
        load(tmp_path / "shares.yml", tmp_path / "landing")


# the compiler


def compiled(
    workspace_ids: tuple[str, ...] = ("ws_a",), status: str = "active", **share: Any
) -> Compiled | list[Refusal]:
    consumer = Consumer.model_validate(
        {"workspace_ids": list(workspace_ids), "contact": "c", "status": status}
    )
    return compile_share(
        Share.model_validate({**SHARE, "destination": DESTINATION, **share}),
        consumer,
        contract=CONTRACT,
        plans=PLANS,
        workspaces=WORKSPACES,
        today=TODAY,
    )


def codes(found: Compiled | list[Refusal]) -> list[str]:
    assert isinstance(found, list)
    assert all(refusal.message.endswith(".") or "http" in refusal.message for refusal in found)
    return [refusal.code for refusal in found]


def things(*names: str, **share: Any) -> Compiled | list[Refusal]:
    return compiled(tables=[{"model": "fct_things", "columns": list(names)}], **share)


def names_of(found: Compiled | list[Refusal]) -> list[str]:
    assert isinstance(found, Compiled)
    return [column.name for column in found.slices[0].columns]


def test_scope_goes_along_with_every_table_in_the_order_of_the_contract() -> None:
    assert names_of(things("note", "event_id", pii={})) == [
        "workspace_id",
        "event_id",
        "note",
        "activity_date",
        "environment",
    ]


def test_no_value_of_the_file_is_in_the_sql() -> None:
    found = compiled()
    assert isinstance(found, Compiled)
    for one in found.slices:
        assert "ws_a" not in one.query and "usr_ops_1" not in one.query
        assert "2024" not in one.query


def test_a_profile_leaves_out_what_names_a_person_unless_told_otherwise() -> None:
    full = [{"model": "fct_things", "profile": "full"}]
    assert "user_id" not in names_of(compiled(tables=full, pii={}))
    assert "user_id" in names_of(compiled(tables=full, pii={"user_id": "keep"}))
    found = compiled(tables=full, pii={})
    assert isinstance(found, Compiled) and found.slices[0].dropped == ("user_id",)


def test_a_profile_never_holds_a_secret() -> None:
    tokens = [{"model": "fct_tokens", "profile": "full"}]
    assert names_of(compiled(tables=tokens, pii={})) == ["workspace_id", "environment"]


@pytest.mark.parametrize(
    ("pii", "names", "code"),
    [
        ({"workspace_id": "keyed_hash"}, ["note"], "treatment_unfit"),
        ({"environment": "truncate"}, ["note"], "treatment_unfit"),
        ({"score": "keyed_hash"}, ["score"], "treatment_unfit"),
        ({"note": "truncate"}, ["note"], "treatment_unfit"),
        ({"user": "drop"}, ["user_id"], "column_unknown"),
    ],
)
def test_a_treatment_that_does_not_fit_is_refused(
    pii: dict[str, str], names: list[str], code: str
) -> None:
    assert codes(things(*names, pii=pii)) == [code]


def test_a_hash_without_a_key_is_refused() -> None:
    assert codes(things("user_id", hash_key=None)) == ["hash_key_missing"]


def test_every_reason_is_told() -> None:
    found = compiled(
        ("ws_c", "ws_x"),
        "paused",
        tables=[
            {"model": "fct_screens", "profile": "full"},
            {"model": "fct_things", "columns": ["nothing"]},
        ],
    )
    assert set(codes(found)) == {
        "paused",
        "capability_missing",
        "workspace_unknown",
        "console_only",
        "column_unknown",
    }


def test_a_console_only_view_is_refused_with_its_link() -> None:
    found = compiled(tables=[{"model": "fct_screens", "profile": "full"}], pii={})
    assert isinstance(found, list)
    assert "https://console.example/screens" in found[0].message


def test_a_table_that_can_not_be_divided_is_refused() -> None:
    contract = {"dim_plans": Table("dim_plans", columns(plan_id="string", environment="string"))}
    share = {**SHARE, "destination": DESTINATION, "pii": {}}
    share["tables"] = [{"model": "dim_plans", "profile": "full"}]
    found = compile_share(
        Share.model_validate(share),
        Consumer(workspace_ids=["ws_a"], contact="c"),
        contract=contract,
        plans=PLANS,
        workspaces=WORKSPACES,
        today=TODAY,
    )
    assert codes(found) == ["table_without_scope"]


def test_a_type_that_delta_lacks_is_refused() -> None:
    contract = {
        "fct_x": Table(
            "fct_x", columns(workspace_id="string", amount="decimal(9,2)", environment="string")
        )
    }
    share = {**SHARE, "destination": DESTINATION, "pii": {}}
    share["tables"] = [{"model": "fct_x", "columns": ["amount"]}]
    found = compile_share(
        Share.model_validate(share),
        Consumer(workspace_ids=["ws_a"], contact="c"),
        contract=contract,
        plans=PLANS,
        workspaces=WORKSPACES,
        today=TODAY,
    )
    assert codes(found) == ["type_unknown"]


def test_a_plan_is_of_its_environment() -> None:
    plans = {("enterprise", "production"): PLANS["enterprise", "production"]}
    share = Share.model_validate({**SHARE, "destination": DESTINATION, "environment": "sandbox"})
    found = compile_share(
        share,
        Consumer(workspace_ids=["ws_a"], contact="c"),
        contract=CONTRACT,
        plans=plans,
        workspaces=WORKSPACES,
        today=TODAY,
    )
    assert codes(found) == ["plan_unknown"]


def test_a_deleted_workspace_is_none() -> None:
    gone = {"ws_a": Workspace("ws_a", "enterprise", is_deleted=True)}
    share = Share.model_validate({**SHARE, "destination": DESTINATION})
    consumer = Consumer(workspace_ids=["ws_a"], contact="c")
    found = compile_share(
        share, consumer, contract=CONTRACT, plans=PLANS, workspaces=gone, today=TODAY
    )
    assert codes(found) == ["workspace_unknown"]


def test_a_stream_is_a_strict_subset_of_all_there_is() -> None:
    everything = (*STREAM, "workspace_id", "environment", "api_key_id", "summary")
    events = Table("fct_events", columns(**dict.fromkeys(everything, "string")))
    share = {**SHARE, "destination": DESTINATION, "pii": {"user_id": "keep"}}

    def shared(profile: str) -> set[str]:
        found = compile_share(
            Share.model_validate(
                {**share, "tables": [{"model": "fct_events", "profile": profile}]}
            ),
            Consumer(workspace_ids=["ws_a"], contact="c"),
            contract={"fct_events": events},
            plans=PLANS,
            workspaces=WORKSPACES,
            today=TODAY,
        )
        return set(names_of(found))

    assert shared("stream") < shared("full")
    assert codes(compiled(tables=[{"model": "fct_things", "profile": "stream"}], pii={})) == [
        "profile_unknown"
    ]
    assert codes(compiled(tables=[{"model": "fct_things", "profile": "all"}], pii={})) == [
        "profile_unknown"
    ]


def test_who_may_share_is_what_the_plans_say() -> None:
    def may(plan: str, capability: str) -> bool:
        return capability in PLANS[plan, "production"].capabilities

    assert [may("free", "export"), may("growth", "export"), may("enterprise", "export")] == [
        False,
        True,
        True,
    ]
    assert [may(plan, "warehouse_share") for plan in ("free", "growth", "enterprise")] == [
        False,
        False,
        True,
    ]


@given(
    st.dates(date(2000, 1, 1), date(2100, 1, 1)),
    st.none() | st.integers(1, 10**6),
    st.none() | st.integers(1, 10**6),
)
def test_the_shorter_retention_counts(today: date, plan: int | None, share: int | None) -> None:
    oldest = oldest_day(today, plan, share)
    for days in (plan, share):
        if days is not None and days < (today - date.min).days:
            assert oldest >= today - timedelta(days=days)
    assert oldest in (
        date.min,
        *(today - timedelta(days=d) for d in (plan, share) if d and d < (today - date.min).days),
    )
    assert Plan(plan, frozenset()).retention_days == plan


# the contract


def manifest() -> dict[str, Any]:
    def model(name: str, schema: str, meta: dict[str, Any], **types: str) -> dict[str, Any]:
        return {
            "name": name,
            "schema": schema,
            "resource_type": "model",
            "config": {"meta": meta},
            "columns": {
                column: {"data_type": kind, "tags": ["secret"] if "token" in column else []}
                for column, kind in types.items()
            },
        }

    def key(of: str, *names: str) -> dict[str, Any]:
        return {
            "resource_type": "test",
            "attached_node": of,
            "test_metadata": {"name": "key_is_unique", "kwargs": {"columns": list(names)}},
        }

    by_day = {"published_by_day": {"day": "session_date"}}
    console = {"console_only": True, "console_link": "https://c"}
    return {
        "exposures": {
            "e.a": {
                "name": "explorer",
                "config": {"meta": {**console, "console_link": "https://e"}},
            },
            "e.b": {"name": "report", "config": {"meta": {"console_only": False}}},
        },
        "nodes": {
            "m.a": model("fct_a", "production", {}, ws="string", activity_date="DATE"),
            "m.b": model("fct_b", "production", by_day, id="string", session_date="date"),
            "m.c": model("fct_c", "production", {}, activity_hour_at="timestamp"),
            "m.d": model("dim_d", "production", console, token="string"),
            "m.e": model("int_e", "production_intermediate", {}, id="string"),
            "t.a": key("m.a", "ws", "activity_date"),
            "t.b": key("m.b", "id"),
            "t.c": key("m.c", "activity_hour_at"),
        },
    }


def test_the_contract_tells_days_keys_tags_and_links() -> None:
    found = read_contract(manifest(), "production")
    assert found.pop("explorer") == Table("explorer", (), console_link="https://e")
    assert set(found) == {"fct_a", "fct_b", "fct_c", "dim_d"}
    days = {name: (table.day, table.day_of) for name, table in found.items()}
    assert days == {
        "fct_a": ("activity_date", None),
        "fct_b": ("session_date", None),
        "fct_c": ("activity_date", "activity_hour_at"),
        "dim_d": (None, None),
    }
    assert found["fct_a"].key == ("ws", "activity_date")
    assert found["fct_a"].columns[1].type == "date"
    assert found["dim_d"].console_link == "https://c"
    assert found["dim_d"].columns == (Column("token", "string", "", frozenset({"secret"})),)


# the treatments


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=200) | st.none(), min_size=1, max_size=20), st.binary(min_size=1))
def test_a_keyed_hash_is_hmac_sha256(values: list[str | None], key: bytes) -> None:
    with duckdb.connect() as connection:
        bind_key(connection, key)
        rows = connection.execute(
            f"select {hashed('v', 'k7')} from (select unnest(?::varchar[]) as v)", [values]
        ).fetchall()
    expected = [
        None if v is None else f"k7:{hmac.new(key, v.encode(), hashlib.sha256).hexdigest()}"
        for v in values
    ]
    assert [row[0] for row in rows] == expected


def test_keys_are_known_by_fingerprint_and_have_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_HASH_KEY", HASH_KEY)
    key = read_key("env:ACME_HASH_KEY")
    assert key == HASH_KEY.encode()
    assert fingerprint(key) != fingerprint(key[::-1])
    monkeypatch.setenv("ACME_HASH_KEY", "short")
    with pytest.raises(Exception, match="shorter than 32 bytes"):
        read_key("env:ACME_HASH_KEY")


def shortened(values: list[str]) -> list[str | None]:
    with duckdb.connect() as connection:
        query = f"select {truncated('v')} from (select unnest(?::varchar[]) as v)"
        return [row[0] for row in connection.execute(query, [values]).fetchall()]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.ip_addresses(v=4), min_size=1))
def test_of_ipv4_the_network_stays(addresses: list[ipaddress.IPv4Address]) -> None:
    networks = [
        str(ipaddress.ip_network(f"{one}/24", strict=False).network_address) for one in addresses
    ]
    assert shortened([str(one) for one in addresses]) == networks


@settings(deadline=None, max_examples=50)
@given(st.lists(st.ip_addresses(v=6), min_size=1), st.booleans())
def test_of_ipv6_no_more_than_the_network_stays(
    addresses: list[ipaddress.IPv6Address], is_long: bool
) -> None:
    found = shortened([one.exploded if is_long else str(one) for one in addresses])
    for address, text in zip(addresses, found, strict=True):
        assert text is not None
        network = ipaddress.ip_network(f"{address}/48", strict=False)
        kept = int(ipaddress.IPv6Address(text))
        assert kept & ((1 << 80) - 1) == 0
        assert kept in (int(network.network_address), kept & int(network.network_address))
        if is_long:
            assert kept == int(network.network_address)


def test_what_is_no_address_does_not_stay() -> None:
    odd = ["localhost", "", "1.2.3", "1.2.3.4, 5.6.7.8", "usr_1", "1.2.3.4:80"]
    assert shortened(odd) == [None] * len(odd)
    assert shortened(["::1", "2001:db8::1", "::ffff:1.2.3.4", "fe80:1:2:3::4"]) == [
        "::",
        "2001:db8::",
        "::",
        "fe80:1:2::",
    ]
