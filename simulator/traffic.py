"""What people and machines do: visits, and the auth, session and platform events they cause.

Here: SQL text, one SELECT a table and span of days, of the *intended* events; a function of the
cast and those days only. Not here: how an extract spoils them (`imperfections`), mail, points and
webhooks (`messages`).

A visit is one user in one project for a while. Its plan (how many events, how long, how it ends)
is drawn first, so the number of events of a day is known without making them, and each session's
boundaries are decided here rather than found again. Between two visits of a user in a project lie
more than 30 minutes by construction: visits start from 02:30 and last less than 2 h 20 min.

Columns of every SELECT: the envelope, the table's typed data fields, `data` (JSON text), and
`row_key` (32 bits, for the imperfections); session events also `visit_session` (the session they
belong to in truth; null for a close that closes nothing).
"""

from __future__ import annotations

from simulator.world import MESSAGES_SHARE, Parameters, Span, day_budgets

DAY = 86_400_000_000
EVENING = 21 * 3600
# a visit whose device was offline is received whole, this many days later
LAGS = (0, 1, 2, 4, 9)


def visits_sql(parameters: Parameters, candidates: list[tuple[int, int, int]]) -> str:
    """Return a SELECT of visits.

    `candidates` are (day, lag, earliest start in seconds): the visits of that day that are received
    `lag` days later and start no earlier.
    """
    first, last = parameters.first_day, parameters.last_day
    chosen = [row for row in candidates if first <= row[0] <= last and row[0] + row[1] <= last]
    rows = ", ".join(f"({day}, {lag}, {start})" for day, lag, start in chosen or [(-1, 0, 0)])
    anonymous = ", ".join(
        f"({day}, {start}, {anonymous_count(parameters)})"
        for day, lag, start in chosen or [(-1, 0, 0)]
        if lag == 0
    )
    return f"""
with candidates as (
    select * from (values {rows}) as listed(day, lag, earliest)
),
present as (
    select
        seats.*,
        candidates.day,
        candidates.lag,
        candidates.earliest,
        candidates.day - {first} as day_number,
        mix(seats.seat_key + candidates.day::ubigint * 668265263::ubigint) as day_key,
    from seats
    cross join candidates
    where candidates.lag = case
            when (seats.seat_no * 7 + candidates.day) % 211 = 3 and candidates.day + 1 <= {last}
                then 1
            when (seats.seat_no * 7 + candidates.day) % 211 = 50 and candidates.day + 2 <= {last}
                then 2
            when (seats.seat_no * 7 + candidates.day) % 211 = 101 and candidates.day + 4 <= {last}
                then 4
            when (seats.seat_no * 7 + candidates.day) % 211 = 160 and candidates.day + 9 <= {last}
                then 9
            else 0
        end
        and seats.created_day <= candidates.day - {first}
        and (
            seats.churn_day is null
            or candidates.day - {first} < seats.churn_day
            or candidates.day - {first} >= seats.return_day
        )
),
active as (
    select
        *,
        case
            when environment = 'production' and kind = 'human' and share(day_key, 2) < 0.3 then 2
            else 1
        end as visit_count,
    from present
    where (created_day = day_number and place = 0)
        or share(day_key, 1) < rate * case
            -- day 0 of the epoch was a Thursday
            when (day + 4) % 7 not in (0, 6) then 1.0
            when environment = 'sandbox' then 0.1
            else 0.45
        end
),
known as (
    select
        'v' || seat_no || '_' || day || '_' || visit as visit_id,
        mix(day_key + (visit + 1)::ubigint * 374761393::ubigint) as visit_key,
        visit,
        visit_count,
        seat_no,
        user_no,
        user_id,
        null::varchar as anonymous_id,
        kind,
        is_in_merge,
        environment,
        project_no,
        workspace_id,
        project_id,
        services,
        day,
        lag,
        earliest,
        created_day = day_number and visit = 0 and place = 0 as is_first_visit,
        has_mfa,
        is_night_owl,
        provider,
        ip,
        user_agent,
    from active
    cross join (values (0), (1)) as doubled(visit)
    where visit < visit_count
),
strangers as (
    select
        'a' || day || '_' || i as visit_id,
        mix({parameters.seed_key}::ubigint + day::ubigint * 3266489917::ubigint
            + i::ubigint * 374761393::ubigint) as visit_key,
        0 as visit,
        1 as visit_count,
        -1 as seat_no,
        -1 as user_no,
        null::varchar as user_id,
        'anon_' || day || '_' || i as anonymous_id,
        'human' as kind,
        false as is_in_merge,
        case when i % 9 = 8 then 'sandbox' else 'production' end as environment,
        day,
        earliest,
        i,
    from (values {anonymous or "(-1, 0, 0)"}) as listed(day, earliest, stranger_count)
    cross join unnest(range(stranger_count)) as numbers(i)
),
everybody as (
    select * from known
    union all by name
    select
        strangers.* exclude (i),
        projects.project_no,
        projects.workspace_id,
        projects.project_id,
        projects.services,
        0 as lag,
        false as is_first_visit,
        false as has_mfa,
        true as is_night_owl,
        null::varchar as provider,
        '203.0.113.' || (i % 256) as ip,
        agents.user_agent,
    from strangers
    inner join slots on pick(strangers.visit_key, 40, 128) = slots.slot
    inner join projects on slots.project_no = projects.project_no
    inner join agents on pick(strangers.visit_key, 41, 10) = agents.agent_no
),
drawn as (
    select
        *,
        case
            when environment = 'sandbox' then 28800 + pick(visit_key, 3, 28800)
            when visit_count = 1 and is_night_owl then 9000 + pick(visit_key, 3, 76800)
            when visit_count = 1
                then 9000 + (pick(visit_key, 3, 76800) + pick(visit_key, 4, 76800)) // 2
            when visit = 0
                then 9000 + (pick(visit_key, 3, 34200) + pick(visit_key, 4, 34200)) // 2
            else 54000 + (pick(visit_key, 3, 31800) + pick(visit_key, 4, 31800)) // 2
        end as start_second,
        [1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7,
            9, 9, 9, 9, 12, 12, 12, 12, 18, 18, 18][1 + pick(visit_key, 5, 40)] as event_count,
        15 + pick(visit_key, 6, 166) as step,
        user_id is not null and lag = 0 and kind = 'human' and share(visit_key, 7) < 0.01
            as is_impersonated,
        user_id is not null and kind = 'human' and share(visit_key, 8) < 0.012 as is_test,
        pick(visit_key, 9, 100) as ending,
        case when share(visit_key, 10) < 0.8 then services[1 + pick(visit_key, 11, 2)] end
            as service_id,
    from everybody
),
identified as (
    select
        *,
        -- the gap rule must meet one user's own, real events only
        share(visit_key, 12) < 0.75 or is_in_merge or is_impersonated or is_test
            or kind <> 'human' as has_session_id,
    from drawn
    where start_second >= earliest
        -- nothing of the last day may fall behind it
        and (day < {last} or start_second < {EVENING})
),
planned as (
    select
        *,
        case
            when has_session_id or event_count < 4 then 'plain'
            when share(visit_key, 13) < 0.08 then 'exactly_30_minutes'
            when share(visit_key, 13) < 0.16 then 'one_microsecond_more'
            else 'plain'
        end as pause,
        day * {DAY} + start_second * 1000000 + pick(visit_key, 14, 1000000) as started,
        event_count >= 4 and share(visit_key, 15) < 0.3 as has_journey,
        case
            when ending < 34 then 'ended'
            when ending < 40 then 'revoked'
            when ending < 42 then case when has_session_id then 'ended_then_revoked' end
            when ending < 45 then case when not has_session_id then 'too_late' end
            when ending < 48 then
                case when has_session_id and event_count >= 3 then 'early' end
        end as closing,
        user_id is not null as is_known,
    from identified
),
paced as (
    select
        *,
        case pause
            when 'exactly_30_minutes' then 1800000000
            when 'one_microsecond_more' then 1800000001
        end as pause_length,
        event_count // 2 as pause_at,
        -- how the visit signs in
        is_known and is_first_visit as has_signup,
        is_known and share(visit_key, 16) < 0.66 as has_login,
        is_known and share(visit_key, 17) < 0.08 as has_failed_login,
        is_known and has_mfa and share(visit_key, 16) < 0.66 as has_challenge,
        is_known and has_mfa and share(visit_key, 16) < 0.6 as has_verification,
        is_known and has_mfa and share(visit_key, 18) < 0.1 as has_failed_verification,
        is_known and share(visit_key, 16) >= 0.66 as has_refresh,
        is_known and share(visit_key, 19) < 0.01 as has_reset,
        is_known and ending < 8 as has_logout,
        case when is_known then pick(visit_key, 20, 6) else 0 end as request_count,
    from planned
),
timed as (
    select
        *,
        started + (event_count - 1) * step * 1000000
            + case
                when pause_length is not null then pause_length - step * 1000000
                when event_count = 1 then 0
                else pick(visit_key, 100 + event_count - 1, step * 500000)
            end as last_event,
    from paced
),
closed as (
    select
        *,
        case closing
            when 'too_late' then last_event + 2700000000
            -- the last event comes after it
            when 'early' then last_event - 2000000
            else last_event + case
                when pick(visit_key, 21, 4) = 0 then 3000000
                else 15000000 + pick(visit_key, 22, 600) * 1000000
            end
        end as closing_at,
    from timed
)
select
    * exclude (closing),
    -- without an id, a close on another day than its session's last event is left out
    case
        when not has_session_id and closing <> 'too_late'
            and closing_at // {DAY} > last_event // {DAY}
            then null
        else closing
    end as closing,
    case when has_session_id then 'ses_' || visit_id end as session_id,
    case when is_impersonated then 'usr_support_' || pick(visit_key, 23, 3) end as impersonator_id,
    -- 0: received as it happened
    case when lag > 0 then (day + lag) * {DAY} + 43200000000 + pick(visit_key, 24, 3600) * 1000000
    end as uploaded,
from closed
"""


def anonymous_count(parameters: Parameters) -> int:
    """Return how many visits of unknown visitors a day has."""
    return max(1, parameters.events // parameters.days // 300)


def received_candidates(span: Span) -> list[tuple[int, int, int]]:
    """Return the visits that can have events received in `span`, as `visits_sql` wants them."""
    return [
        *((day - lag, lag, 0) for day in span.days for lag in LAGS),
        (span.first - 1, 0, EVENING),
    ]


def started_candidates(span: Span) -> list[tuple[int, int, int]]:
    """Return the visits that start in `span`, however late they are received."""
    return [(day, lag, 0) for day in span.days for lag in LAGS]


def machines_sql(parameters: Parameters, span: Span) -> str:
    """Return the SELECT (day, event_count) of machine events; reads `visits` by start.

    They fill a day's budget up to what visits, new members, messages and the attack leave of it.
    """
    budgets = day_budgets(parameters)
    left = {
        day: round(budgets[day - parameters.first_day] * (1 - MESSAGES_SHARE)) for day in span.days
    }
    if parameters.attack_day in left:
        left[parameters.attack_day] -= parameters.attack_size
    rows = ", ".join(f"({day}, {budget})" for day, budget in left.items())
    return f"""
with joined as (
    select
        {parameters.first_day} + greatest(created_day, 0) as day,
        -- added, and before that invited unless the member was there already
        sum(case when created_day < 0 then 1 else 2 end) as member_events,
    from seats
    where kind = 'human'
    group by all
)
select listed.day, greatest(0, listed.budget - coalesce(any_value(member_events), 0) - coalesce(sum(
    event_count + has_signup::int + has_login::int + has_failed_login::int + has_challenge::int
    + has_verification::int + has_failed_verification::int + has_refresh::int + has_reset::int
    + has_logout::int + request_count
    + case when closing is null then 0 when closing = 'ended_then_revoked' then 2 else 1 end
), 0))::bigint as event_count
from (values {rows}) as listed(day, budget)
left join joined on listed.day = joined.day
left join visits on listed.day = visits.day
group by listed.day, listed.budget
"""


def within(span: Span) -> str:
    """Return the condition that an event was received in `span` (column in microseconds)."""
    return f"received >= {span.first * DAY} and received < {(span.last + 1) * DAY}"


def received(occurred: str, key: str) -> str:
    """Return SQL of the received instant (microseconds): the upload, or within three seconds."""
    return f"coalesce(uploaded, {occurred} + 20000 + pick({key}, 90, 2500000))"


def session_events_sql(parameters: Parameters, span: Span) -> str:
    """Return the SELECT of the session events received in `span`; reads `visits`."""
    return f"""
with steps as (
    select
        visits.*,
        k,
        mix(visit_key + (k + 1)::ubigint * 2654435761::ubigint) as row_key,
        started + k * step * 1000000
            + case
                when pause_length is not null and k >= pause_at
                    then pause_length - step * 1000000
                when pause_length is not null or k = 0 then 0
                else pick(visit_key, 100 + k, step * 500000)
            end as occurred,
        visit_id || case
            when pause = 'one_microsecond_more' and k >= pause_at then '_2' else '_1'
        end as visit_session,
    from visits
    cross join unnest(range(event_count)) as numbers(k)
),
typed as (
    select
        *,
        case
            when k = 0 then 'session.started'
            when has_journey and k = 1 and visit_key % 23 <> 5 then 'journey.begun'
            when has_journey and k = 2 then 'journey.step'
            when has_journey and k = event_count - 1 and share(visit_key, 25) < 0.55
                then 'journey.completed'
            when row_key % 100 < 55 then 'session.activity'
            when row_key % 100 < 75 then 'action.run'
            when row_key % 100 < 83 then 'custom.report_exported'
            else 'metric.logged'
        end as type,
    from steps
),
closes as (
    select
        visits.*,
        100 + n as k,
        mix(visit_key + (101 + n)::ubigint * 2654435761::ubigint) as row_key,
        closing_at + n * 900000000 as occurred,
        case
            when closing <> 'too_late'
                then visit_id || case when pause = 'one_microsecond_more' then '_2' else '_1' end
        end as visit_session,
        case
            when closing = 'revoked' or n = 1 then 'session.revoked' else 'session.ended'
        end as type,
    from visits
    cross join (values (0), (1)) as doubled(n)
    where closing is not null and (n = 0 or closing = 'ended_then_revoked')
),
together as (
    select * from typed
    union all
    select * from closes
),
detailed as (
    select
        *,
        case when type = 'session.revoked'
            then one_of(['password_changed', 'lost_device', 'policy', 'suspicious'], row_key)
        end as reason,
        case when type = 'session.revoked'
            then one_of(['user', 'admin', 'system'], row_key)
        end as revoked_by_kind,
        case when type = 'metric.logged'
            then one_of(['csat', 'page_seconds', 'feedback'], row_key >> 8)
        end as name,
        case when type like 'journey.%' then 'jrn_' || visit_id end as journey_id,
        case when type like 'journey.%'
            then one_of(['onboarding', 'checkout', 'invite_team'], visit_key)
        end as journey_name,
        case when type = 'journey.step' then (1 + row_key % 4)::varchar end as step_name,
        case when type = 'action.run'
            then one_of(['search', 'export', 'share', 'save'], row_key >> 9)
        end as action_name,
    from together
),
measured as (
    select
        *,
        case name
            when 'csat' then (1 + (row_key >> 12) % 5)::double
            when 'page_seconds' then ((row_key >> 12) % 4000) / 8.0
        end as numeric_value,
        case when name = 'feedback'
            then one_of(['great', 'fine', '7', 'too slow'], row_key >> 12)
        end as text_value,
        case name when 'page_seconds' then 's' end as unit,
    from detailed
),
sent as (
    select
        'se_' || visit_id || '_' || k as id,
        type,
        instant(occurred) as occurred_at,
        instant({received("occurred", "row_key")}) as received_at,
        environment,
        workspace_id,
        project_id,
        -- some visitors are recognised only after their first event
        case when has_session_id and k = 0 and event_count > 2 and visit_key % 29 = 3 then null
            else user_id
        end as user_id,
        session_id,
        service_id,
        case when type = 'session.revoked' or row_key % 10 = 4 then md5(visit_id || k) end
            as trace_id,
        null::varchar as api_key_id,
        case when visit_key % 29 = 3 then coalesce(anonymous_id, 'anon_' || visit_id)
            else anonymous_id
        end as anonymous_id,
        impersonator_id,
        is_test,
        ip,
        user_agent,
        reason,
        revoked_by_kind,
        name,
        numeric_value,
        text_value,
        unit,
        journey_id,
        journey_name,
        step_name as step,
        action_name,
        row_key,
        visit_session,
    from measured
    union all
    select * from ({long_sessions_sql(parameters, span)}) as long_sessions
)
select
    *,
    concat_ws(
        ',',
        '"reason":"' || reason || '"',
        '"revoked_by_kind":"' || revoked_by_kind || '"',
        '"name":"' || name || '"',
        '"value":' || coalesce(numeric_value::varchar, '"' || text_value || '"'),
        '"unit":"' || unit || '"',
        '"journey_id":"' || journey_id || '"',
        '"journey_name":"' || journey_name || '"',
        '"step":' || step,
        '"action_name":"' || action_name || '"'
    ) as data,
from sent
where received_at >= instant({span.first * DAY})
    and received_at < instant({(span.last + 1) * DAY})
"""


def long_sessions_sql(parameters: Parameters, span: Span) -> str:
    """Return the SELECT of sessions that outlast a day, and of journeys that take two.

    A pair begins at 10:00 of a day and goes on two days later: even pairs are one session, odd
    ones two sessions that share a journey.
    """
    count = max(1, parameters.events // parameters.days // 3000)
    parts = ", ".join(f"({day}, 0), ({day - 2}, 1)" for day in span.days)
    return f"""
with pairs as (
    select
        begin_day,
        part,
        pair,
        mix({parameters.seed_key}::ubigint + begin_day::ubigint * 40503::ubigint
            + pair::ubigint * 97::ubigint) as pair_key,
        mix({parameters.seed_key}::ubigint + begin_day::ubigint * 40503::ubigint
            + pair::ubigint * 97::ubigint + part::ubigint) as row_key,
    from (values {parts}) as parts(begin_day, part)
    cross join range({count}) as numbers(pair)
    where begin_day between {parameters.first_day} and {parameters.last_day}
),
placed as (
    select pairs.*, places.*, (pair_key % people_count)::bigint as rank
    from pairs
    inner join places on pick(pair_key, 51, 128) = places.slot
)
select
    'se_l' || begin_day || '_' || pair || '_' || part as id,
    case
        when pair % 2 = 1 then ['journey.begun', 'journey.completed'][1 + part]
        else ['session.started', 'session.activity'][1 + part]
    end as type,
    instant((begin_day + 2 * part) * {DAY} + 36000000000 + pair * 1000) as occurred_at,
    instant((begin_day + 2 * part) * {DAY} + 36000500000 + pair * 1000) as received_at,
    'production' as environment,
    placed.workspace_id,
    placed.project_id,
    people.user_id,
    'ses_l' || begin_day || '_' || pair || case when pair % 2 = 1 then '_' || part else '' end
        as session_id,
    null::varchar as service_id,
    null::varchar as trace_id,
    null::varchar as api_key_id,
    null::varchar as anonymous_id,
    null::varchar as impersonator_id,
    false as is_test,
    people.ip,
    people.user_agent,
    null::varchar as reason,
    null::varchar as revoked_by_kind,
    null::varchar as name,
    null::double as numeric_value,
    null::varchar as text_value,
    null::varchar as unit,
    case when pair % 2 = 1 then 'jrn_l' || begin_day || '_' || pair end as journey_id,
    case when pair % 2 = 1 then 'migration' end as journey_name,
    null::varchar as step,
    null::varchar as action_name,
    row_key,
    'l' || begin_day || '_' || pair || case when pair % 2 = 1 then '_' || part else '' end
        as visit_session,
from placed
inner join people on placed.project_no = people.project_no and placed.rank = people.rank
"""


def auth_events_sql(parameters: Parameters, span: Span) -> str:
    """Return the SELECT of the auth events received in `span`; reads `visits` and `machines`.

    Every 16th machine event of a day is a token exchange, the others are platform events.
    """
    attack_count = parameters.attack_size if parameters.attack_day in span.days else 0
    return f"""
with steps as (
    select
        visits.*,
        slot,
        mix(visit_key + (slot + 200)::ubigint * 2654435761::ubigint) as row_key,
        case slot
            when 8 then greatest(last_event, coalesce(closing_at, 0)) + 1000000
            else started - (25 - 3 * slot) * 1000000
        end as occurred,
        ['signup', 'password_reset', 'login', 'login', 'mfa_challenge', 'mfa_verification',
            'mfa_verification', 'token_refresh', 'logout'][1 + slot] as type,
        case
            when slot in (4, 8) then null
            when slot in (2, 5) then 'failure'
            when slot = 1 and visit_key % 3 = 0 then 'failure'
            else 'success'
        end as outcome,
    from visits
    cross join range(9) as numbers(slot)
    where [has_signup, has_reset, has_failed_login, has_login, has_challenge,
            has_failed_verification, has_verification, has_refresh, has_logout][1 + slot]
),
visited as (
    select
        'au_' || visit_id || '_' || slot as id,
        type,
        occurred,
        {received("occurred", "row_key")} as received,
        environment,
        workspace_id,
        project_id,
        user_id,
        session_id,
        service_id,
        case when outcome = 'failure' and row_key % 3 > 0 then md5(visit_id || slot) end
            as trace_id,
        impersonator_id,
        is_test,
        ip,
        user_agent,
        outcome,
        case when type in ('login', 'signup') then provider end as provider,
        case
            when type not in ('login', 'signup') then null
            when provider = 'okta' then 'sso'
            when provider is not null then 'oauth'
            else ['password', 'password', 'passkey', 'magic_link'][1 + user_no % 4]
        end as method,
        case when outcome = 'failure'
            then case when type = 'login' then 'invalid_credentials' else 'invalid_code' end
        end as failure_reason,
        row_key,
        -- a few devices have a clock that runs hours ahead
        row_key % 149 = 7 and lag = 0 as is_ahead,
    from steps
),
exchanges as (
    select
        day,
        i,
        mix(mix({parameters.seed_key}::ubigint + day::ubigint * 668265263::ubigint + 3::ubigint)
            + i::ubigint * 16::ubigint) as row_key,
        (row_key % robot_count)::bigint as robot,
    from machines
    cross join unnest(range((event_count + 15) // 16)) as numbers(i)
    cross join (select count(*)::ubigint as robot_count from robots) as counted
),
exchanged as (
    select
        'au_x' || exchanges.day || '_' || i as id,
        'token_exchange' as type,
        exchanges.day * {DAY} + pick(row_key, 61, 86380) * 1000000
            + pick(row_key, 62, 1000000) as occurred,
        occurred + 20000 + pick(row_key, 63, 2500000) as received,
        'production' as environment,
        workspace_id,
        project_id,
        user_id,
        null::varchar as session_id,
        one_of(services, row_key >> 5) as service_id,
        null::varchar as trace_id,
        null::varchar as impersonator_id,
        false as is_test,
        ip,
        user_agent,
        'success' as outcome,
        null::varchar as provider,
        null::varchar as method,
        null::varchar as failure_reason,
        row_key,
        false as is_ahead,
    from exchanges
    inner join robots on exchanges.robot = robots.rank
),
attempts as (
    select
        i,
        mix(mix({parameters.seed_key}::ubigint + 404::ubigint) + i::ubigint) as row_key,
        (row_key % people_count)::bigint as victim,
    from range({attack_count}) as numbers(i)
    cross join (
        select count(*)::ubigint as people_count from people where project_no = 0
    ) as counted
),
stuffed as (
    select
        'au_stuffing_' || i as id,
        'login' as type,
        {parameters.attack_day} * {DAY} + 10800000000 + pick(row_key, 64, 3590) * 1000000
            + i as occurred,
        occurred + 30000 as received,
        'production' as environment,
        projects.workspace_id,
        projects.project_id,
        case when row_key % 4 > 0 or i % 40 = 0 then people.user_id end as user_id,
        null::varchar as session_id,
        null::varchar as service_id,
        case when row_key % 100 < 85 then md5('stuffing' || i) end as trace_id,
        null::varchar as impersonator_id,
        false as is_test,
        '203.0.113.' || (row_key % 7) as ip,
        one_of(['python-requests/2.31.0', 'curl/8.5.0', 'Go-http-client/2.0'], row_key)
            as user_agent,
        case when i % 40 = 0 then 'success' else 'failure' end as outcome,
        null::varchar as provider,
        'password' as method,
        case when i % 40 > 0 then 'invalid_credentials' end as failure_reason,
        row_key,
        false as is_ahead,
    from attempts
    inner join projects on projects.project_no = 0
    inner join people on people.project_no = 0 and attempts.victim = people.rank
),
together as (
    select * from visited
    union all by name
    select * from exchanged
    union all by name
    select * from stuffed
)
select
    id,
    type,
    instant(occurred + case when is_ahead then 10800000000 else 0 end) as occurred_at,
    instant(received) as received_at,
    environment,
    workspace_id,
    project_id,
    user_id,
    session_id,
    service_id,
    trace_id,
    null::varchar as api_key_id,
    null::varchar as anonymous_id,
    impersonator_id,
    is_test,
    ip,
    user_agent,
    outcome,
    provider,
    method,
    failure_reason,
    concat_ws(
        ',',
        '"outcome":"' || outcome || '"',
        '"provider":"' || provider || '"',
        '"method":"' || method || '"',
        '"failure_reason":"' || failure_reason || '"'
    ) as data,
    row_key,
from together
where {within(span)}
"""


def platform_events_sql(parameters: Parameters, span: Span) -> str:
    """Return the SELECT of the platform events received in `span`; reads `visits`, `machines`."""
    return f"""
with asked as (
    select
        'pl_' || visit_id || '_' || k as id,
        mix(visit_key + (k + 300)::ubigint * 2654435761::ubigint) as row_key,
        started + k * step * 1000000 + 2500000 as occurred,
        {received("occurred", "visit_key")} as received,
        environment,
        workspace_id,
        project_id,
        user_id,
        session_id,
        service_id,
        null::varchar as api_key_id,
        impersonator_id,
        is_test,
        ip,
        user_agent,
        'api.request' as type,
    from visits
    cross join unnest(range(request_count)) as numbers(k)
),
polls as (
    select
        day,
        i,
        mix(mix({parameters.seed_key}::ubigint + day::ubigint * 668265263::ubigint + 7::ubigint)
            + i::ubigint) as row_key,
    from machines
    cross join unnest(range(event_count - (event_count + 15) // 16)) as numbers(i)
),
polled as (
    select
        'pl_m' || day || '_' || i as id,
        row_key,
        day * {DAY} + case
            when i % 8 = 7 then 21600000000 + pick(row_key, 71, 50400) * 1000000
            else (pick(row_key, 71, 86380) + pick(row_key, 72, 86380)) // 2 * 1000000
        end + (row_key >> 7)::bigint % 1000000 as occurred,
        occurred + 20000 + (row_key >> 4)::bigint % 2500000 as received,
        case when i % 8 = 7 then 'sandbox' else 'production' end as environment,
        projects.workspace_id,
        projects.project_id,
        null::varchar as user_id,
        null::varchar as session_id,
        case when row_key % 5 < 3 then one_of(projects.services, row_key >> 5) end as service_id,
        case when row_key % 10 > 0 then one_of(projects.api_keys, row_key >> 8) end as api_key_id,
        null::varchar as impersonator_id,
        (row_key >> 3) % 100 = 1 as is_test,
        '192.0.2.' || ((row_key >> 6) % 256) as ip,
        one_of(
            ['python-requests/2.32.3', 'Go-http-client/2.0', 'axios/1.7.2', 'okhttp/4.12.0'],
            row_key >> 9
        ) as user_agent,
        case when i % 53 > 2 then 'api.request'
            else ['app.published', 'app.error', 'app.import_finished'][1 + i % 53]
        end as type,
    from polls
    inner join slots on (row_key >> 25)::bigint = slots.slot
    inner join projects on slots.project_no = projects.project_no
),
together as (
    select * from asked
    union all by name
    select * from polled
),
answered as (
    select
        *,
        type = 'api.request' as is_request,
        case when is_request
            then one_of(['GET', 'GET', 'GET', 'POST', 'POST', 'PATCH', 'DELETE', 'GET'], row_key)
        end as method,
        case when is_request
            then one_of(['/v1/items', '/v1/orders', '/v1/users', '/v1/search'], row_key >> 11)
        end as route,
        case
            when not is_request then null
            when (row_key >> 13) % 1000 < 955 then 200
            when (row_key >> 13) % 1000 < 975 then 404
            when (row_key >> 13) % 1000 < 988 then 429
            else 503
        end as status_code,
        -- tenths of a millisecond, with a long tail
        case when is_request
            then 120 + (row_key >> 2)::bigint % 900
                + case when (row_key >> 15) % 40 = 0 then (row_key >> 1)::bigint % 40000 else 0 end
        end as latency,
        case when is_request and (row_key >> 17) % 10 = 0 then (row_key >> 17) % 200 = 0 end
            as safety_flagged,
        case when safety_flagged then one_of(['spam', 'self_harm', 'malware'], row_key) end
            as safety_category,
    from together
    where {within(span)}
)
select
    id,
    type,
    -- a few devices have a clock that runs hours ahead
    instant(occurred + case when row_key % 997 = 7 then 7200000000 else 0 end) as occurred_at,
    instant(received) as received_at,
    environment,
    workspace_id,
    project_id,
    user_id,
    session_id,
    service_id,
    case when row_key % 9 = 2 or status_code >= 500 then md5(id) end as trace_id,
    api_key_id,
    null::varchar as anonymous_id,
    impersonator_id,
    is_test,
    ip,
    user_agent,
    method,
    route,
    status_code,
    latency / 10.0 as latency_ms,
    safety_flagged,
    safety_category,
    concat_ws(
        ',',
        '"method":"' || method || '"',
        '"route":"' || route || '"',
        '"status_code":' || status_code,
        '"latency_ms":' || latency // 10 || '.' || latency % 10,
        '"safety_flagged":' || safety_flagged,
        '"safety_category":"' || safety_category || '"'
    ) as data,
    row_key,
from answered
"""
