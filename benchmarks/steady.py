"""A company that does the same every day: as raw rows of a history, or as a day's files to land.

Belongs here: one hash-seeded SELECT a table, and its two uses. Does not belong here: what is done
with a home (one_more_day.py), spoilt records (simulator/).

A day has the same number of events whatever its number: people draw turns of 20 events each, most
of them from those who come often. 15,000 turns make 300,000 events: 2 of 20 are sign-ins, 9 of a
session, 8 requests, 1 of the other tables. People join every day and change their record, so that
their number grows with the history, as it would; one turn in 200 reaches us up to three days late.
"""

from datetime import date, timedelta
from pathlib import Path

import duckdb

from landing.contract import TABLES, Table
from landing.fastpath import key_hash
from landing.keys import create_keys
from landing.schema import create_raw_schema, stored_columns

FIRST_DAY = date(2025, 1, 1)
EVENTS_A_TURN = 20
WORKSPACES = 12
PROJECTS = 96
AGENTS = 40
DAYS_AT_ONCE = 10
# for each event table: which of a turn's places are its own, and of which turns
PARTS = {
    "auth_events": (0, 1, "true"),
    "session_events": (2, 10, "true"),
    "platform_events": (11, 18, "true"),
    "membership_events": (19, 19, "pick(turn_key, 50, 5) = 0"),
    "webhook_deliveries": (19, 19, "pick(turn_key, 50, 5) = 1"),
    "campaign_events": (19, 19, "pick(turn_key, 50, 5) = 2"),
    "loyalty_events": (19, 19, "pick(turn_key, 50, 5) = 3"),
    "notification_events": (19, 19, "pick(turn_key, 50, 5) = 4"),
}
# what a table's rows have besides the columns of every event
DATA = {
    "auth_events": """
        case
            when place = 0 then 'login'
            when share(turn_key, 60) < 0.3 then 'mfa_verification'
            else 'token_refresh'
        end as type,
        case when share(event_key, 61) < 0.92 then 'success' else 'failure' end as outcome,
        ['github', 'google', 'microsoft'][1 + pick(turn_key, 62, 3)] as provider,
        ['oauth', 'password', 'passkey'][1 + pick(turn_key, 63, 3)] as method,
        case when outcome = 'failure' then 'wrong_password' end as failure_reason
    """,
    "session_events": """
        case place
            when 2 then 'session.started' when 10 then 'session.ended' else 'session.activity'
        end as type
    """,
    "platform_events": """
        'api.request' as type,
        ['GET', 'POST', 'PUT'][1 + pick(event_key, 64, 3)] as method,
        '/v1/things/' || pick(event_key, 65, 40) as route,
        case when share(event_key, 66) < 0.98 then 200 else 500 end as status_code,
        round(5 + 200 * share(event_key, 67), 1) as latency_ms
    """,
    "membership_events": "'membership.added' as type, 'mbr_' || user_id as membership_id",
    "webhook_deliveries": """
        'webhook.attempted' as type, 'dlv_' || hexes(event_key, 68) as delivery_id,
        'end_' || project_no as endpoint_id, 1 as attempt, 'delivered' as outcome
    """,
    "campaign_events": """
        'message.sent' as type, 'msg_' || hexes(event_key, 69) as message_id, 'email' as channel
    """,
    "loyalty_events": "'points.earned' as type, 10 + pick(event_key, 70, 90) as points",
    "notification_events": """
        'notification.sent' as type, 'ntf_' || hexes(event_key, 71) as notification_id
    """,
}
ENTITIES = ("workspaces", "projects", "services", "users")


def fill_history(connection: duckdb.DuckDBPyConnection, days: int, events_a_day: int) -> int:
    """Fill raw tables with days 0 … days - 1 as if each had landed in its time; returns events.

    The rows have the columns that landing gives them, but an empty payload and content hash: a
    later copy of one of them would be met by its key as ever, and there is none. 300 days of
    300,000 events take about 5 minutes.
    """
    create_raw_schema(connection)
    create_macros(connection)
    count = 0
    for first in range(0, days, DAYS_AT_ONCE):
        last = min(first + DAYS_AT_ONCE, days) - 1
        draw_turns(connection, first, last, events_a_day)
        connection.execute("begin")
        for number, name in enumerate((*ENTITIES, *PARTS)):
            rows = f"({select(name, events_a_day)})"
            count += _insert(connection, TABLES[name], number, first, rows)
        connection.execute("commit")
    connection.execute(
        """
        insert into raw.user_agents
        select agent_name(no), 'Desktop', 1 from range(?) as numbers(no)
        """,
        [AGENTS],
    )
    create_keys(connection)
    return count


def write_day(day: int, events_a_day: int, landing: Path) -> int:
    """Write the JSON Lines files of one day below a landing folder; returns their lines."""
    count = 0
    with duckdb.connect(config={"threads": 2}) as connection:
        create_macros(connection)
        draw_turns(connection, day, day, events_a_day)
        for name in (*ENTITIES, *PARTS):
            table = TABLES[name]
            rows = f"({select(name, events_a_day)})"
            kinds = dict(
                connection.execute(
                    f"select column_name, column_type from (describe from {rows})"
                ).fetchall()
            )
            own = [item.name for item in table.data_fields if item.name in kinds]
            iso = "strftime({0}, '%Y-%m-%dT%H:%M:%SZ') as {0}"
            top = [
                iso.format(column) if kind == "TIMESTAMP" else column
                for column, kind in kinds.items()
                if column not in own and column != "day"
            ]
            data = ", ".join(f"{column} := {column}" for column in own)
            nested = [f"struct_pack({data}) as data"] if own else []
            (landing / name).mkdir(parents=True, exist_ok=True)
            path = landing / name / f"{FIRST_DAY + timedelta(days=day)}.jsonl"
            (written,) = connection.execute(
                f"copy (select {', '.join(top + nested)} from {rows}) to '{path}' (format json)"
            ).fetchall()[0]
            count += written
            if not written:
                path.unlink()
    return count


def create_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the functions that turn a key and a salt into something drawn by chance."""
    connection.execute(
        f"""
        create temp macro mixed(key, salt) as hash(hash(key, salt));
        create temp macro share(key, salt) as (mixed(key, salt) >> 11) / 9007199254740992.0;
        create temp macro pick(key, salt, n) as (mixed(key, salt) % n)::integer;
        create temp macro hexes(key, salt) as printf('%016x', mixed(key, salt));
        create temp macro end_of(day) as timestamp '{FIRST_DAY}' + to_days(day::integer + 1);
        create temp macro user_name(no) as 'usr_' || hexes(no, 1);
        create temp macro workspace_name(no) as 'wks_' || hexes(no, 2);
        create temp macro project_name(no) as 'prj_' || hexes(no, 3);
        create temp macro service_name(no) as
            hexes(no, 4)[1:8] || '-' || hexes(no, 4)[9:12] || '-4' || hexes(no, 5)[2:4]
            || '-8' || hexes(no, 5)[6:8] || '-' || hexes(no, 6)[1:12];
        create temp macro agent_name(no) as
            'Mozilla/5.0 (Machine ' || no || '; rv:1.0) AppleWebKit/537.36 (KHTML, like Gecko) '
            || 'Chrome/' || (100 + no) || '.0.0.0 Safari/537.36';
        """
    )


def draw_turns(
    connection: duckdb.DuckDBPyConnection, first: int, last: int, events_a_day: int
) -> None:
    """Make table `turns` of the days first … last: a row a turn, by day."""
    people, joining = _people(events_a_day)
    connection.execute(
        f"""
        create or replace temp table turns as
        select
            day,
            hash(day::bigint * 100000000 + no, 10) as turn_key,
            timestamp '{FIRST_DAY}' + to_days(day::integer) as midnight,
            floor(({people} + {joining} * day) * pow(share(turn_key, 11), 1.3))::bigint as user_no,
            (user_no % {PROJECTS})::integer as project_no,
            600 + pick(turn_key, 12, 75000) as start_second,
            30 + pick(turn_key, 13, 300) as step,
            case when share(turn_key, 14) < 0.005 then 1 + pick(turn_key, 15, 3) else 0 end
                as days_late,
            user_name(user_no) as user_id,
            case when share(turn_key, 16) < 0.6 then 'ses_' || hexes(turn_key, 17) end
                as session_id
        from range({first}, {last + 1}) as days(day)
        cross join range({events_a_day // EVENTS_A_TURN}) as numbers(no)
        """
    )


def select(name: str, events_a_day: int) -> str:
    """SQL of a table's rows over the days of `turns`, with `day`; columns named as in raw."""
    if name in ENTITIES:
        return _select_entities(name, events_a_day)
    first, last, condition = PARTS[name]
    return f"""
        select
            day,
            'evt_' || hexes(event_key, 20) as id,
            midnight + to_seconds(start_second + place * step + 2) as received_at,
            received_at - to_seconds(2) - to_days(days_late) as occurred_at,
            case when share(turn_key, 21) < 0.07 then 'sandbox' else 'production' end
                as environment,
            workspace_name(project_no // {PROJECTS // WORKSPACES}) as workspace_id,
            project_name(project_no) as project_id,
            case when share(turn_key, 24) < 0.8 then service_name(project_no * 2) end as service_id,
            user_id,
            session_id,
            'anon_' || user_no as anonymous_id,
            share(turn_key, 22) < 0.01 as is_test,
            case when share(turn_key, 23) < 0.005 then user_name(0) end as impersonator_id,
            agent_name(pick(user_no, 25, {AGENTS})) as user_agent,
            {DATA[name]}
        from (
            select *, hash(turn_key, place) as event_key
            from turns
            cross join range({first}, {last + 1}) as places(place)
            where {condition}
        )
    """


def _select_entities(name: str, events_a_day: int) -> str:
    people, joining = _people(events_a_day)
    begin = f"timestamp '{FIRST_DAY}' - to_days(1)"
    once = "where day = 0"
    days = "(select distinct day, midnight from turns)"
    if name == "workspaces":
        return f"""
            select day, workspace_name(no) as id, 'w-' || no as slug, 'Workspace ' || no as name,
                'enterprise' as plan_id, {begin} as created_at, {begin} as updated_at
            from {days}, range({WORKSPACES}) as numbers(no) {once}
        """
    if name == "projects":
        return f"""
            select day, project_name(no) as id,
                workspace_name(no // {PROJECTS // WORKSPACES}) as workspace_id,
                'Project ' || no as name, {begin} as created_at, {begin} as updated_at
            from {days}, range({PROJECTS}) as numbers(no) {once}
        """
    if name == "services":
        return f"""
            select day, service_name(no) as id,
                workspace_name(no // {2 * PROJECTS // WORKSPACES}) as workspace_id,
                project_name(no // 2) as project_id,
                'Service ' || no as name, {begin} as created_at, {begin} as updated_at
            from {days}, range({2 * PROJECTS}) as numbers(no) {once}
        """
    # all that there are on day 0, then those who join, and as many whose record changes
    return f"""
        select distinct on (day, no) day, user_name(no) as id,
            workspace_name((no % {PROJECTS}) // {PROJECTS // WORKSPACES}) as workspace_id,
            'human' as kind,
            timestamp '{FIRST_DAY}' - to_days(1)
                + to_days(greatest(0, 1 + (no - {people}) // {joining})::integer) as created_at,
            midnight as updated_at
        from (
            select day, midnight, unnest(range({people})) as no from {days} where day = 0
            union all
            select day, midnight, unnest(range({people} + {joining} * (day - 1),
                {people} + {joining} * day)) from {days} where day > 0
            union all
            select day, midnight, pick(hash(day, place), 30, {people})
            from {days}, range({joining}) as places(place) where day > 0
        )
    """


def _people(events_a_day: int) -> tuple[int, int]:
    """How many people there are on day 0, and how many join on each day after it."""
    people = max(100, events_a_day // 8)
    return people, max(1, people // 200)


def _insert(
    connection: duckdb.DuckDBPyConnection, table: Table, number: int, first: int, rows: str
) -> int:
    tables = len(ENTITIES) + len(PARTS)
    path = f"'{table.name}/' || (date '{FIRST_DAY}' + day::integer) || '.jsonl'"
    batch = f"1 + {number} + {tables} * day"
    # columns that this table's rows leave out are null
    own = {
        column
        for (column,) in connection.execute(
            f"select column_name from (describe from {rows})"
        ).fetchall()
    }
    stored = {name for name, _ in stored_columns(table)}
    # no clock runs ahead
    made = {
        "_activity_date": "occurred_at::date",
        "_is_clock_skewed": "false",
        "_content_hash": "''",
    }
    derived = "".join(f"{sql} as {name}, " for name, sql in made.items() if name in stored)
    missing = "".join(f"null as {name}, " for name in table.key if name not in own)
    connection.execute(
        f"""
        insert into raw.{table.name} by name
        select * exclude (day), {derived}
            '' as payload, {key_hash(table.key)} as _key_hash,
            {path} as _file, 1 as _line, end_of(day) as _landed_at, {batch} as _batch
        from (select {missing} * from {rows}) order by day
        """
    )
    connection.execute(
        f"""
        insert into raw.landed_files by name
        select any_value(_file) as path, '{table.name}' as table_name, 'jsonl' as format,
            'landed' as status, 0 as bytes, 0 as mtime_ns, count(*) as lines, lines as accepted,
            0 as duplicates, 0 as conflicts, 0 as rejected,
            date '{FIRST_DAY}' + ((_batch - 1) // {tables})::integer as covers_from,
            covers_from as covers_to, covers_from as received_from, covers_from as received_to,
            any_value(_landed_at) as landed_at, 'history' as run_id,
            _batch
        from raw.{table.name}
        where _batch > {first * tables}
        group by _batch
        """
    )
    if table.family == "entity":
        return 0
    connection.execute(
        f"""
        insert into raw.received_lines by name
        select '{table.name}' as table_name, _file, environment,
            received_at::date as received_date, count(*) as line_count, 0 as rejected_count, _batch
        from raw.{table.name}
        where _batch > {first * tables}
        group by all
        """
    )
    (count,) = connection.execute(
        f"select count(*) from raw.{table.name} where _batch > {first * tables}"
    ).fetchall()[0]
    return int(count)
