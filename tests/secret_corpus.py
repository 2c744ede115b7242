"""Strings that hold a secret, and strings of identity data that hold none: made by rule, seeded.

Positives follow what vendors say of their formats (prefix, alphabet, length), not the patterns of
seeds/secret_rules.csv, and stand in what events carry: URLs, messages, agents, log lines, JSON.
"""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass

ALNUM = string.ascii_letters + string.digits
URLSAFE = ALNUM + "-_"
HEX = "0123456789abcdef"
SEED = 20_260_301
EACH = 10


@dataclass(frozen=True)
class Positive:
    """A text, the part of it that must not survive, and the rule that is there for it."""

    rule: str
    text: str
    secret: str


class Maker:
    """Random pieces from one seed."""

    def __init__(self, seed: int = SEED) -> None:
        self.random = random.Random(seed)

    def of(self, alphabet: str, length: int) -> str:
        return "".join(self.random.choice(alphabet) for _ in range(length))

    def word(self) -> str:
        # begins and ends with a letter and has a digit, as drawn passwords do
        return f"{self.of(string.ascii_letters, 5)}{self.of(string.digits, 3)}{self.of('xyz', 2)}"

    def one(self, *choices: str) -> str:
        return self.random.choice(choices)

    def jwt(self) -> str:
        def part(value: dict[str, object]) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        head = part({"alg": self.one("RS256", "HS256", "ES256"), "typ": "JWT"})
        body = part({"sub": self.of(HEX, 12), "exp": self.random.randrange(2**31)})
        return f"{head}.{body}.{self.of(URLSAFE, 43)}"

    def said(self, secret: str) -> str:
        """A secret in something that an event carries."""
        quoted = self.one('"', "'", "`")
        return self.random.choice(
            [
                f"request with {secret} was refused",
                f"{secret}",
                f"upstream said {quoted}{secret}{quoted}",
                f"curl/8.5 ({secret})",
                f'{{"detail": "{secret}"}}',
                f"line one\nfound {secret}, then line three",
                f"/v1/items?cursor=abc&x={secret}&page=2",
                f"<{secret}>",
            ]
        )


def positives() -> list[Positive]:
    """EACH of every kind."""
    make = Maker()
    found = []
    for rule, kind in _kinds(make).items():
        for _ in range(EACH):
            text, secret = kind()
            assert secret in text
            found.append(Positive(rule, text, secret))
    return found


def _kinds(m: Maker) -> dict[str, Callable[[], tuple[str, str]]]:
    def bare(make: Callable[[], str]) -> Callable[[], tuple[str, str]]:
        def kind() -> tuple[str, str]:
            secret = make()
            return m.said(secret), secret

        return kind

    def after(make: Callable[[], tuple[str, str, str]]) -> Callable[[], tuple[str, str]]:
        def kind() -> tuple[str, str]:
            before, secret, rest = make()
            return f"{before}{secret}{rest}", secret

        return kind

    parameters = (
        "access_token", "id_token", "refresh_token", "client_secret", "client_assertion",
        "code_verifier", "password", "api_key", "sig", "X-Amz-Signature", "SAMLResponse", "otp",
    )  # fmt: skip
    return {
        "pem_key": after(
            lambda: (
                f"-----BEGIN {m.one('', 'RSA ', 'EC ', 'OPENSSH ')}PRIVATE KEY-----\n",
                m.of(ALNUM + "+/", 64),
                m.one("\n", f"\n{m.of(ALNUM, 20)}\n-----END PRIVATE KEY-----"),
            )
        ),
        "authorization_header": after(
            lambda: (
                f"{m.one('Authorization', 'authorization', 'Proxy-Authorization')}"
                f"{m.one(': ', '=', ':')}{m.one('Bearer ', 'Basic ', 'Token ', '')}",
                m.of(ALNUM, 24),
                m.one("", "\nAccept: */*", '"}'),
            )
        ),
        "cookie_header": after(
            lambda: (
                f"{m.one('Cookie', 'Set-Cookie', 'cookie')}: {m.one('sid', 'session', '_auth')}=",
                m.of(HEX, 32),
                m.one("", "; Path=/; HttpOnly"),
            )
        ),
        "bearer_scheme": after(
            lambda: (
                f"{m.one('sent ', 'with ', '')}{m.one('Bearer', 'bearer', 'Basic')} ",
                m.of(ALNUM, 32),
                m.one("", " to the service", "=="),
            )
        ),
        "jwt": bare(m.jwt),
        "jwt_base64": bare(lambda: base64.b64encode(m.jwt().encode()).decode().rstrip("=")),
        "url_credentials": after(
            lambda: (
                f"{m.one('postgres', 'https', 'amqps', 'redis', 'mongodb+srv')}://"
                f"{m.one('app', 'svc-reader', '')}:",
                m.of(ALNUM + "%.!*", 14),
                f"@{m.one('db.internal:5432/x', 'host.example', 'cache:6379')}",
            )
        ),
        "oauth_parameter": after(
            lambda: (
                f"{m.one('/callback?state=a&', 'https://app.example/#', '/x?', '/y?p=1&')}"
                f"{m.one(*parameters)}=",
                m.of(ALNUM, 20),
                m.one("", "&scope=openid", "#end"),
            )
        ),
        "oauth_code": after(
            lambda: (f"/callback{m.one('?', '?state=x&')}code=", m.of(URLSAFE, 30), "&iss=x")
        ),
        "assigned_secret": after(
            lambda: (
                f"{m.one('PASSWORD', 'db_password', 'client_secret', 'MY_API_KEY', 'passwd')}"
                f"{m.one('=', ' = ')}{m.one('', chr(34))}",
                m.word(),
                m.one("", " in env", chr(34)),
            )
        ),
        "stated_secret": after(
            lambda: (
                f"the {m.one('password is', 'api key:', 'access token is', 'secret key:')} ",
                m.word(),
                m.one("", ", he said"),
            )
        ),
        "stripe_key": bare(
            lambda: f"{m.one('sk', 'rk')}_{m.one('live', 'test')}_{m.of(ALNUM, 24)}"
        ),
        "prefixed_key": bare(lambda: f"{m.one('sk', 'pat', 'sess')}-{m.of(ALNUM, 32)}"),
        "webhook_secret": bare(lambda: f"whsec_{m.of(ALNUM, 32)}"),
        "github_token": bare(lambda: f"gh{m.one(*'pousr')}_{m.of(ALNUM, 36)}"),
        "github_pat": bare(lambda: f"github_pat_{m.of(ALNUM, 22)}_{m.of(ALNUM, 59)}"),
        "slack_token": bare(
            lambda: f"xox{m.one(*'bpr')}-{m.of(string.digits, 12)}-{m.of(ALNUM, 24)}"
        ),
        "slack_webhook": after(
            lambda: (
                "https://hooks.slack." + "com/services/",
                f"T{m.of(string.digits, 8)}/B{m.of(string.digits, 8)}/{m.of(ALNUM, 24)}",
                "",
            )
        ),
        "aws_access_key": bare(
            lambda: f"{m.one('AKIA', 'ASIA')}{m.of(string.ascii_uppercase + '234567', 16)}"
        ),
        "google_api_key": bare(lambda: f"AIza{m.of(URLSAFE, 35)}"),
        "google_oauth": bare(
            lambda: m.one(
                f"ya29.{m.of(URLSAFE, 60)}", f"GOCSPX-{m.of(URLSAFE, 28)}", f"1//0{m.of(ALNUM, 60)}"
            )
        ),
        "gitlab_token": bare(lambda: f"gl{m.one('pat', 'rt', 'dt')}-{m.of(ALNUM, 20)}"),
        "npm_token": bare(lambda: f"npm_{m.of(ALNUM, 36)}"),
        "pypi_token": bare(lambda: f"pypi-{m.of(ALNUM, 70)}"),
        "hugging_face_token": bare(lambda: f"hf_{m.of(string.ascii_letters, 34)}"),
        "ai_key": bare(lambda: f"sk-{m.one('proj', 'ant', 'svcacct')}-{m.of(URLSAFE, 40)}"),
        "sendgrid_key": bare(lambda: f"SG.{m.of(ALNUM, 22)}.{m.of(ALNUM, 43)}"),
        "twilio_key": bare(lambda: f"SK{m.of(HEX, 32)}"),
        "shopify_token": bare(lambda: f"shp{m.one('at', 'ca', 'pa', 'ss')}_{m.of(HEX, 32)}"),
        "digitalocean_token": bare(lambda: f"do{m.one(*'pro')}_v1_{m.of(HEX, 64)}"),
        "azure_key": after(
            lambda: (
                f"EndpointsProtocol=https;AccountName=x;{m.one('AccountKey', 'accountkey')}=",
                m.of(ALNUM + "+/", 86),
                "==;EndpointSuffix=core",
            )
        ),
        "telegram_token": bare(lambda: f"{m.of('123456789', 10)}:AA{m.of(URLSAFE, 33)}"),
        "vault_token": bare(lambda: f"hv{m.one(*'sb')}.{m.of(ALNUM, 24)}"),
        "age_key": bare(lambda: f"AGE-SECRET-KEY-1{m.of('QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L', 58)}"),
    }


def benign() -> list[str]:
    """Identity strings without any secret, EACH of every kind."""
    m = Maker(SEED + 1)
    numbers = m.random
    kinds: list[Callable[[], str]] = [
        lambda: f"usr_{m.of(ALNUM, 20)}",
        lambda: f"ws_{m.of(HEX, 12)}",
        lambda: f"ses_{m.of(ALNUM, 24)}",
        lambda: f"key_{m.of(ALNUM, 22)}",
        lambda: f"evt_{m.of(HEX, 32)}",
        lambda: str(uuid.UUID(int=numbers.getrandbits(128), version=4)),
        lambda: m.of(HEX, 32),
        lambda: f"00-{m.of(HEX, 32)}-{m.of(HEX, 16)}-01",
        lambda: m.of(HEX, 64),
        lambda: f"sha256:{m.of(HEX, 64)}",
        lambda: f"k1:{m.of(HEX, 64)}",
        lambda: m.of("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 26),
        lambda: m.one(
            "invalid_grant",
            "token_expired",
            "password_reset",
            "mfa_required",
            "access_denied",
            "invalid_client",
            "authorization_pending",
            "code_verifier_missing",
        ),
        lambda: m.one("password", "oauth", "passkey", "saml", "magic_link", "otp", "api_key"),
        lambda: (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
            f" Chrome/{numbers.randrange(90, 140)}.0.{numbers.randrange(9999)}.0 Safari/537.36"
        ),
        lambda: f"acme-sdk/{numbers.randrange(9)}.{numbers.randrange(20)} (python 3.11; linux)",
        lambda: f"/v1/projects/prj_{m.of(ALNUM, 12)}/members?page={numbers.randrange(99)}",
        lambda: f"https://app.example/callback?state={m.of(HEX, 24)}&scope=openid+profile",
        lambda: f"https://app.example/users/{m.of(HEX, 8)}?token_type=bearer&grant=code",
        lambda: f"https://host.example:8443/path@v{numbers.randrange(9)}/x",
        lambda: f"person.{m.of(HEX, 6)}@mail.example",
        lambda: f"10.{numbers.randrange(255)}.{numbers.randrange(255)}.7",
        lambda: f"2001:db8:{m.of(HEX, 4)}::{m.of(HEX, 4)}",
        lambda: f"Basic plan changed to {m.one('Growth', 'Enterprise', 'Free')}",
        lambda: f"{m.one('login', 'signup', 'logout')} {m.one('success', 'failure')} with password",
        lambda: f"the password is {m.one('weak', 'short', 'old')}",
        lambda: f"authorization {m.one('failed', 'granted', 'pending')} for role {m.of(HEX, 4)}",
        lambda: f"cookie consent {m.one('given', 'withdrawn')}, region {m.one('EU', 'US')}",
        lambda: f"task_{m.of('abcdef', 6)}_live_{numbers.randrange(999)}",
        lambda: f"risk-{m.one('low', 'medium', 'high')}-{m.of('abcdef', 8)}-review",
        lambda: f"SKU{m.of(string.digits, 10)}",
        lambda: f"campaign_{m.of('abcdef', 8)}_{numbers.randrange(2020, 2027)}_spring",
        lambda: f"token_count={numbers.randrange(9999)} prompt_tokens={numbers.randrange(9999)}",
        lambda: f"code={numbers.randrange(400, 600)} reason=timeout",
        lambda: f"npm_{m.one('install', 'publish', 'audit')} {m.of('abcdef', 8)}",
    ]
    return [kind() for kind in kinds for _ in range(EACH)]
