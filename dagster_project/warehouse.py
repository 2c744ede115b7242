"""Where things are and which engine: environments, addresses, connections, the writer's lock.

Belongs here: every path under ROLLCALL_HOME, what the ROLLCALL_* variables mean, how the build
file and what is published are opened. Does not belong here: what is computed (dbt_project/), how
files land (landing/), Dagster (defs/).
"""

import json
import os
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
from filelock import FileLock, Timeout

CHECKOUT = Path(__file__).resolve().parent.parent
DBT_PROJECT = CHECKOUT / "dbt_project"
SEEDS = CHECKOUT / "seeds"

ENVIRONMENTS = ("production", "sandbox")
# an engine is a profile of dbt_project/profiles.yml
ENGINES = ("duckdb",)

# A missing extension must be an error and not a download.
NO_DOWNLOADS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


class ConfigurationError(Exception):
    """A setting or folder that a run can't work with; the message says what to do about it."""


class WarehouseBusyError(Exception):
    """Another process holds the build file; the message names it."""


class NothingPublishedError(Exception):
    """An environment has no published version yet."""


@dataclass(frozen=True)
class Policy:
    """What is purged, see purges.py. `by_plan`: whether plans decide; `days`: for everybody."""

    by_plan: bool = False
    days: int | None = None

    def __bool__(self) -> bool:
        return self.by_plan or self.days is not None

    def __str__(self) -> str:
        words = ["plan"] * self.by_plan + ([] if self.days is None else [str(self.days)])
        return ",".join(words)


@dataclass(frozen=True)
class Warehouse:
    """Addresses of one installation. `home` and `landing` are absolute."""

    home: Path
    landing: Path
    engine: str = "duckdb"
    lock_seconds: float = 120.0
    named_shares_file: Path | None = None
    retention: Policy = Policy()
    alert_url: str = ""
    sharing_url: str = ""
    memory: str = "80%"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Warehouse":
        """Read the variables ROLLCALL_… of HOME, LANDING, SHARES, ENGINE, RETENTION and so on.

        Looks at the disk only to see that a named folder is a folder, a named file a file. Raises
        ConfigurationError.
        """
        environ = os.environ if environ is None else environ
        home = _folder(environ, "ROLLCALL_HOME", CHECKOUT / ".rollcall")
        landing = _folder(environ, "ROLLCALL_LANDING", home / "landing")
        if environ.get("ROLLCALL_LANDING", "").strip() and not landing.is_dir():
            raise ConfigurationError(
                f"ROLLCALL_LANDING is {landing}, and there is no such folder. Create it, or unset"
                " ROLLCALL_LANDING to work with demo extracts."
            )
        engine = environ.get("ROLLCALL_ENGINE", "").strip() or "duckdb"
        if engine not in ENGINES:
            raise ConfigurationError(
                f"ROLLCALL_ENGINE is {engine!r}. It has to be one of: {', '.join(ENGINES)}."
            )
        return cls(
            home,
            landing,
            engine,
            _lock_seconds(environ),
            _shares_file(environ),
            _policy(environ.get("ROLLCALL_RETENTION", "")),
            _alert_url(environ),
            _sharing_url(environ),
            _memory(environ),
        )

    @property
    def build_file(self) -> Path:
        """Schema raw and the dbt schemas of both environments; one writer, no other door."""
        return self.home / "warehouse.duckdb"

    @property
    def default_landing(self) -> Path:
        """Where extracts are looked for when ROLLCALL_LANDING says nothing."""
        return self.home / "landing"

    @property
    def shares_file(self) -> Path:
        """Who gets what; need not be there."""
        return self.named_shares_file or self.home / "shares.yml"

    @property
    def shares_folder(self) -> Path:
        """What is known of each share: a folder each."""
        return self.home / "shares"

    @property
    def tokens_file(self) -> Path:
        """What is kept of the tokens of the Delta Sharing server."""
        return self.home / "sharing" / "tokens.json"

    @property
    def server_lock_file(self) -> Path:
        """Held by the Delta Sharing server while it runs."""
        return self.home / "sharing" / "server.lock"

    @property
    def told_file(self) -> Path:
        """Which stale tables somebody was told of, as JSON."""
        return self.home / "alerts.json"

    @property
    def spill(self) -> Path:
        """Where DuckDB puts what does not fit into memory."""
        return self.home / "spill"

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance: dagster.yaml, runs, event logs."""
        return self.home / "dagster"

    def files_of_run(self, run_id: str) -> list[Path]:
        """What Dagster's storage has on disk for one run: its database and its output."""
        databases = (self.dagster_home / "history" / "runs").glob(f"{run_id}.db*")
        output = self.dagster_home / "storage" / run_id
        return [*databases, *([output] if output.exists() else [])]

    @property
    def lock_file(self) -> Path:
        """Held, with flock, by the one process that may write."""
        return self.home / "writer.lock"

    @property
    def holder_file(self) -> Path:
        """Who holds the lock, as JSON; still there after the holder was killed."""
        return self.home / "writer.json"

    def marts_file(self, environment: str) -> Path:
        """The marts of one environment as dbt builds them: a file of their own."""
        return self.home / "marts" / f"{environment}.duckdb"

    def published_folder(self, environment: str) -> Path:
        """Published versions of one environment and the pointer to the newest."""
        return self.home / "published" / environment

    def latest(self, environment: str) -> Path:
        """The pointer that readers open."""
        return self.published_folder(environment) / "latest.duckdb"

    def dbt_target(self, environment: str) -> Path:
        """The folder of dbt's artifacts; one an environment, so that each keeps its parse."""
        return self.home / "dbt" / environment

    def prepare_folders(self) -> None:
        """Create the folders a run writes to. Raises ConfigurationError where that is refused."""
        try:
            for folder in (
                self.spill,
                self.dagster_home,
                self.marts_file(ENVIRONMENTS[0]).parent,
                *map(self.published_folder, ENVIRONMENTS),
                *map(self.dbt_target, ENVIRONMENTS),
            ):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"ROLLCALL_HOME is {self.home}, and it can't be written to ({error.strerror}:"
                f" {error.filename}). Name a folder of your own in ROLLCALL_HOME."
            ) from error

    def variables(self) -> dict[str, str]:
        """The settings as environment variables for a child process, paths absolute."""
        return {
            "ROLLCALL_HOME": str(self.home),
            "ROLLCALL_LANDING": str(self.landing),
            "ROLLCALL_ENGINE": self.engine,
            "ROLLCALL_LOCK_SECONDS": f"{self.lock_seconds:g}",
            "ROLLCALL_MEMORY": self.memory,
            "DAGSTER_HOME": str(self.dagster_home),
            **({"ROLLCALL_SHARES": str(file)} if (file := self.named_shares_file) else {}),
            **({"ROLLCALL_RETENTION": str(self.retention)} if self.retention else {}),
            **({"ROLLCALL_ALERT_URL": self.alert_url} if self.alert_url else {}),
            **({"ROLLCALL_SHARING_URL": self.sharing_url} if self.sharing_url else {}),
        }

    @contextmanager
    def writing(self, purpose: str) -> Iterator[list[str]]:
        """Hold the writer's lock; may be nested within one process.

        Everything that writes to the build file or the marts, dbt's own process included, runs
        inside. Yields what a killed predecessor left behind and was cleaned up, a sentence each
        (empty in a nested call). Raises WarehouseBusyError, which names the holder, after
        `lock_seconds`.
        """
        self.prepare_folders()
        lock = self._lock()
        try:
            lock.acquire(timeout=self.lock_seconds)
        except Timeout:
            raise WarehouseBusyError(
                f"another process is writing to {self.home}: {_describe(self._holder())}."
                f" Waited {self.lock_seconds:g} s; wait for it to end and start again"
                " (ROLLCALL_LOCK_SECONDS sets how long to wait)."
            ) from None
        try:
            if lock.lock_counter > 1:
                yield []
                return
            found = self._clean_up_after_a_crash()
            self._note_holder(purpose)
            try:
                yield found
            finally:
                self.holder_file.unlink(missing_ok=True)
        finally:
            lock.release()

    @contextmanager
    def connect(self, marts: Collection[str] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the build file for writing, under the lock; one connection a process at a time.

        `marts`: environments whose marts are attached read-only as database <env>_marts. dbt must
        not run while the connection is open. Raises WarehouseBusyError.
        """
        with self.writing("a connection to the build file"), _the_only_connection(), _busy():
            connection = self._open(self.build_file)
            try:
                for environment in marts:
                    connection.execute(
                        f"attach '{quoted(self.marts_file(environment))}'"
                        f" as {environment}_marts (read_only)"
                    )
                yield connection
            finally:
                connection.close()

    @contextmanager
    def connect_to_read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the build file read-only for a look, still under the lock.

        Raises NothingPublishedError before the first run, WarehouseBusyError.
        """
        if not self.build_file.exists():
            raise NothingPublishedError(f"there is no {self.build_file}: run `make run` first")
        with self.writing("a look at the build file"), _the_only_connection(), _busy():
            connection = self._open(self.build_file, read_only=True)
            try:
                yield connection
            finally:
                connection.close()

    @contextmanager
    def connect_marts(self, environment: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the marts file of one environment for writing; the rules of `connect`.

        It is attached as <environment>_marts, the default database of the connection: opened as
        itself its catalog would have the name of its schema, and names would be ambiguous.
        """
        with self.writing("a connection to the marts"), _the_only_connection(), _busy():
            connection = self._open(None)
            try:
                connection.execute(
                    f"attach '{quoted(self.marts_file(environment))}' as {environment}_marts"
                )
                connection.execute(f"use {environment}_marts")
                yield connection
            finally:
                connection.close()

    @contextmanager
    def connect_published(
        self, environment: str, as_of: Path | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the newest published version: read-only, nothing else within reach.

        `as_of`: an older version to attach beside it, see `open_locked_down`.
        The pointer is resolved first: within one process DuckDB knows an open file by its name
        and would hand out the version it opened under that name before.
        Raises NothingPublishedError.
        """
        version = self.published_version(environment)
        if version is None:
            raise NothingPublishedError(
                f"nothing is published for {environment} in {self.home}: run `make run` first"
            )
        with open_locked_down(version, as_of) as connection:
            yield connection

    def published_version(self, environment: str) -> Path | None:
        """The file the pointer leads to, or None before the first publish."""
        latest = self.latest(environment)
        return latest.resolve() if latest.exists() else None

    def _open(self, path: Path | None, read_only: bool = False) -> duckdb.DuckDBPyConnection:
        # At the default of 16 MB each landed file brings a checkpoint, which writes the unfinished
        # row groups once more: 26 s instead of 22 s for 394 MB in 20 files.
        settings = {
            **NO_DOWNLOADS,
            "temp_directory": str(self.spill),
            "wal_autocheckpoint": "256MB",
            "memory_limit": self.memory,
        }
        name = str(path) if path else ":memory:"
        connection = duckdb.connect(name, read_only=read_only, config=settings)
        connection.execute("set TimeZone = 'UTC'")
        return connection

    def _lock(self) -> FileLock:
        # One lock object a process, whichever thread asks: nested calls count, threads don't race.
        return FileLock(self.lock_file, thread_local=False, is_singleton=True)

    def _holder(self) -> dict[str, str]:
        try:
            holder = json.loads(self.holder_file.read_text())
        except (OSError, ValueError):
            return {}
        return holder if isinstance(holder, dict) else {}

    def _note_holder(self, purpose: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        holder = {"pid": str(os.getpid()), "purpose": purpose, "since": now}
        temporary = self.holder_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(holder))
        temporary.replace(self.holder_file)

    def _clean_up_after_a_crash(self) -> list[str]:
        """Called with the lock just taken: whatever is half done has no owner any more."""
        found = []
        if self.holder_file.exists():
            found.append(
                f"an earlier run did not end by itself ({_describe(self._holder())}):"
                " its lock is void, this run goes on from what was committed"
            )
        spilled = [path for path in self.spill.iterdir() if path.is_file()]
        for path in spilled:
            path.unlink()
        if spilled:
            found.append(f"{len(spilled)} spill file(s) of a killed process: removed")
        for file in (self.build_file, *map(self.marts_file, ENVIRONMENTS)):
            log = file.with_name(file.name + ".wal")
            if log.exists() and log.stat().st_size:
                found.append(f"{file.name} was not closed: DuckDB replays its log")
        for environment in ENVIRONMENTS:
            folder = self.published_folder(environment)
            unfinished = [*folder.glob(".*.tmp*"), *folder.glob("parts/*/.*.tmp*")]
            for path in unfinished:
                path.unlink()
            if unfinished:
                found.append(f"an unfinished copy of the {environment} marts: removed")
        return found


@contextmanager
def open_locked_down(path: Path, as_of: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open one published file read-only with file access, network and settings shut off.

    Within reach remain the parts that the file lists. `as_of`: an older version, attached
    as database `as_of` with its parts.

    What may be read by path may be written by `copy … to` with use_tmp_file off: DuckDB knows no
    difference. Therefore single files are allowed and no folder (a folder let a `copy` replace a
    part in its ordinary way), parts have no write permission, and who runs statements of
    strangers asks `only_reads` first.
    """
    connection = duckdb.connect(str(path), read_only=True, config=NO_DOWNLOADS)
    try:
        # two connections of one process to one file share their settings, locked by the first
        if not connection.execute("select current_setting('lock_configuration')").fetchall()[0][0]:
            connection.execute("set TimeZone = 'UTC'")
            [(catalog,)] = connection.execute("select current_database()").fetchall()
            allowed = _listed_parts(connection, catalog)
            if as_of:
                connection.execute(f"attach '{quoted(as_of)}' as as_of (read_only)")
                allowed += _listed_parts(connection, "as_of")
            listed = ", ".join(f"'{quoted(part)}'" for part in allowed)
            connection.execute(f"set allowed_paths = [{listed}]")
            connection.execute("set enable_external_access = false")
            connection.execute("set lock_configuration = true")
        yield connection
    finally:
        connection.close()


def _listed_parts(connection: duckdb.DuckDBPyConnection, catalog: str) -> list[Path]:
    exists = connection.execute(
        "select 1 from duckdb_tables()"
        " where (database_name, schema_name, table_name) = (?, 'published', 'parts')",
        [catalog],
    ).fetchall()
    if not exists:
        return []
    query = f'select path from "{catalog}".published.parts'
    return [Path(path) for (path,) in connection.execute(query).fetchall()]


_HARMLESS = {
    duckdb.StatementType.SELECT,
    duckdb.StatementType.SET,
    duckdb.StatementType.CREATE,
    duckdb.StatementType.CALL,
    duckdb.StatementType.PRAGMA,
}
# EXPLAIN ANALYZE runs what it explains, and a COPY of a PIVOT is several statements: their words
# are looked at
_COMPOUND = {duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI}
_WRITING_WORDS = re.compile(r"\b(copy|export|attach|prepare|execute)\b", re.IGNORECASE)


def only_reads(connection: duckdb.DuckDBPyConnection, query: str) -> bool:
    """Whether no statement of a text can write a file. Raises duckdb.ParserException."""
    return all(
        statement.type in _HARMLESS
        or (statement.type in _COMPOUND and not _WRITING_WORDS.search(statement.query))
        for statement in connection.extract_statements(query)
    )


_connection_gate = threading.Lock()


@contextmanager
def _the_only_connection() -> Iterator[None]:
    # Closing a second handle on the same path drops the process's lock on the first one, and
    # committed rows can be lost without a word: there is never a second one.
    if not _connection_gate.acquire(blocking=False):
        raise RuntimeError("this process has the build file or the marts open already")
    try:
        yield
    finally:
        _connection_gate.release()


@contextmanager
def _busy() -> Iterator[None]:
    # DuckDB refuses at once, and says who: `Conflicting lock is held in … (PID …)`.
    try:
        yield
    except duckdb.IOException as error:
        if "onflicting lock" not in str(error):
            raise
        raise WarehouseBusyError(
            f"a file of the warehouse is open in another program: {str(error).splitlines()[0]}"
            " Close it; look at published/<environment>/latest.duckdb instead, which is never in"
            " the way."
        ) from error


def _folder(environ: Mapping[str, str], name: str, default: Path) -> Path:
    text = environ.get(name, "").strip()
    folder = Path(text).expanduser().resolve() if text else default
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{name} is {folder}, which is a file. Name a folder.")
    return folder


def _shares_file(environ: Mapping[str, str]) -> Path | None:
    text = environ.get("ROLLCALL_SHARES", "").strip()
    file = Path(text).expanduser().resolve() if text else None
    if file and not file.is_file():
        raise ConfigurationError(
            f"ROLLCALL_SHARES is {file}, and there is no such file. Write it, or unset"
            " ROLLCALL_SHARES to share nothing."
        )
    return file


def _policy(text: str) -> Policy:
    words = [word.strip() for word in text.split(",") if word.strip()]
    days = [int(word) for word in words if word.isdecimal() and int(word) > 0]
    plans = [word for word in words if word == "plan"]
    if len(days) + len(plans) != len(words) or len(days) > 1 or len(plans) > 1:
        raise ConfigurationError(
            f"ROLLCALL_RETENTION is {text!r}. It has to be `plan`, a number of days, or both:"
            " `plan,730`; unset it to keep everything."
        )
    return Policy(bool(plans), days[0] if days else None)


def _alert_url(environ: Mapping[str, str]) -> str:
    url = environ.get("ROLLCALL_ALERT_URL", "").strip()
    if url and not re.fullmatch(r"https?://[^\s/]+\S*", url):
        # not the value: such URLs hold a token
        raise ConfigurationError(
            "ROLLCALL_ALERT_URL is no http:// or https:// address. Correct or unset it."
        )
    return url


def _sharing_url(environ: Mapping[str, str]) -> str:
    url = environ.get("ROLLCALL_SHARING_URL", "").strip().rstrip("/")
    if not url:
        return ""
    parts = urlsplit(url)
    is_here = parts.hostname in ("127.0.0.1", "localhost", "::1")
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_here)
    if not is_safe or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            "ROLLCALL_SHARING_URL has to be an https:// address, such as"
            " https://shares.example.com: tokens travel to it."
        )
    return url


def _memory(environ: Mapping[str, str]) -> str:
    text = environ.get("ROLLCALL_MEMORY", "").strip() or "80%"
    if not re.fullmatch(r"(?i)0*[1-9]\d*(\.\d+)?\s*(%|[kmgt]i?b)", text):
        raise ConfigurationError(
            f"ROLLCALL_MEMORY is {text!r}. It has to be an amount such as 4GB, or a share of what"
            " the machine has such as 80%."
        )
    return text


def _lock_seconds(environ: Mapping[str, str]) -> float:
    text = environ.get("ROLLCALL_LOCK_SECONDS", "").strip() or "120"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise ConfigurationError(
            f"ROLLCALL_LOCK_SECONDS is {text!r}. It has to be a number of seconds, 0 or more."
        )
    return seconds


def _describe(holder: Mapping[str, str]) -> str:
    if not holder:
        return "a process that left no name"
    return f"process {holder.get('pid')}, {holder.get('purpose')}, since {holder.get('since')}"


def quoted(path: Path) -> str:
    """A path as the inside of a string in SQL."""
    return str(path).replace("'", "''")
