"""shares.yml: who gets what, validated before anything else happens.

Belongs here: the shape of the file, and messages that name file, field and remedy. Does not
belong here: whether a share is allowed (compiler.py), which needs the marts and the plans.

No value of the file is ever repeated in a message: it might be a secret in the wrong place.
"""

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from sharing.plans import PUSHED

Environment = Literal["production", "sandbox"]
Treatment = Literal["keep", "drop", "truncate", "keyed_hash"]
# asset names, folder names and file names are made of it
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]
SecretReference = Annotated[str, StringConstraints(pattern=r"^env:[A-Za-z_][A-Za-z0-9_]*$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
# an event's type, or with a star at its end all that begin so
EventType = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.]{0,62}\*?$")]


class SharesFileError(Exception):
    """shares.yml can't be worked with; the message has a line a fault."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Consumer(_Strict):
    """Who receives: the workspaces whose rows they may have, and whether they may at present."""

    workspace_ids: list[Text]
    contact: Text
    status: Literal["active", "paused", "revoked"] = "active"


class TableShare(_Strict):
    """One mart: its columns by name, or by the name of a profile (compiler.PROFILES).

    `types`: of a mart of events those that go along, None for what its format takes.
    """

    model: Identifier
    columns: list[Identifier] | None = None
    profile: Identifier | None = None
    types: list[EventType] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> "TableShare":
        if (self.columns is None) == (self.profile is None):
            raise ValueError("needs either columns or a profile, and not both")
        if self.columns is not None and not self.columns:
            raise ValueError("columns is empty: name at least one, or take the table out")
        return self


class HashKey(_Strict):
    """The key of keyed hashes: its id stands in front of every hash, so that keys can rotate."""

    id: Name
    secret: SecretReference


class Destination(_Strict):
    """Where rows go: an S3 bucket with a prefix, a local folder, or an HTTP service.

    `index`, `sourcetype` and `acknowledge` are of Splunk, `measurement_id` of Google.
    """

    kind: Literal["folder", "s3", "http"]
    url: Text
    secret: SecretReference | None = None
    region: Text | None = None
    endpoint: Text | None = None
    index: Text | None = None
    sourcetype: Text = "rollcall:event"
    acknowledge: bool = True
    measurement_id: Annotated[str, StringConstraints(pattern=r"^G-[A-Z0-9]{4,20}$")] | None = None

    @model_validator(mode="after")
    def _url_of_its_kind(self) -> "Destination":
        for url in filter(None, (self.url, self.endpoint)):
            if "@" in urlsplit(url).netloc or urlsplit(url).query:
                raise ValueError("the URL carries credentials: name them in secret, as env:NAME")
        parts = urlsplit(self.url)
        if self.kind == "folder" and (parts.scheme != "file" or parts.netloc or not parts.path):
            raise ValueError("url of a folder has to be absolute: file:///srv/shares/acme")
        if self.kind == "s3" and (parts.scheme != "s3" or not parts.netloc):
            raise ValueError("url of a bucket has to be s3://bucket/prefix")
        if self.kind == "s3" and self.secret is None:
            raise ValueError("secret is missing: name the variable with the bucket's credentials")
        if self.kind == "http":
            is_here = parts.hostname in ("127.0.0.1", "localhost", "::1")
            if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
                raise ValueError("url of a service has to begin with https://")
            if self.secret is None:
                raise ValueError("secret is missing: name the variable with the service's token")
            return self
        if ".." in parts.path.split("/") or not parts.path.strip("/"):
            raise ValueError("url has to end in a folder or prefix of this share's own")
        return self

    @property
    def address(self) -> str:
        """The URL without a slash at its end; holds no credentials."""
        return self.url.rstrip("/")


class Share(_Strict):
    """What one consumer gets of one environment, where and in which form."""

    name: Name
    consumer: Name
    environment: Environment
    tables: list[TableShare] = Field(min_length=1)
    pii: dict[Identifier, Treatment] = Field(default_factory=dict)
    hash_key: HashKey | None = None
    format: Literal["parquet", "delta", "ndjson", "ocsf", "hec", "heap", "ga4"]
    destination: Destination
    capability: Literal["export", "warehouse_share", "stream", "push"]
    retention: Literal["plan"] | Annotated[int, Field(ge=1)] = "plan"
    requested_by: Text

    @field_validator("environment", mode="before")
    @classmethod
    def _one_environment(cls, value: object) -> object:
        if isinstance(value, list):
            raise ValueError("one environment a share: write a second share for the other one")
        return value

    @field_validator("tables")
    @classmethod
    def _each_table_once(cls, tables: list[TableShare]) -> list[TableShare]:
        if len({table.model for table in tables}) < len(tables):
            raise ValueError("names a model twice: list its columns once")
        return tables

    @model_validator(mode="after")
    def _destination_of_its_format(self) -> "Share":
        if (self.destination.kind == "http") != (self.format in PUSHED):
            raise ValueError(
                f"formats {', '.join(PUSHED)} go to a destination of kind http, the others to a"
                " folder or s3"
            )
        if self.format == "ga4" and self.destination.measurement_id is None:
            raise ValueError("ga4 needs destination.measurement_id, such as G-ABC1234567")
        return self


class SharesFile(_Strict):
    """The whole file."""

    consumers: dict[Name, Consumer] = Field(default_factory=dict)
    shares: list[Share] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_fit(self) -> "SharesFile":
        names = [share.name for share in self.shares]
        if len(set(names)) < len(names):
            raise ValueError("two shares have one name: names are what receipts refer to")
        for number, share in enumerate(self.shares):
            if share.consumer not in self.consumers:
                raise ValueError(f"shares[{number}].consumer is not among consumers: add it there")
        addresses = sorted(
            share.destination.address + "/"
            for share in self.shares
            if share.destination.kind != "http"
        )
        for shorter, longer in itertools.pairwise(addresses):
            if longer.startswith(shorter):
                raise ValueError(
                    "two shares have one destination, or one lies inside the other's: what is"
                    " there is replaced and deleted by share"
                )
        environments: dict[str | None, set[str]] = {}
        for share in self.shares:
            if share.format in PUSHED:
                environments.setdefault(share.destination.secret, set()).add(share.environment)
        if any(len(found) > 1 for found in environments.values()):
            raise ValueError(
                "two shares push both environments with one secret: production and sandbox need"
                " a token, app id or property of their own"
            )
        return self

    def consumer_of(self, share: Share) -> Consumer:
        """The consumer of a share."""
        return self.consumers[share.consumer]


NO_SHARES = SharesFile()


def load(path: Path, landing: Path | None = None) -> SharesFile:
    """The file as models; no file means no shares. Raises SharesFileError.

    `landing`: a folder that no share may write into.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return NO_SHARES
    except (OSError, UnicodeDecodeError) as error:
        raise SharesFileError(
            f"{path}: can't be read ({type(error).__name__}). It has to be a UTF-8 text file."
        ) from error
    try:
        document = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise SharesFileError(f"{path}: {_where(error)}. Correct the YAML there.") from None
    try:
        found = SharesFile.model_validate(document or {})
    except ValidationError as error:
        raise SharesFileError("\n".join(_messages(path, error))) from None
    for number, share in enumerate(found.shares):
        folder = Path(urlsplit(share.destination.url).path)
        if landing and share.destination.kind == "folder" and folder.is_relative_to(landing):
            raise SharesFileError(
                f"{path}: shares[{number}].destination.url lies in the landing folder: what is"
                " shared would land again. Name a folder outside of it."
            )
    return found


def file_digest(*paths: Path) -> str:
    """A fingerprint of files; what is not there counts as empty."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes() if path.is_file() else b"")
        digest.update(b"\0")
    return digest.hexdigest()


class _Loader(yaml.SafeLoader):
    """YAML without doubled keys, of which the last would win silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            raise yaml.constructor.ConstructorError(
                None, None, "a key stands there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}" if mark else "somewhere"
    return f"{place}: {getattr(error, 'problem', None) or 'no YAML'}"


def _messages(path: Path, error: ValidationError) -> Iterable[str]:
    for fault in error.errors(include_input=False, include_url=False):
        place = "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in _steps(fault["loc"])
        ).lstrip(".")
        yield f"{path}: {place or 'the file'}: {_remedy(fault)}"


def _steps(location: Iterable[str | int]) -> Iterable[str | int]:
    # pydantic names the branch of a union as if it were a field
    return (step for step in location if step != "[key]" and "[" not in str(step))


def _remedy(fault: Mapping[str, Any]) -> str:
    context = fault.get("ctx") or {}
    pattern = str(context.get("pattern", ""))
    remedies = {
        "extra_forbidden": "unknown here. Correct its spelling or take it out.",
        "missing": "missing. Add it.",
        "literal_error": f"has to be {context.get('expected')}.",
        "string_pattern_mismatch": f"has to match {pattern}.",
        "value_error": f"{context.get('error')}.",
    }
    if pattern.startswith("^env"):
        return "a secret is named, never written down: env:NAME, the name of a variable."
    return remedies.get(fault["type"], f"{fault['msg']}. Correct it.")
