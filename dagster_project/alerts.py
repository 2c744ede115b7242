"""One hook for what somebody has to know: a line in the log, and a POST where a URL is set.

Belongs here: what an alert says, how it is sent, what is stale. Does not belong here: who notices
(run.py, defs/alerts.py).

ROLLCALL_ALERT_URL gets `{"kind", "title", "details", "home"}` and `text`, the same in one string,
which is what chat tools show. Such a URL is a secret: it is in no log, no error and no file. An
alert that can't be sent is a line in the log and never the reason why a run fails.
"""

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from dagster_project import contents
from dagster_project.warehouse import ENVIRONMENTS, Warehouse, WarehouseBusyError
from landing import TABLES

SECONDS_TO_SEND = 10
# As the freshness policy of what is published: two days without anything new.
STALE_AFTER = timedelta(hours=50)
# A table is missed when it used to come on at least half of the days.
DAYS_LOOKED_AT, DAYS_USUAL = 14, 7
DETAILS_TOLD = 20

_log = logging.getLogger("rollcall.alerts")


@dataclass(frozen=True)
class Alert:
    """`kind`: run_failed, check_failed or stale; `details`: a sentence each."""

    kind: str
    title: str
    details: Sequence[str] = ()

    @property
    def text(self) -> str:
        """All of it, for people."""
        told = list(self.details[:DETAILS_TOLD])
        if more := len(self.details) - len(told):
            told.append(f"and {more} more")
        return "\n".join([f"Rollcall: {self.title}", *told])


def of_run(job: str, failed_steps: dict[str, str], failed_checks: Sequence[str]) -> Alert:
    """The alert of a failed run; of a failed check where one blocked it."""
    causes = [f"{step}: {cause}" for step, cause in sorted(failed_steps.items())]
    if failed_checks:
        title = f"{len(failed_checks)} failed check(s) held back what `{job}` built"
        return Alert("check_failed", title, [*sorted(failed_checks), *causes])
    return Alert("run_failed", f"`{job}` failed; what was published stays", causes)


def send(at: Warehouse, alert: Alert) -> bool:
    """Log an alert, post it where ROLLCALL_ALERT_URL says; False when it was not taken there."""
    _log.warning("%s", alert.text)
    if not at.alert_url:
        return True
    body = {
        "kind": alert.kind,
        "title": alert.title,
        "details": list(alert.details[:DETAILS_TOLD]),
        "home": at.home.name,
        "text": alert.text,
    }
    try:
        request = urllib.request.Request(
            at.alert_url,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "rollcall"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=SECONDS_TO_SEND):
            return True
    except urllib.error.HTTPError as error:
        _log.error("ROLLCALL_ALERT_URL answered %s to an alert", error.code)
    except (OSError, ValueError) as error:
        # its text may hold the address
        _log.error("ROLLCALL_ALERT_URL can't be reached: %s", type(error).__name__)
    return False


@dataclass(frozen=True)
class Stale:
    """What got nothing new for longer than STALE_AFTER: since when (UTC)."""

    name: str
    since: datetime

    @property
    def sentence(self) -> str:
        """For an alert."""
        return f"{self.name}: nothing new since {self.since:%Y-%m-%d %H:%M} UTC"


def stale(at: Warehouse, now: datetime) -> list[Stale]:
    """Environments whose newest version is old, and event tables that used to come daily."""
    now = now.replace(tzinfo=None)
    found = []
    for environment in ENVIRONMENTS:
        said = contents.read_current(at.published_folder(environment))
        if said and now - said.published_at > STALE_AFTER:
            found.append(Stale(f"published/{environment}", said.published_at))
    return [*found, *_stale_tables(at, now)]


def _stale_tables(at: Warehouse, now: datetime) -> Iterable[Stale]:
    if not at.build_file.exists():
        return
    try:
        with at.connect() as connection:
            rows = connection.execute(
                """
                with landed as (
                    select
                        table_name, landed_at,
                        max(landed_at) over (partition by table_name) as last
                    from raw.landed_files where status = 'landed' and lines > 0
                )
                select table_name, last
                from landed where landed_at > last - to_days(?)
                group by table_name, last having count(distinct landed_at::date) >= ?
                order by table_name
                """,
                [DAYS_LOOKED_AT, DAYS_USUAL],
            ).fetchall()
    except (WarehouseBusyError, duckdb.CatalogException):
        # a run is going on: it says so itself at its end
        return
    for table, last in rows:
        if TABLES[table].family != "entity" and now - last > STALE_AFTER:
            yield Stale(f"raw.{table}", last)


def tell_of_stale(at: Warehouse, now: datetime) -> list[Stale]:
    """Send one alert of what became stale since the last one; what is told is not told again."""
    found = stale(at, now)
    told = _told(at)
    current = {one.name: one.since.isoformat() for one in found}
    news = [one for one in found if told.get(one.name) != current[one.name]]
    if news:
        title = f"{len(news)} table(s) got nothing new for {STALE_AFTER.total_seconds() / 3600:g} h"
        if not send(at, Alert("stale", title, [one.sentence for one in news])):
            return news
    if current != told:
        unfinished = at.told_file.with_suffix(".tmp")
        unfinished.write_text(json.dumps(current))
        unfinished.replace(at.told_file)
    return news


def _told(at: Warehouse) -> dict[str, str]:
    try:
        found = json.loads(at.told_file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
