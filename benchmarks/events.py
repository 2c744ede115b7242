"""The events that contenders start from: Parquet files in the shape in which landing stores rows.

Belongs here: one hash-seeded SELECT a table and month, that makes the same rows every time. Does
not belong here: spoilt records, files to land (see simulator/).

A year of a company with 12 workspaces, 96 projects and 192 services (300 scopes in which users are
counted). Users come and go during the year; their rates are skewed, so that a few are active daily
and most now and then. A user works in one or two projects, one of them sometimes in another
workspace. Some users are bots, some merged (chains of up to two), some traffic is a test,
impersonated, sandbox, anonymous or from a clock that runs ahead.
"""

import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb

from landing.contract import TABLES
from landing.schema import META_COLUMNS, create_raw_schema

FIRST_DAY = date(2025, 10, 1)
DAYS = 365
WORKSPACES = 12
PROJECTS_EACH = 8
# measured: events that one user causes in the year, requests without a user included
EVENTS_A_USER = 217
# rewritten when the rows would be others
VERSION = 2

EVENT_TABLES = ("auth_events", "session_events", "platform_events")
OTHERS = ("users", "user_agents", "landed_files")


@dataclass(frozen=True)
class Events:
    """A folder with a sub-folder of Parquet files a raw table, and how many events they hold."""

    folder: Path
    count: int

    def files(self, table: str) -> str:
        """Glob of a raw table's files, as every contender's reader takes it."""
        return str(self.folder / table / "*.parquet")


def make_events(events: int, folder: Path) -> Events:
    """Write about `events` events below `folder`, unless they are there; 20M take two minutes."""
    target = folder / f"events-{events}"
    stamp = target / "made.json"
    wanted = {"version": VERSION, "columns": {name: _columns(name) for name in EVENT_TABLES}}
    if stamp.exists():
        made = json.loads(stamp.read_text())
        if {key: made.get(key) for key in wanted} == wanted:
            return Events(target, made["count"])
        stamp.unlink()
    target.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("set preserve_insertion_order = true")
        create_raw_schema(connection)
        _create_macros(connection)
        _create_cast(connection, max(50, round(events / EVENTS_A_USER)))
        count = sum(
            _write_month(connection, target, first, min(31, DAYS - first))
            for first in range(0, DAYS, 31)
        )
        _fill_others(connection)
        for table in connection.execute(
            "select table_name from information_schema.tables where table_schema = 'raw'"
        ).fetchall():
            if table[0] not in EVENT_TABLES:
                _write(connection, f"from raw.{table[0]}", target / table[0] / "all.parquet")
    stamp.write_text(json.dumps({**wanted, "count": count}))
    return Events(target, count)


def _columns(table: str) -> list[str]:
    return [name for name, _ in TABLES[table].columns + META_COLUMNS]


def _create_macros(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """
        -- share: in [0, 1); pick: in 0 … n - 1; both a function of a key and a salt
        -- hashed twice: hash(key, 1) and hash(key, 2) alone differ by a constant pattern of bits
        create macro mixed(key, salt) as hash(hash(key, salt));
        create macro share(key, salt) as (mixed(key, salt) >> 11) / 9007199254740992.0;
        create macro pick(key, salt, n) as (mixed(key, salt) % n)::integer;
        create macro hexes(key, salt) as printf('%016x', mixed(key, salt));
        create macro workspace_name(no) as 'wks_' || hexes(no, 900);
        create macro project_name(no) as 'prj_' || hexes(no, 901);
        create macro service_name(no) as
            hexes(no, 902)[1:8] || '-' || hexes(no, 902)[9:12] || '-4' || hexes(no, 903)[2:4]
            || '-8' || hexes(no, 903)[6:8] || '-' || hexes(no, 904)[1:12];
        create macro agent_name(no) as
            'Mozilla/5.0 (Machine ' || no || '; rv:1.0) AppleWebKit/537.36 (KHTML, like Gecko) '
            || 'Chrome/' || (100 + no) || '.0.0.0 Safari/537.36';
        """
    )


def _create_cast(connection: duckdb.DuckDBPyConnection, users: int) -> None:
    """Table `people`: a row a user, with what does not change from day to day."""
    connection.execute(
        f"""
        create table people as
        select
            no,
            'usr_' || hexes(no, 1) || hexes(no, 2)[1:10] as user_id,
            case when share(no, 3) < 0.01 then 'bot' else 'human' end as kind,
            -- into a user of a lower number; every second of those may be merged itself
            case
                when no > 10 and no % 50 = 7 then no - 7
                when no > 10 and no % 100 = 50 then no - 3
            end as merged_into_no,
            0.02 + 0.5 * pow(share(no, 4), 4) as rate,
            floor(share(no, 5) * {DAYS * 4 // 3})::integer - {DAYS // 3} as from_day,
            from_day + 1 + floor(share(no, 6) * 500)::integer as until_day,
            -- squared: the first workspace has seven times the users of the last
            floor({WORKSPACES} * pow(share(no, 7), 2))::integer as workspace_no,
            workspace_no * {PROJECTS_EACH}
                + floor({PROJECTS_EACH} * pow(share(no, 8), 1.5))::integer as project_no,
            case
                when share(no, 9) < 0.35 then workspace_no * {PROJECTS_EACH}
                    + pick(no, 10, {PROJECTS_EACH})
                when share(no, 9) < 0.4 then pick(no, 10, {WORKSPACES * PROJECTS_EACH})
                else project_no
            end as other_project_no,
            pick(no, 11, 50) as agent_no,
            share(no, 12) < 0.2 as has_mfa,
            ['github', 'google', 'microsoft', null][1 + pick(no, 13, 4)] as provider
        from range({users}) as numbers(no)
        """
    )


def _write_month(connection: duckdb.DuckDBPyConnection, target: Path, first: int, days: int) -> int:
    """Write the events of `days` days from day `first` on, a file a table; returns how many."""
    month = FIRST_DAY + timedelta(days=first)
    connection.execute(
        f"""
        create or replace temp table visits as
        with present as (
            select people.*, {first} + days.day as day,
                mixed(no, 20 + {first} + days.day) as day_key
            from people
            cross join range({days}) as days(day)
            where {first} + days.day between from_day and until_day
                -- Monday is day 1 of the week
                and share(day_key, 21) < rate
                    * case when isodow(date '{FIRST_DAY}' + ({first} + days.day)::integer) > 5
                        then 0.4 else 1 end
        ),
        doubled as (
            select present.*, visit, mixed(day_key, 30 + visit) as visit_key
            from present
            cross join (values (0), (1)) as visits(visit)
            where visit = 0 or share(day_key, 22) < 0.3
        ),
        drawn as (
            select
                *,
                -- more short visits than long ones
                1 + floor(12 * pow(share(visit_key, 31), 2))::integer as event_count,
                floor(9 * pow(share(visit_key, 32), 1.5))::integer as request_count,
                share(visit_key, 33) < 0.6 as has_session_id,
                share(visit_key, 34) < 0.05 as is_anonymous,
                share(visit_key, 35) < 0.01 as is_test,
                share(visit_key, 36) < 0.01 as is_impersonated,
                case when share(visit_key, 37) < 0.1 then 'sandbox' else 'production' end
                    as environment,
                case when share(visit_key, 38) < 0.3 then other_project_no else project_no end
                    as visited_project_no,
                visit * 43200 + 600 + floor(share(visit_key, 39) * 36000)::integer as start_second,
                20 + pick(visit_key, 40, 180) as step,
                -- a pause longer than the gap, somewhere in the visit
                case when share(visit_key, 41) < 0.1 then pick(visit_key, 42, 6) else 99 end
                    as pause_at,
                pick(visit_key, 43, 100) as ending
            from doubled
        )
        select
            visit_key,
            environment,
            workspace_name(visited_project_no // {PROJECTS_EACH}) as workspace_id,
            project_name(visited_project_no) as project_id,
            case when share(visit_key, 44) < 0.8
                then service_name(visited_project_no * 2 + pick(visit_key, 45, 2)) end
                as service_id,
            case when not is_anonymous then user_id end as user_id,
            case when is_anonymous or share(visit_key, 46) < 0.5 then 'anon_' || hexes(no, 47) end
                as anonymous_id,
            case when has_session_id then 'ses_' || hexes(visit_key, 48) end as session_id,
            case when is_impersonated then 'usr_support' end as impersonator_id,
            is_test,
            agent_name(agent_no) as user_agent,
            has_mfa,
            provider,
            event_count,
            request_count,
            step,
            pause_at,
            ending,
            timestamp '{FIRST_DAY}' + to_days(day) + to_seconds(start_second) as started_at
        from drawn
        """
    )
    selects = {
        "session_events": _session_events(),
        "auth_events": _auth_events(),
        "platform_events": _platform_events(first, days),
    }
    count = 0
    for table, select in selects.items():
        count += _fill(connection, table, select)
        _write(
            connection,
            f"from raw.{table} order by received_at, id",
            target / table / f"{month:%Y-%m-%d}.parquet",
        )
        connection.execute(f"truncate raw.{table}")
    return count


def _session_events() -> str:
    """A visit's events: its start and what was done, then perhaps how the session was closed."""
    return """
        with numbered as (
            select *, unnest(range(event_count + case when ending < 40 then 1 else 0 end)) as k
            from visits
        ),
        typed as (
            select
                *,
                mixed(visit_key, 100 + k) as event_key,
                case
                    when k = event_count and ending < 33 then 'session.ended'
                    when k = event_count then 'session.revoked'
                    when k = 0 and session_id is not null then 'session.started'
                    else ['session.activity', 'session.activity', 'session.activity',
                        'session.activity', 'session.activity', 'session.activity', 'action.run',
                        'metric.logged', 'journey.step', 'custom.saved'][1 + pick(event_key, 1, 10)]
                end as type
            from numbered
        )
        select
            * exclude (type),
            type,
            started_at + to_microseconds(
                (k * step + case when k > pause_at then 2400 else 0 end) * 1000000
                + pick(event_key, 2, 1000000)
            ) as occurred_at,
            case when type = 'session.revoked' then 'policy' end as reason,
            case when type = 'session.revoked' then 'admin' end as revoked_by_kind,
            case when type = 'metric.logged' then 'latency' end as name,
            case when type = 'metric.logged' then pick(event_key, 3, 1000) end as numeric_value,
            case when type = 'journey.step' then 'jrn_' || hexes(visit_key, 4) end as journey_id,
            case when type = 'action.run' then 'export' end as action_name
        from typed
    """


def _auth_events() -> str:
    """How a visit signs in: failures before a success, MFA, token refreshes, a logout."""
    return """
        with acts as (
            select
                *,
                unnest(list_filter([
                    case when share(visit_key, 60) < 0.08 then 'failed login' end,
                    case when share(visit_key, 61) < 0.6 then 'login' else 'token_refresh' end,
                    case when has_mfa and share(visit_key, 61) < 0.6 then 'mfa_challenge' end,
                    case when has_mfa and share(visit_key, 61) < 0.57 then 'mfa_verification' end,
                    case when share(visit_key, 62) < 0.2 then 'token_exchange' end,
                    case when share(visit_key, 63) < 0.01 then 'password_reset' end,
                    case when ending < 15 then 'logout' end
                ], lambda act: act is not null)) as act
            from visits
            where user_id is not null
        )
        select
            *,
            mixed(visit_key, act) as event_key,
            case when act = 'failed login' then 'login' else act end as type,
            case
                when act = 'failed login' then 'failure'
                when act not in ('mfa_challenge', 'logout') then 'success'
            end as outcome,
            case when act = 'failed login' then 'wrong_password' end as failure_reason,
            case
                when provider is not null then 'oauth'
                else ['password', 'passkey', 'magic_link'][1 + pick(visit_key, 64, 3)]
            end as method,
            started_at - to_microseconds(
                pick(event_key, 65, 30000000)
                + case when act = 'failed login' then 30000000 else 0 end
            ) as occurred_at
        from acts
    """


def _platform_events(first: int, days: int) -> str:
    """Requests of visits, and half as many of machines, which name no user."""
    return f"""
        with requests as (
            select *, unnest(range(request_count)) as k
            from visits
        ),
        called as (
            select
                mixed(visit_key, 200 + k) as event_key,
                environment,
                workspace_id,
                project_id,
                service_id,
                user_id,
                session_id,
                impersonator_id,
                is_test,
                started_at + to_seconds(k * step) + to_microseconds(pick(event_key, 1, 1000000))
                    as occurred_at
            from requests
            union all by name
            select
                mixed(no, 300 + {first}) as event_key,
                'production' as environment,
                workspace_name(project_no // {PROJECTS_EACH}) as workspace_id,
                project_name(project_no) as project_id,
                service_name(project_no * 2) as service_id,
                false as is_test,
                timestamp '{FIRST_DAY}' + to_days({first})
                    + to_microseconds(floor(share(event_key, 2) * {days} * 86400e6)::bigint)
                    as occurred_at
            from (
                select no, pick(no, 310 + {first}, {WORKSPACES * PROJECTS_EACH}) as project_no
                from range((select sum(request_count)::bigint // 2 from visits)) as numbers(no)
            )
        )
        select
            *,
            case when share(event_key, 3) < 0.97 then 'api.request' else 'app.error' end as type,
            'GET' as method,
            '/v1/things/' || pick(event_key, 4, 20) as route,
            case when share(event_key, 5) < 0.97 then 200 else 500 end as status_code,
            5 + pick(event_key, 6, 400) as latency_ms
        from called
    """


def _fill(connection: duckdb.DuckDBPyConnection, table: str, select: str) -> int:
    """Insert a SELECT of `event_key`, `occurred_at` and whatever columns it has; returns rows."""
    connection.execute(
        f"""
        create or replace temp table made as
        select
            * replace (
                -- a clock that runs ahead, once in a thousand
                case when share(event_key, 80) < 0.001 then occurred_at + interval 1 hour
                    else occurred_at end as occurred_at
            ),
            'evt_' || hexes(event_key, 81) || hexes(event_key, 82)[1:8] as id,
            'trc_' || hexes(event_key, 83) as trace_id,
            made.occurred_at + to_milliseconds(pick(event_key, 84, 5000)) as received_at,
            '203.0.113.' || pick(event_key, 85, 256) as ip,
            hexes(event_key, 86) || hexes(event_key, 87) as _content_hash,
            mixed(event_key, 88) as _key_hash,
            '{table}/made.parquet' as _file,
            row_number() over () as _line,
            received_at + interval 1 day as _landed_at,
            1 as _batch
        from ({select}) as made
        """
    )
    connection.execute(
        """
        create or replace temp view flagged as
        select
            *,
            occurred_at > received_at + interval 5 minute as _is_clock_skewed,
            cast(case when _is_clock_skewed then received_at else occurred_at end as date)
                as _activity_date
        from made
        """
    )
    stored = _described(connection, f"raw.{table}")
    shared = ", ".join(name for name in _described(connection, "flagged") if name in stored)
    row = connection.execute(
        f"insert into raw.{table} ({shared}) select {shared} from flagged"
    ).fetchone()
    return int(row[0]) if row else 0


def _fill_others(connection: duckdb.DuckDBPyConnection) -> None:
    """Users, user agents, and one ledger row a table that covers every day."""
    last = FIRST_DAY + timedelta(days=DAYS - 1)
    connection.execute(
        f"""
        insert into raw.users by name
        select
            people.user_id as id,
            workspace_name(people.workspace_no) as workspace_id,
            people.kind,
            survivors.user_id as merged_into,
            timestamp '{FIRST_DAY}' as created_at,
            timestamp '{FIRST_DAY}' as updated_at,
            hexes(people.no, 90) as _content_hash,
            1 as _batch
        from people
        left join people as survivors on people.merged_into_no = survivors.no
        -- some are named by events alone
        where people.no % 40 <> 3;

        insert into raw.user_agents by name
        select
            agent_name(no) as user_agent,
            ['Desktop', 'Phone', 'Tablet', 'Robot'][1 + no % 4] as device_class,
            1 as _batch
        from range(50) as numbers(no);

        insert into raw.landed_files by name
        select
            table_name || '/made.parquet' as path,
            table_name,
            'landed' as status,
            date '{FIRST_DAY}' as covers_from,
            date '{last}' as covers_to,
            row_number() over () as _batch
        from unnest({list(EVENT_TABLES)}) as tables(table_name)
        """
    )


def _described(connection: duckdb.DuckDBPyConnection, relation: str) -> list[str]:
    return [row[0] for row in connection.execute(f"describe {relation}").fetchall()]


def _write(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"copy ({query}) to '{path}' (format parquet, compression zstd)")
