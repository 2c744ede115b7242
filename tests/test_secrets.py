"""No credential is stored, whatever field, format or broken line it comes in; benign things are."""

import base64
import csv
import json
from collections import Counter

import duckdb
import pytest

from landing.contract import SEEDS
from landing.secrets import load_rules
from tests.landing_cases import Warehouse, audit, event, lines

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0"
HEX = "0123456789abcdef" * 2
MIXED = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5hJ7k"

# rule → (texts of which the second member must go, texts that must survive as they are)
VALUES: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    "pem_key": (
        [
            (f"-----BEGIN RSA PRIVATE KEY-----\n{MIXED}\n-----END RSA PRIVATE KEY-----", MIXED),
            (f"key: -----BEGIN PRIVATE KEY----- {MIXED}", MIXED),
        ],
        ["-----BEGIN CERTIFICATE-----", "the private key is rotated"],
    ),
    "authorization_header": (
        [
            ("Authorization: Bearer abc.def", "abc.def"),
            ("authorization=Basic dXNlcjpw", "dXNlcjpw"),
            ('{"Authorization": "Token 12345678"}', "12345678"),
            ("Proxy-Authorization: Digest username=x", "username"),
            # as CGI and WSGI name the header
            ("HTTP_AUTHORIZATION=Token 12345678", "12345678"),
            ("'HTTP_X_AUTHORIZATION': 'Token 12345678'", "12345678"),
        ],
        [
            "authorization failed",
            "missing authorization header",
            "authorization_code",
            "requires_authorization=true",
        ],
    ),
    "cookie_header": (
        [
            ("Cookie: sid=31d4d96e407aad42", "31d4d96e"),
            ("Set-Cookie: a=b; Path=/", "a=b"),
            ("'HTTP_COOKIE': 'sid=31d4d96e407aad42'", "31d4d96e"),
        ],
        ["cookies disabled", "cookie consent given", "show_cookie: yes"],
    ),
    "bearer_scheme": (
        [
            (f"sent bearer {MIXED}", MIXED),
            (f"Basic {base64.b64encode(b'user:pass:word').decode()}", "dXNlcjpwYXNz"),
        ],
        ["bearer of news", "basic authentication", "Basic plan"],
    ),
    "jwt": ([(f"token was {JWT} ok", JWT)], ["eyJ.x", "eyJabc", "hello.world.again"]),
    "jwt_base64": (
        [(base64.b64encode(JWT.encode()).decode(), base64.b64encode(JWT.encode()).decode()[:60])],
        ["ZXlK", "ZXlKabc"],
    ),
    "url_credentials": (
        [
            ("postgres://user:hunter22@db/x", "hunter22"),
            ("https://a:pa%40ss@host/", "pa%40ss"),
            ("redis://:s3cret@cache:6379", "s3cret"),
        ],
        ["https://host:8080/a@b", "http://example.com/?q=a:b@c", "urn:a:b"],
    ),
    "oauth_parameter": (
        [
            ("/cb?state=x&access_token=abcdef", "abcdef"),
            ("https://h/#id_token=qwerty", "qwerty"),
            ("/s3?X-Amz-Signature=deadbeef&x=1", "deadbeef"),
            ("/x?api_key=k1234", "k1234"),
            ("/saml?SAMLResponse=PHNhbWw", "PHNhbWw"),
        ],
        [
            "/cb?state=abcdef&scope=openid",
            "/x?token_type=bearer",
            "/x?page=2&sort=key",
            "/x?api_key_id=k1",
        ],
    ),
    "oauth_code": (
        [("/cb?code=4/0AX4XfWhabc&state=xyz", "4/0AX4XfWhabc")],
        ["/x?code=404", "/x?country_code=DE-BAYERN", "error code=invalid_grant"],
    ),
    "assigned_secret": (
        [
            ("login with password=hunter2 failed", "hunter2"),
            ("CLIENT_SECRET = abcd1234", "abcd1234"),
            ("MY_API_KEY='k-12345'", "k-12345"),
            ("aws_secret_access_key=wJalrXUtnFEMI", "wJalrX"),
        ],
        [
            "password=no",
            "method=password",
            "password_reset=done12345",
            "token_count=12345",
            "keyboard=qwertz",
        ],
    ),
    "stated_secret": (
        [
            ("the password is hunter2x", "hunter2x"),
            ("API key: k1234567", "k1234567"),
            ("access token: qwertyuiop", "qwertyuiop"),
        ],
        ["password: yes", "the password is weak", "wrong password", "passkey: registered"],
    ),
    "stripe_key": (
        [
            ("sk_" + "live_abcdefgh12345678", "abcdefgh12345678"),
            ("rk_" + "test_abcdefgh12", "abcdefgh12"),
        ],
        ["task_live_1", "risk_test_12345678", "sk_live_"],
    ),
    "prefixed_key": (
        [
            ("sk-" + "a1B2c3D4e5F6g7H8i9J0k1", "a1B2c3D4e5F6"),
            ("pat_" + "a1B2c3D4e5F6g7H8i9J0k1", "a1B2c3D4"),
        ],
        ["task-a1B2c3D4e5F6g7H8i9J0k1", "sk-short", "path_to_something_that_is_long"],
    ),
    "webhook_secret": ([("whsec_" + "a1B2c3D4e5", "a1B2c3D4e5")], ["whsec_", "whsec"]),
    "github_token": (
        [("ghp_" + MIXED, MIXED), ("ghs_" + MIXED, MIXED)],
        ["ghp_short", "ghq_" + MIXED],
    ),
    "github_pat": ([("github_pat_" + MIXED, MIXED)], ["github_pat_", "github_path_" + MIXED]),
    "slack_token": (
        [("xox" + "b-1234567890-abcdef", "1234567890-abcdef")],
        ["xoxo-kisses", "xoxb"],
    ),
    "slack_webhook": (
        [("https://hooks.slack." + "com/services/T000/B000/XXXXXXXX", "T000/B000")],
        ["https://slack.com/services"],
    ),
    "aws_access_key": (
        [("AKIA" + "IOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE")],
        ["AKIAlowercase1234567", "NAKIAIOSFODNN7EXAMPLE"],
    ),
    "google_api_key": ([("AIza" + MIXED[:35], MIXED[:35])], ["AIza-short"]),
    "google_oauth": (
        [("ya29." + MIXED, MIXED), ("GOCSPX-" + MIXED[:28], MIXED[:28])],
        ["ya29.", "ya29 x"],
    ),
    "gitlab_token": ([("glpat-" + MIXED[:20], MIXED[:20])], ["glpat-x", "glpath-" + MIXED[:20]]),
    "npm_token": ([("npm_" + MIXED[:36], MIXED[:36])], ["npm_install", "npm_config_cache_folder"]),
    "pypi_token": ([("pypi-" + MIXED, MIXED)], ["pypi-package"]),
    "hugging_face_token": ([("hf_" + MIXED[:34], MIXED[:34])], ["hf_model", "shf_" + MIXED]),
    "ai_key": (
        [("sk-" + "proj-" + MIXED[:18] + "_x", MIXED[:18])],
        ["sk-proj-x", "risk-project-overview-abcdef"],
    ),
    "sendgrid_key": ([("SG." + MIXED[:22] + "." + MIXED, MIXED)], ["SG.x.y", "MSG.one"]),
    "twilio_key": ([("SK" + HEX, HEX)], ["SK" + HEX[:30], "SKU" + HEX, "TASK" + HEX]),
    "shopify_token": ([("shpat_" + HEX, HEX)], ["shpat_12", "shape_" + HEX]),
    "digitalocean_token": ([("dop_v1_" + HEX * 2, HEX)], ["dop_v1_", "dop_v2_" + HEX]),
    "azure_key": (
        [("AccountName=a;AccountKey=" + MIXED + "==", MIXED)],
        ["AccountKey=", "accountkeys"],
    ),
    "telegram_token": ([("123456789:AA" + MIXED[:33], MIXED[:33])], ["12:AAbc", "10:30:AA"]),
    "vault_token": ([("hvs." + MIXED, MIXED)], ["hvs.x", "hvac." + MIXED]),
    "age_key": ([("AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54", "QPZRY9X8")], ["AGE-SECRET-KEY-"]),
}

KEYS: dict[str, tuple[list[str], list[str]]] = {
    "deny_authorization": (
        ["authorization", "proxy-authorization", "auth_header", "HTTP_AUTHORIZATION"],
        ["authorization_type", "authorized", "author"],
    ),
    "deny_cookie": (
        ["cookie", "Set-Cookie", "cookies", "session_cookie_value", "HTTP_COOKIE"],
        ["cookie_name", "cookie_consent"],
    ),
    "deny_token": (
        [
            "token",
            "access_token",
            "refreshToken",
            "id_token",
            "csrf_tokens",
            "jwt",
            "accesstoken",
            "token_value",
        ],
        [
            "token_type",
            "token_count",
            "tokens_used",
            "token_id",
            "input_tokens",
            "token_expires_at",
            "max_tokens",
            "tokenizer",
            "broken",
        ],
    ),
    "deny_secret": (
        ["secret", "client_secret", "clientSecret", "webhook_secrets", "secret_value"],
        ["secret_id", "has_secret", "secretary", "secret_rotated_at"],
    ),
    "deny_password": (
        [
            "password",
            "new_password",
            "passwd",
            "pwd",
            "passphrase",
            "password_hash",
            "Password-Confirmation",
            "pin_code",
        ],
        [
            "password_reset",
            "password_changed_at",
            "password_strength",
            "compass",
            "bypass",
            "passkey",
        ],
    ),
    "deny_api_key": (
        [
            "api_key",
            "apikey",
            "x-api-key",
            "private_key",
            "aws_access_key",
            "secret_access_key",
            "signing_key",
        ],
        ["api_key_id", "key_id", "api_key_name", "key", "keyboard", "access_key_id"],
    ),
    "deny_one_time_code": (
        [
            "otp",
            "totp",
            "mfa_code",
            "recovery_codes",
            "one_time_password",
            "verification_code",
            "auth_code",
        ],
        ["error_code", "status_code", "country_code", "code", "otp_verified"],
    ),
    "deny_oauth_exchange": (
        ["code_verifier", "client_assertion", "assertion", "SAMLResponse"],
        ["state", "code_challenge_method", "assertion_count", "nonce"],
    ),
    "deny_credential": (
        ["credential", "credentials", "connection_string", "database_url", "dsn"],
        ["credential_id", "credential_type", "url"],
    ),
    "deny_signature": (
        ["signature", "x_signature", "sig", "hmac"],
        ["signature_version", "signed"],
    ),
    "deny_key_material": (
        ["pem", "keystore", "seed_phrase", "tls_pem"],
        ["item", "mnemonics_count"],
    ),
}

ALLOWED: dict[str, list[str]] = {
    "allow_token_count": ["token_type", "refresh_token_expires_at", "token_count"],
    "allow_token_metrics": ["input_tokens", "total_tokens"],
    "allow_key_identifiers": ["api_key_id", "secret_name", "password_changed_at", "session_id"],
    "allow_key_flags": ["has_password", "is_token_valid", "requires_otp"],
    "allow_authorization_words": ["authorization_type", "authorization_result"],
}


def seed_rows() -> list[dict[str, str]]:
    with (SEEDS / "secret_rules.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_rule_has_examples():
    rows = seed_rows()
    by_kind = {
        kind: {r["rule_id"] for r in rows if r["kind"] == kind}
        for kind in ("value", "key_deny", "key_allow")
    }
    assert len(rows) == sum(map(len, by_kind.values()))
    assert by_kind == {"value": set(VALUES), "key_deny": set(KEYS), "key_allow": set(ALLOWED)}
    assert all(row["description"] for row in rows)


@pytest.mark.parametrize("rule_id", VALUES)
def test_a_value_rule_redacts_its_secrets_and_leaves_the_benign(rule_id):
    rules = load_rules()
    (rule,) = [rule for rule in rules.values if rule.rule_id == rule_id]
    connection = duckdb.connect()
    secrets, benign = VALUES[rule_id]
    for text, secret in secrets:
        assert secret in text
        assert rule.may_match(text, text.lower()), text
        assert rule.pattern.search(text), text
        found: Counter[str] = Counter()
        assert secret not in rules.redact_value(text, found)
        assert sum(found.values()) >= 1 and secret not in str(found)
        matched = "select regexp_matches(?, ?), regexp_matches(?, ?)"
        row = connection.execute(matched, [text, rule.pattern.pattern, text, rules.prefilter])
        assert row.fetchall() == [(True, True)], text
    for text in benign:
        assert not rule.pattern.search(text), text
        assert rules.redact_value(text, Counter()) == text
        row = connection.execute("select regexp_matches(?, ?)", [text, rule.pattern.pattern])
        assert row.fetchall() == [(False,)], text


@pytest.mark.parametrize("rule_id", KEYS)
def test_a_key_rule_denies_its_keys_and_leaves_the_benign(rule_id):
    denied, benign = KEYS[rule_id]
    rules = load_rules()
    (pattern,) = [pattern for name, pattern in rules.deny if name == rule_id]
    for key in denied:
        assert rules.denied(key), key
    assert any(pattern.fullmatch(key.lower().replace("-", "_")) for key in denied)
    for key in benign:
        assert rules.denied(key) is None, key


@pytest.mark.parametrize("rule_id", ALLOWED)
def test_an_allowed_key_stays(rule_id):
    for key in ALLOWED[rule_id]:
        assert load_rules().denied(key) is None, key


def test_what_the_marts_need_is_never_redacted():
    record = event(
        type="token_refresh",
        session_id="ses_" + HEX,
        trace_id=HEX,
        api_key_id="key_" + HEX[:20],
        service_id="550e8400-e29b-41d4-a716-446655440000",
        user_agent="python-requests/2.31",
        data={
            "outcome": "failure",
            "method": "password",
            "failure_reason": "invalid_token",
            "key_id": "k1",
            "token_type": "bearer",
            "token_count": 3,
            "error_code": "E1234567",
            "state": "a8Zk2",
            "route": "/v1/tokens/:id?state=abc&sort=key",
            "password_reset": True,
            "message": "wrong password for key id 5",
        },
    )
    text = json.dumps(record)
    found: Counter[str] = Counter()
    assert load_rules().redact(record, text, found) is record
    assert not found


PLANTED = [secret for texts, _ in VALUES.values() for _, secret in texts]


def test_planted_secrets_are_nowhere_in_the_database_file(tmp_path):
    """In keys, nested values, typed columns, escaped text, rejected lines, in each format."""
    warehouse = Warehouse(tmp_path, str(tmp_path / "w.duckdb"))
    key_secret = "planted-" + MIXED[::-1]
    sent, number = [], 0
    for texts, _ in VALUES.values():
        for text, _ in texts:
            for record in (
                event(user_agent=text),
                event(data={**event()["data"], "failure_reason": text}),
                event(data={**event()["data"], "deep": [{"a": [text]}]}),
                event(note=text),
                event(**{text: 1}),
                event(environment="staging", note=text),
                event(data={**event()["data"], "text": json.dumps({"inner": text})}),
            ):
                number += 1
                sent.append({**record, "id": f"evt_{number}"})
    for rule_keys, _ in KEYS.values():
        for key in rule_keys:
            number += 1
            value = {"x": [key_secret]} if number % 3 else key_secret
            sent.append(event(id=f"evt_{number}", data={**event()["data"], "in": [{key: value}]}))
            sent.append(event(id=f"bad_{number}", environment="x", **{key: key_secret}))
    accepted = sum(record["environment"] == "production" for record in sent)
    good = lines(sent)
    broken = b"".join(line[:-1] + b"\n" for line in good.splitlines())
    escaped = good.replace(b"/", b"\\/").replace(b'"id":"evt', b'"id":"\\u0065sc')
    escaped = escaped.replace(b"k", b"\\u006b").replace(b"=", b"\\u003D")
    assert warehouse.land_one("auth_events/1.jsonl", good).accepted == accepted
    assert warehouse.land_one("auth_events/2.jsonl", broken).rejected == len(sent)
    assert warehouse.land_one("auth_events/3.jsonl", escaped).rejected == len(sent) - accepted
    broken_escapes = b"".join(line[:-1] + b"\n" for line in escaped.splitlines())
    assert warehouse.land_one("auth_events/5.jsonl", broken_escapes).rejected == len(sent)
    assert (
        warehouse.land_one(
            "audit_events/1.jsonl",
            [
                audit(context={"userAgent": text, "location": "::1"})
                for t, _ in VALUES.values()
                for text, _ in t
            ],
        ).rejected
        == 0
    )
    csv_bytes = b"id,note\n" + b"".join(
        b'x,"%b"\n' % text.replace('"', '""').encode() for t, _ in VALUES.values() for text, _ in t
    )
    warehouse.land_one("auth_events/4.csv", csv_bytes)
    counted = dict(
        warehouse.rows("select rule_id, sum(redaction_count) from raw.redactions group by 1")
    )
    assert set(KEYS) <= set(counted)
    texts = "payload from raw.auth_events union all select payload from raw.rejected_records"
    stored = "\n".join(text for (text,) in warehouse.rows(f"select {texts}"))
    leaked = [secret for secret in [*PLANTED, key_secret] if secret in stored]
    assert leaked == [], [stored[max(0, stored.index(x) - 90) :][:180] for x in leaked]
    warehouse.connection.execute("checkpoint")
    warehouse.connection.close()
    raw = (tmp_path / "w.duckdb").read_bytes()
    assert [s for s in [*PLANTED, key_secret] if len(s) >= 8 and s.encode() in raw] == []


def test_a_path_with_a_secret_is_refused_and_known_without_it(tmp_path):
    warehouse = Warehouse(tmp_path)
    for number in range(2):
        warehouse.write(f"auth_events/a.jsonl?token=planted{number}", [event()])
    warehouse.write("auth_events/https:%2F%2Fu:planted@h%2Fa.jsonl", [event()])
    warehouse.write("auth_events/password=planted/a.jsonl", [event()])
    warehouse.write("auth_events/token_count=2/100%25.jsonl", [event()])
    results = {file.path: file for file in warehouse.land().files}
    assert "planted" not in str(results)
    assert set(results) == {
        "auth_events/a.jsonl?token=[redacted:oauth_parameter]",
        "auth_events/a.jsonl?token=[redacted:oauth_parameter] (2)",
        "auth_events/https://[redacted:url_credentials]@h/a.jsonl",
        "auth_events/password=[redacted:assigned_secret]",
        "auth_events/token_count=2/100%25.jsonl",
    }
    good = results.pop("auth_events/token_count=2/100%25.jsonl")
    assert good.status == "landed"
    assert {file.reason for file in results.values()} == {"file_secret_in_name"}
    assert warehouse.land().files == []
