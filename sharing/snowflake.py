"""A share for a consumer who lives in Snowflake: scripts to read, adapt and run there. Pure.

Belongs here: SQL and dictionary made of a compiled share. Does not belong here: who asks for it
(dagster_project/snowflake.py). Nothing here has been run: there is no Snowflake to run it on, and
each script says so.

    consumer.sql     the consumer's account reads what the share writes to its bucket
    provider.sql     our account holds the tables and shares them: only rows of the workspaces that
                     the mapping table gives to the account that asks
    revoke.sql       takes back what provider.sql gave
    dictionary.md    tables and columns

What differs by account is a variable of SnowSQL, `&{name}`, named at the head of the script.
"""

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from sharing.compiler import Compiled, Slice
from sharing.contract import TYPES
from sharing.definitions import Share

FORMATS = ("parquet", "delta", "ndjson")
# Delta's word → Snowflake's
NATIVE = {
    "string": "VARCHAR",
    "timestamp": "TIMESTAMP_TZ",
    "date": "DATE",
    "long": "NUMBER(38, 0)",
    "double": "FLOAT",
    "boolean": "BOOLEAN",
    "array<string>": "ARRAY",
}


class NoScriptError(Exception):
    """A share that Snowflake can't be given; the message says why."""


def scripts(share: Share, compiled: Compiled) -> dict[str, str]:
    """The files by name. Raises NoScriptError for formats that are no tables."""
    if share.format not in FORMATS:
        raise NoScriptError(
            f"{share.name} is of format {share.format}: there are scripts for {', '.join(FORMATS)}"
        )
    found = {
        "provider.sql": _provider(share, compiled),
        "revoke.sql": _revoke(share, compiled),
        "dictionary.md": dictionary(share, compiled.slices),
    }
    # a folder of ours is out of Snowflake's reach
    if share.destination.kind == "s3":
        found["consumer.sql"] = _consumer(share, compiled.slices)
    return dict(sorted(found.items()))


def dictionary(share: Share, slices: Sequence[Slice]) -> str:
    """Every table and column that goes along, what was left out and how people were treated."""
    lines = [f"# {share.name}: what is shared of {share.environment}", ""]
    for one in slices:
        lines += [f"## {one.model}", "", "| column | type | treatment | meaning |"]
        lines += ["|---|---|---|---|"]
        for column in one.columns:
            meaning = " ".join(column.description.split()).replace("|", "\\|")
            treatment = one.treatments.get(column.name, "")
            lines.append(f"| `{column.name}` | {_type(column.type)} | {treatment} | {meaning} |")
        if one.dropped:
            lines += ["", f"Left out: {', '.join(f'`{name}`' for name in one.dropped)}."]
        lines.append("")
    return "\n".join(lines)


# the consumer's account


def _consumer(share: Share, slices: Sequence[Slice]) -> str:
    schema = _quoted(f"rollcall_{share.name}")
    variables = {"role_arn": "a role that may read the prefix, see STORAGE_AWS_ROLE_ARN"}
    head = _head(share, "the consumer's account", variables)
    parts = [head, f"CREATE SCHEMA IF NOT EXISTS {schema};", f"USE SCHEMA {schema};"]
    if share.format == "delta":
        parts += _delta_tables(share, slices)
    else:
        parts += _stage(share)
        parts += [_table(one.model, one) for one in slices]
        parts += _copied(slices) if share.format == "ndjson" else _replaced(share, slices)
    return "\n\n".join(parts) + "\n"


def _delta_tables(share: Share, slices: Sequence[Slice]) -> Iterable[str]:
    volume, catalog = (_quoted(f"rollcall_{share.name}_{what}") for what in ("volume", "catalog"))
    yield (
        f"CREATE EXTERNAL VOLUME IF NOT EXISTS {volume}\n"
        "    STORAGE_LOCATIONS = ((\n"
        f"        NAME = {_text(share.name)}\n"
        "        STORAGE_PROVIDER = 'S3'\n"
        f"        STORAGE_BASE_URL = {_text(share.destination.address + '/')}\n"
        "        STORAGE_AWS_ROLE_ARN = '&{role_arn}'\n"
        "    ))\n"
        "    ALLOW_WRITES = FALSE;"
    )
    yield (
        f"CREATE CATALOG INTEGRATION IF NOT EXISTS {catalog}\n"
        "    CATALOG_SOURCE = OBJECT_STORE\n"
        "    TABLE_FORMAT = DELTA\n"
        "    ENABLED = TRUE;"
    )
    for one in slices:
        yield (
            f"CREATE ICEBERG TABLE IF NOT EXISTS {_quoted(one.model)}\n"
            f"    EXTERNAL_VOLUME = {_text(volume.strip(chr(34)))}\n"
            f"    CATALOG = {_text(catalog.strip(chr(34)))}\n"
            f"    BASE_LOCATION = {_text(one.model)}\n"
            "    AUTO_REFRESH = TRUE;"
        )


def _stage(share: Share) -> Iterable[str]:
    integration = _quoted(f"rollcall_{share.name}_integration")
    address = _text(share.destination.address + "/")
    yield (
        f"CREATE STORAGE INTEGRATION IF NOT EXISTS {integration}\n"
        "    TYPE = EXTERNAL_STAGE\n"
        "    STORAGE_PROVIDER = 'S3'\n"
        "    ENABLED = TRUE\n"
        "    STORAGE_AWS_ROLE_ARN = '&{role_arn}'\n"
        f"    STORAGE_ALLOWED_LOCATIONS = ({address});"
    )
    yield (
        "CREATE STAGE IF NOT EXISTS SHARED_FILES\n"
        f"    URL = {address}\n"
        f"    STORAGE_INTEGRATION = {integration};"
    )
    yield "CREATE FILE FORMAT IF NOT EXISTS SHARED_JSON TYPE = JSON;"
    yield "CREATE FILE FORMAT IF NOT EXISTS SHARED_PARQUET TYPE = PARQUET;"


def _copied(slices: Sequence[Slice]) -> Iterable[str]:
    """Files of a stream only ever come, and COPY remembers which it has."""
    for one in slices:
        yield (
            f"COPY INTO {_quoted(one.model)}\n"
            f"    FROM (\n        SELECT\n            {_read(one)}\n"
            "        FROM @SHARED_FILES\n    )\n"
            "    FILE_FORMAT = (FORMAT_NAME = SHARED_JSON)\n"
            "    PATTERN = '.*stream=.*[.]json[.]gz';"
        )


def _replaced(share: Share, slices: Sequence[Slice]) -> Iterable[str]:
    """Whole tables, from the files that the newest manifest names."""
    yield (
        "-- what the newest version consists of; files that it replaced are still there\n"
        "CREATE OR REPLACE TEMPORARY TABLE LIVE_FILES AS\n"
        "SELECT\n"
        "    MODELS.KEY::VARCHAR AS MODEL,\n"
        "    FILES.VALUE:path::VARCHAR AS PATH\n"
        "FROM (\n"
        "    SELECT $1 AS MANIFEST, METADATA$FILENAME AS NAME\n"
        "    FROM @SHARED_FILES/_manifests/ (FILE_FORMAT => 'SHARED_JSON')\n"
        ") AS VERSIONS,\n"
        "    LATERAL FLATTEN(INPUT => VERSIONS.MANIFEST:tables) AS MODELS,\n"
        "    LATERAL FLATTEN(INPUT => MODELS.VALUE:files) AS FILES\n"
        "QUALIFY DENSE_RANK() OVER (ORDER BY VERSIONS.NAME DESC) = 1;"
    )
    prefix = urlsplit(share.destination.address).path.strip("/")
    for one in slices:
        yield (
            f"INSERT OVERWRITE INTO {_quoted(one.model)}\n"
            f"SELECT\n    {_read(one)}\n"
            f"FROM @SHARED_FILES/{one.model}/ (FILE_FORMAT => 'SHARED_PARQUET')\n"
            "WHERE METADATA$FILENAME IN (\n"
            f"    SELECT {_text(prefix + '/')} || PATH FROM LIVE_FILES"
            f" WHERE MODEL = {_text(one.model)}\n"
            ");"
        )


def _read(slice_: Slice) -> str:
    return ",\n    ".join(
        f"$1:{column.name}::{_type(column.type)} AS {_quoted(column.name)}"
        for column in slice_.columns
    )


# our account


def _provider(share: Share, compiled: Compiled) -> str:
    names = _Names(share)
    parts = [
        _head(share, "the account that shares", _CONSUMER),
        f"CREATE DATABASE IF NOT EXISTS {names.database};",
        f"CREATE SCHEMA IF NOT EXISTS {names.private}\n"
        "    COMMENT = 'Never shared: tables of all consumers, and who may see what';",
        f"CREATE SCHEMA IF NOT EXISTS {names.public};",
        f"CREATE TABLE IF NOT EXISTS {names.private}.ALLOWED (\n"
        "    WORKSPACE_ID VARCHAR NOT NULL,\n"
        "    ACCOUNT VARCHAR NOT NULL,\n"
        "    OLDEST_DATE DATE NOT NULL\n"
        ");",
        f"DELETE FROM {names.private}.ALLOWED WHERE ACCOUNT = '&{{consumer_locator}}';",
        *(
            f"INSERT INTO {names.private}.ALLOWED (WORKSPACE_ID, ACCOUNT, OLDEST_DATE)\n"
            f"VALUES ({_text(workspace)}, '&{{consumer_locator}}', {_text(str(oldest))});"
            for workspace, oldest in sorted(compiled.oldest_days.items())
        ),
    ]
    for one in compiled.slices:
        parts.append(_table(f"{one.model}", one, names.private))
        parts.append(_secure_view(names, one))
    parts.append(f"CREATE SHARE IF NOT EXISTS {names.share};")
    parts.append(f"GRANT USAGE ON DATABASE {names.database} TO SHARE {names.share};")
    parts.append(f"GRANT USAGE ON SCHEMA {names.public} TO SHARE {names.share};")
    parts += [
        f"GRANT SELECT ON VIEW {names.public}.{_quoted(one.model)} TO SHARE {names.share};"
        for one in compiled.slices
    ]
    parts.append(f"ALTER SHARE {names.share} ADD ACCOUNTS = &{{consumer_account}};")
    return "\n\n".join(parts) + "\n"


def _secure_view(names: "_Names", one: Slice) -> str:
    columns = ",\n    ".join(f"MART.{_quoted(column.name)}" for column in one.columns)
    within = f"\n    AND MART.{_quoted(one.day)} >= ALLOWED.OLDEST_DATE" if one.day else ""
    return (
        f"CREATE OR REPLACE SECURE VIEW {names.public}.{_quoted(one.model)} AS\n"
        f"SELECT\n    {columns}\n"
        f"FROM {names.private}.{_quoted(one.model)} AS MART\n"
        f"INNER JOIN {names.private}.ALLOWED AS ALLOWED\n"
        '    ON MART."WORKSPACE_ID" = ALLOWED.WORKSPACE_ID\n'
        f"WHERE ALLOWED.ACCOUNT = CURRENT_ACCOUNT(){within};"
    )


def _revoke(share: Share, compiled: Compiled) -> str:
    names = _Names(share)
    parts = [
        _head(share, "the account that shares", _CONSUMER),
        f"ALTER SHARE {names.share} REMOVE ACCOUNTS = &{{consumer_account}};",
        f"DELETE FROM {names.private}.ALLOWED WHERE ACCOUNT = '&{{consumer_locator}}';",
        *(
            f"REVOKE SELECT ON VIEW {names.public}.{_quoted(one.model)} FROM SHARE {names.share};"
            for one in compiled.slices
        ),
        f"REVOKE USAGE ON SCHEMA {names.public} FROM SHARE {names.share};",
        f"REVOKE USAGE ON DATABASE {names.database} FROM SHARE {names.share};",
        f"DROP SHARE {names.share};",
        f"DROP SCHEMA IF EXISTS {names.public};",
        f"DROP SCHEMA IF EXISTS {names.private};",
        f"DROP DATABASE IF EXISTS {names.database};",
    ]
    return "\n\n".join(parts) + "\n"


class _Names:
    """Names of what provider.sql makes, a database a share."""

    def __init__(self, share: Share) -> None:
        self.database = _quoted(f"rollcall_{share.name}")
        self.private = f"{self.database}.PRIVATE_TABLES"
        self.public = f"{self.database}.{_quoted(share.environment)}"
        self.share = _quoted(f"rollcall_{share.name}_share")


_CONSUMER = {
    "consumer_account": "the consumer's account, organization.account",
    "consumer_locator": "what CURRENT_ACCOUNT() says there",
}


def _table(name: str, one: Slice, schema: str = "") -> str:
    columns = ",\n    ".join(
        f"{_quoted(column.name)} {_type(column.type)} COMMENT {_text(column.description)}"
        for column in one.columns
    )
    place = f"{schema}.{_quoted(name)}" if schema else _quoted(name)
    return f"CREATE TABLE IF NOT EXISTS {place} (\n    {columns}\n);"


def _head(share: Share, where: str, variables: Mapping[str, str]) -> str:
    lines = [
        f"-- Share {share.name} of {share.environment} for {share.consumer}, for {where}.",
        "-- Generated, not run: read it before you do. With SnowSQL, substitution switched on:",
        *(f"--   -D {name}=…  {meaning}" for name, meaning in variables.items()),
    ]
    return "\n".join(lines)


def _quoted(name: str) -> str:
    # upper case is what a name without quotes means; quotes keep reserved words apart
    return '"' + name.upper() + '"'


def _text(value: str) -> str:
    escaped = " ".join(value.split()).replace("\\", "\\\\").replace("'", "''")
    # SnowSQL would take it for a variable
    return f"'{escaped.replace('&', '&&')}'"


def _type(word: str) -> str:
    return NATIVE[TYPES[word]]
