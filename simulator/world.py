"""Who exists: workspaces, projects, services, users and their seats, and how much they do a day.

Here: the fixed cast (a pure function of the parameters) as temporary tables. Not here: anything
that happens on a day (`traffic`, `messages`), and no file is written.

Tables made by `create_world`:
 projects(project_no, project_id, workspace_id, services[2], api_keys[3], endpoints[2], …)
 slots(slot 0..127, project_no)  projects drawn by weight
 users(user_no, user_id, kind, merged_into, survivor_id, survivor_kind, …)
 seats  one row per (user, project, environment) in which a user acts
 people one row per (project, rank): human users that were not merged away
 robots one row per service or bot user
Days are counted from the epoch (`day`) or from the first simulated day (`day_number`).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, timedelta

import duckdb

from simulator.randomness import MACROS, mix

EPOCH = date(1970, 1, 1)
NAMESPACE = uuid.UUID("6f2f9a52-61c4-5f0e-9f0f-52a1c7d3b8e4")
SLOTS = 128
# of all events: webhooks, mail, points, notices and page views (counted at 50,000 events)
MESSAGES_SHARE = 0.142
# visits a user makes a day, and once for signing up (counted over 1 to 120 days)
VISITS_A_DAY = 0.178
VISITS_ONCE = 0.55
# with the 14 events of a visit about half of all events are people's
VISITS_PER_EVENT = 0.042
SMALLEST_CAST = 24


@dataclass(frozen=True)
class Span:
    """Whole days since the epoch, both ends included, whose received events a file holds."""

    first: int
    last: int

    @property
    def days(self) -> range:
        """Every day of the span."""
        return range(self.first, self.last + 1)


@dataclass(frozen=True)
class Workspace:
    """One customer organisation; `projects` are (key, name, weight out of 128 in all)."""

    key: str
    name: str
    plan_id: str
    projects: tuple[tuple[str, str, int], ...]


WORKSPACES = (
    Workspace(
        "birch",
        "Birch Logistics",
        "enterprise",
        (("portal", "Carrier Portal", 18), ("fleet", "Fleet", 10), ("docks", "Docks", 4)),
    ),
    Workspace("cobalt", "Cobalt Health", "enterprise", (("care", "Care", 15), ("lab", "Lab", 7))),
    Workspace(
        "dune",
        "Dune Retail",
        "growth",
        (("shop", "Shop", 11), ("till", "Till", 5), ("stock", "Stock", 2)),
    ),
    Workspace("ember", "Ember Games", "growth", (("arena", "Arena", 11), ("forge", "Forge", 4))),
    Workspace("fjord", "Fjord Travel", "growth", (("booking", "Booking", 9), ("crew", "Crew", 3))),
    Workspace("grove", "Grove Learning", "growth", (("campus", "Campus", 8),)),
    Workspace("harbor", "Harbor Bank", "enterprise", (("vault", "Vault", 7), ("desk", "Desk", 3))),
    Workspace("iris", "Iris Studio", "free", (("canvas", "Canvas", 4),)),
    Workspace("juniper", "Juniper Coffee", "free", (("cups", "Cups", 3),)),
    Workspace("kelp", "Kelp Robotics", "legacy_2019", (("arm", "Arm", 4),)),
)


@dataclass(frozen=True)
class Parameters:
    """What a data set is a pure function of.

    `events`: intended events of all event tables, audit included. `days`: number of whole UTC
    days, the last of which is `until`. `seed`: any integer; another seed is another company.
    """

    events: int
    days: int
    until: date
    seed: int

    @property
    def first(self) -> date:
        """The first simulated day."""
        return self.until - timedelta(days=self.days - 1)

    @property
    def first_day(self) -> int:
        """The first simulated day, in days since the epoch."""
        return (self.first - EPOCH).days

    @property
    def last_day(self) -> int:
        """The last simulated day, in days since the epoch."""
        return (self.until - EPOCH).days

    @property
    def user_count(self) -> int:
        """Number of users in the cast."""
        visits = VISITS_A_DAY * self.days + VISITS_ONCE
        return max(SMALLEST_CAST, round(self.events * VISITS_PER_EVENT / visits))

    @property
    def attack_day(self) -> int:
        """The day of the credential-stuffing hour, in days since the epoch."""
        return self.first_day + (self.days * 7) // 10

    @property
    def attack_size(self) -> int:
        """Login attempts in the credential-stuffing hour."""
        return min(20_000, max(40, self.events // 100))

    @property
    def seed_key(self) -> int:
        """The seed as a 32-bit key that every other key starts from."""
        return mix(mix(self.seed) + 0x51ED27)


def day_budgets(parameters: Parameters) -> list[int]:
    """Return how many events each day should have: growth over time, quiet weekends."""
    weights = []
    for number in range(parameters.days):
        weekday = (parameters.first + timedelta(days=number)).weekday()
        rhythm = (1.0, 1.02, 1.05, 1.02, 0.95, 0.55, 0.5)[weekday]
        weights.append(rhythm * (0.8 + 0.4 * number / max(1, parameters.days - 1)))
    total = sum(weights)
    budgets, spent, reached = [], 0, 0.0
    for weight in weights:
        reached += weight
        budgets.append(round(parameters.events * reached / total) - spent)
        spent += budgets[-1]
    return budgets


def service_id(project_id: str, number: int) -> str:
    """Return the UUID of a project's service (1 or 2)."""
    return str(uuid.uuid5(NAMESPACE, f"{project_id}/{number}"))


def create_world(connection: duckdb.DuckDBPyConnection, parameters: Parameters) -> None:
    """Create the macros and the tables of the cast in `connection`."""
    connection.execute(MACROS)
    projects = [
        (workspace, f"prj_{workspace.key}_{key}", name, weight)
        for workspace in WORKSPACES
        for key, name, weight in workspace.projects
    ]
    connection.execute(
        "create temp table projects (project_no bigint, project_id varchar, workspace_id varchar,"
        " workspace_no bigint, name varchar, services varchar[], api_keys varchar[],"
        " endpoints varchar[], program_id varchar)"
    )
    connection.executemany(
        "insert into projects values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                number,
                project_id,
                f"ws_{workspace.key}",
                WORKSPACES.index(workspace),
                name,
                [service_id(project_id, 1), service_id(project_id, 2)],
                [f"key_{project_id[4:]}_{letter}" for letter in "abc"],
                [f"end_{project_id[4:]}_{letter}" for letter in "ab"],
                f"prg_{workspace.key}",
            )
            for number, (workspace, project_id, name, _) in enumerate(projects)
        ],
    )
    owners = [number for number, project in enumerate(projects) for _ in range(project[3])]
    connection.execute("create temp table slots (slot bigint, project_no bigint)")
    connection.executemany("insert into slots values (?, ?)", list(enumerate(owners)))
    connection.execute("create temp table agents (agent_no bigint, user_agent varchar)")
    connection.executemany("insert into agents values (?, ?)", list(enumerate(USER_AGENTS)))
    connection.execute(users_sql(parameters))
    connection.execute(SEATS)
    connection.execute(PEOPLE)


def users_sql(parameters: Parameters) -> str:
    """Return the statement that creates `users`.

    Of every 50 users, three are one human (11 into 12 into 13), one bot was merged into a human
    (31 into 32), one human into a bot (41 into 42), and one was deleted (21).
    """
    count = parameters.user_count
    days = parameters.days
    first_day = parameters.first_day
    return f"""
create temp table users as
with numbered as (
    select
        i as user_no,
        case
            when i % 50 in (11, 12, 31, 41) and i + 1 < {count} then i + 1
        end as merged_no,
        case i % 50 when 12 then i - 1 when 13 then i - 2 when 32 then i - 1 when 42 then i - 1
            else i
        end as family_no,
        case
            when i % 50 in (31, 42) then 'bot'
            when i % 50 between 11 and 13 or i % 50 in (32, 41) then 'human'
            when i % 33 = 5 then 'service'
            when i % 33 = 17 then 'bot'
            else 'human'
        end as kind
    from range({count}) as numbers(i)
),
keyed as (
    select
        *,
        mix({parameters.seed_key}::ubigint + user_no::ubigint * 2246822519::ubigint) as user_key,
        mix({parameters.seed_key}::ubigint + family_no::ubigint * 2246822519::ubigint)
            as family_key,
    from numbered
),
lived as (
    select
        *,
        'usr_' || lpad(user_no::varchar, 7, '0') as user_id,
        pick(family_key, 11, {SLOTS}) as slot,
        -- more than half were there before; the others sign up in the simulated days
        case when share(user_key, 12) < 0.55 then -1 - pick(user_key, 13, 200)
            else pick(user_key, 14, {days})
        end as created_day,
        0.03 + 0.6 * share(user_key, 15) * share(user_key, 16) as rate,
    from keyed
),
churned as (
    select
        *,
        case when share(user_key, 17) < 0.35
            then greatest(created_day, 0) + 4 + pick(user_key, 18, {days})
        end as churn_day,
    from lived
),
returned as (
    select
        *,
        case when share(user_key, 19) < 0.4 then churn_day + 7 + pick(user_key, 20, 14) end
            as return_day,
    from churned
)
select
    returned.*,
    'usr_' || lpad(returned.merged_no::varchar, 7, '0') as merged_into,
    user_no % 90 <> 44 as has_row,
    user_no % 50 = 21 as is_deleted,
    -- the end of the chain of merges
    coalesce(grandparent.merged_no, parent.merged_no, returned.merged_no, returned.user_no)
        as survivor_no,
    make_timestamp(
        ({first_day} + created_day) * 86400000000 + 28800000000 + pick(user_key, 21, 3600) * 1000000
    ) as created_at,
    share(user_key, 22) < 0.3 as has_mfa,
    share(user_key, 23) < 0.1 as is_night_owl,
    case pick(user_key, 24, 20)
        when 0 then 'okta' when 1 then null when 2 then null when 3 then null when 4 then null
        when 5 then null when 6 then 'microsoft' when 7 then 'microsoft' when 8 then 'microsoft'
        when 9 then 'github' when 10 then 'github' when 11 then 'github' when 12 then 'github'
        when 13 then 'github' else 'google'
    end as provider,
    '198.51.' || pick(user_key, 25, 256) || '.' || pick(user_key, 26, 256) as ip,
from returned
left join (select user_no as no, merged_no from keyed) as parent on returned.merged_no = parent.no
left join (select user_no as no, merged_no from keyed) as grandparent
    on parent.merged_no = grandparent.no;
"""


# what people browse with; some send nothing
USER_AGENTS = (
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/126.0.0.0 Safari/537.36"
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like "
        "Gecko) Version/17.5 Safari/605.1.15"
    ),
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, "
        "like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/126.0.0.0 Mobile Safari/537.36"
    ),
    (
        "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
        "Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/125.0.0.0 Safari/537.36 Edg/125.0.0.0"
    ),
    (
        "Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Version/7.0 TV Safari/537.36"
    ),
    (
        "Mozilla/5.0 (PlayStation; PlayStation 5/8.20) AppleWebKit/605.1.15 (KHTML, like "
        "Gecko) Version/16.0 Safari/605.1.15"
    ),
    None,
)

# A seat is a user in one project and environment. Every fifth user has a second project of the
# same workspace, a few work for a second workspace, and some also use the sandbox.
SEATS = """
create temp table seats as
with homes as (
    select users.*, home.project_no, home.workspace_no
    from users
    inner join slots on users.slot = slots.slot
    inner join projects as home on slots.project_no = home.project_no
),
siblings as (
    select homes.user_no, projects.project_no
    from homes
    inner join projects
        on homes.workspace_no = projects.workspace_no and homes.project_no <> projects.project_no
    where share(homes.user_key, 31) < 0.2
    qualify row_number() over (
        partition by homes.user_no
        order by (projects.project_no + homes.user_no) % 5, projects.project_no
    ) = 1
),
taken as (
    select user_no, project_no, 0 as place, 'production' as environment from homes
    union all
    select user_no, project_no, 1, 'production' from siblings
    union all
    select homes.user_no, guest.project_no, 2, 'production'
    from homes
    inner join slots on pick(homes.user_key, 32, 128) = slots.slot
    inner join projects as guest on slots.project_no = guest.project_no
    where share(homes.user_key, 33) < 0.06 and guest.workspace_no <> homes.workspace_no
    union all
    select user_no, project_no, 3, 'sandbox' from homes where share(user_key, 34) < 0.16
)
select
    taken.user_no * 4 + taken.place as seat_no,
    mix(users.user_key + (taken.place + 1)::ubigint * 3266489917::ubigint) as seat_key,
    taken.place,
    taken.environment,
    users.user_no,
    users.user_id,
    users.kind,
    users.survivor_no <> users.user_no or users.user_no % 50 in (12, 13, 32, 42) as is_in_merge,
    users.merged_no is not null as is_merged_away,
    users.created_day,
    users.churn_day,
    users.return_day,
    case taken.place when 0 then users.rate else users.rate * 0.45 end as rate,
    users.has_mfa,
    users.is_night_owl,
    users.provider,
    users.ip,
    case
        when users.kind = 'human' then human_agent.user_agent
        else 'python-requests/2.32.3'
    end as user_agent,
    projects.project_no,
    projects.project_id,
    projects.workspace_id,
    projects.services,
from taken
inner join users on taken.user_no = users.user_no
inner join projects on taken.project_no = projects.project_no
inner join agents as human_agent on pick(users.user_key, 35, 10) = human_agent.agent_no;
"""

PEOPLE = """
create temp table people as
select
    project_no,
    row_number() over (partition by project_no order by user_no) - 1 as rank,
    user_id,
    user_no,
    ip,
    user_agent,
from seats
where place = 0 and kind = 'human' and not is_in_merge;

-- where something may happen: a rank drawn below people_count joins to one of the people
create temp table places as
select slots.slot, projects.*, counted.people_count
from slots
inner join projects on slots.project_no = projects.project_no
inner join (select project_no, count(*) as people_count from people group by project_no) as counted
    on slots.project_no = counted.project_no;

create temp table robots as
select row_number() over (order by user_no) - 1 as rank, seats.*
from seats
where place = 0 and kind <> 'human' and not is_in_merge;
"""
