"""What comes beside visits: memberships, webhooks, mail, points, notices, page views.

Here: SQL text, one SELECT a table, of the intended events received in a span of days; a function
of the cast and those days. Not here: visits and machine traffic (`traffic`), spoiling
(`imperfections`).

Each day has a number of things (messages, deliveries, …); a thing's events follow from its key.
Same columns as in `traffic`. No delivery's attempts cross midnight, and nothing is tied to a user
that was merged away: which day and which id such rows belong to is not for a demo to settle.
"""

from __future__ import annotations

from simulator.traffic import DAY
from simulator.world import Parameters, Span, day_budgets

# things a day as a share of its events; with the events of each they make MESSAGES_SHARE
DELIVERIES = 0.014
MAILS = 0.012
POINTS = 0.02
NOTICES = 0.013
VIEWS = 0.004
# a thing's events reach this many days beyond its first, late arrival included
REACH = 6

NULLS = """
    null::varchar as session_id,
    null::varchar as service_id,
    null::varchar as api_key_id,
    null::varchar as anonymous_id,
    null::varchar as impersonator_id,
    null::varchar as ip,
    null::varchar as user_agent,
"""


def things_sql(parameters: Parameters, span: Span, share: float, salt: int) -> str:
    """Return the SELECT (day, i, thing_key, recipient …) of the things begun in reach of `span`."""
    budgets = day_budgets(parameters)
    first = max(parameters.first_day, span.first - REACH)
    days = ", ".join(
        f"({day}, {max(3, round(budgets[day - parameters.first_day] * share))})"
        for day in range(first, span.last + 1)
    )
    return f"""
    select
        placed.*,
        people.user_id,
        people.user_no,
    from (
        select
            keyed.*,
            places.* exclude (slot, name),
            (thing_key % people_count)::bigint as recipient,
        from (
            select
                day,
                thing_count,
                i,
                -- counts on from day to day, so that rare kinds occur on days with few things
                day * 7 + i as turn,
                case when turn % 11 = 10 then 'sandbox' else 'production' end as environment,
                mix(mix({parameters.seed_key}::ubigint + day::ubigint * 668265263::ubigint
                    + {salt}::ubigint) + i::ubigint) as thing_key,
            from (values {days}) as listed(day, thing_count)
            cross join unnest(range(thing_count)) as numbers(i)
        ) as keyed
        inner join places on pick(thing_key, 1, 128) = places.slot
    ) as placed
    inner join people
        on placed.project_no = people.project_no and placed.recipient = people.rank
"""


def within(span: Span) -> str:
    """Return the condition that a row was received in `span`."""
    return (
        f"received_at >= instant({span.first * DAY})"
        f" and received_at < instant({(span.last + 1) * DAY})"
    )


def membership_events_sql(parameters: Parameters, span: Span) -> str:
    """Return the SELECT of membership events; one member a seat."""
    return f"""
with seated as (
    select * from seats where kind = 'human' and not is_merged_away
),
changes as (
    select *, 'membership.invited' as type, created_day as day_number,
        28800 + pick(seat_key, 51, 1800) as second
    from seated where created_day >= 0 and place <> 2
    union all
    select *, 'membership.added', greatest(created_day, 0),
        case when created_day < 0 then 60 + pick(seat_key, 52, 600)
            else 32400 + pick(seat_key, 52, 1800) end
    from seated
    union all
    select *, 'membership.role_changed', greatest(created_day, 0) + 1 + pick(seat_key, 53, 20),
        50400 + pick(seat_key, 54, 3600)
    from seated
    where seat_key % 8 = 1
        and (churn_day is null
            or greatest(created_day, 0) + 1 + pick(seat_key, 53, 20) < churn_day)
    union all
    select *, 'membership.removed', churn_day, 64800 + pick(seat_key, 55, 3600)
    from seated where churn_day is not null and return_day is null and seat_key % 3 > 0
),
dated as (
    select
        *,
        ({parameters.first_day} + day_number) * {DAY} + second * 1000000 + seat_no % 1000000
            as occurred,
        mix(seat_key + length(type)::ubigint * 7919::ubigint) as row_key,
    from changes
    where day_number < {parameters.days}
),
sent as (
    select
        'me_' || seat_no || '_' || split_part(type, '.', 2) as id,
        type,
        instant(occurred) as occurred_at,
        instant(occurred + 400000) as received_at,
        environment,
        workspace_id,
        project_id,
        user_id,
        {NULLS}
        case when row_key % 4 = 0 then md5(seat_no || type) end as trace_id,
        seat_no % 89 = 5 as is_test,
        case when seat_no % 7 > 0 then 'mem_' || seat_no end as membership_id,
        case
            when type = 'membership.removed' then null
            when type = 'membership.role_changed' then 'admin'
            else 'member'
        end as role,
        case when type = 'membership.role_changed' then 'member' end as previous_role,
        'usr_' || lpad((seat_no % 10)::varchar, 7, '0') as actor_id,
        row_key,
    from dated
)
select
    *,
    concat_ws(
        ',',
        '"membership_id":"' || membership_id || '"',
        '"role":"' || role || '"',
        '"previous_role":"' || previous_role || '"',
        '"actor_id":"' || actor_id || '"'
    ) as data,
from sent
where {within(span)}
"""


def webhook_deliveries_sql(parameters: Parameters, span: Span) -> str:
    """Return the SELECT of webhook attempts.

    Most succeed at once; some after retries (1 min, 10 min, 1 h); an endpoint that is gone gets no
    retry; of the rest some exhaust four attempts and some are waiting for one that never came.
    """
    return f"""
with things as ({things_sql(parameters, span, DELIVERIES, 101)}),
fates as (
    select
        *,
        case
            when share(thing_key, 2) < 0.85 then 'first'
            when share(thing_key, 2) < 0.92 then 'retried'
            when share(thing_key, 2) < 0.94 then 'gone'
            when share(thing_key, 2) < 0.96 then 'unsaid'
            when share(thing_key, 2) < 0.98 then 'exhausted'
            when share(thing_key, 2) < 0.99 then 'waiting'
            else 'repeated'
        end as fate,
        2 + pick(thing_key, 3, 3) as successful_attempt,
    from things
),
attempted as (
    select
        *,
        attempt,
        case fate when 'first' then 1 when 'retried' then successful_attempt when 'repeated' then 2
            when 'gone' then 1 when 'unsaid' then 2 when 'exhausted' then 4 else 2
        end as attempt_count,
        day * {DAY} + pick(thing_key, 4, 79200) * 1000000 + i % 1000000
            + [0, 60000000, 660000000, 4260000000][attempt] as occurred,
        mix(thing_key + attempt::ubigint * 7919::ubigint) as row_key,
    from fates
    cross join (values (1), (2), (3), (4)) as numbers(attempt)
),
decided as (
    select
        *,
        case
            when fate = 'first' or (fate = 'retried' and attempt = successful_attempt)
                -- delivered, but the receipt was lost and a needless second attempt failed
                or (fate = 'repeated' and attempt = 1) then 'delivered'
            else 'failed'
        end as outcome,
    from attempted
    where attempt <= attempt_count
),
sent as (
    select
        'wh_' || day || '_' || i || '_' || attempt as id,
        'webhook.attempted' as type,
        instant(occurred) as occurred_at,
        -- some reach us out of order, days later
        instant(occurred + case
            when row_key % 50 = 9 and day + 3 <= {parameters.last_day} then 259200000000
            else 300000
        end) as received_at,
        environment,
        workspace_id,
        project_id,
        case when thing_key % 3 > 0 then user_id end as user_id,
        {NULLS}
        case when outcome = 'failed' then md5('wh' || day || i) end as trace_id,
        turn % 120 = 17 as is_test,
        'dlv_' || day || '_' || i as delivery_id,
        one_of(endpoints, thing_key) as endpoint_id,
        one_of(['user.created', 'session.revoked', 'membership.added'], thing_key >> 9)
            as event_type,
        attempt::bigint as attempt,
        outcome,
        case
            when outcome = 'delivered' then 200
            when fate = 'gone' then 410
            when row_key % 4 = 0 then null
            else 503
        end as status_code,
        (40 + row_key % 3000)::double as latency_ms,
        case
            when outcome = 'delivered' then false
            when fate in ('gone', 'repeated') or attempt = 4 then false
            -- no word about a retry means none
            when fate = 'unsaid' and attempt = 2 then null
            else true
        end as will_retry,
        row_key,
    from decided
)
select
    *,
    concat_ws(
        ',',
        '"delivery_id":"' || delivery_id || '"',
        '"endpoint_id":"' || endpoint_id || '"',
        '"event_type":"' || event_type || '"',
        '"attempt":' || attempt,
        '"outcome":"' || outcome || '"',
        '"status_code":' || status_code,
        '"latency_ms":' || latency_ms,
        '"will_retry":' || will_retry
    ) as data,
from sent
where {within(span)}
"""


def states_sql(things: str, prefix: str, states: str, parameters: Parameters) -> str:
    """Return CTEs that give each thing its states.

    `states`: rows (state, after seconds, from share, to share): the state is reached by things
    whose fate lies in that range.
    """
    return f"""
with things as ({things}),
fates as (
    select *, share(thing_key, 2) as fate, day * {DAY} + pick(thing_key, 4, 79200) * 1000000
        + i % 1000000 as begun
    from things
),
steps as (
    select
        fates.*,
        state,
        mix(thing_key + (after * 4 + length(state))::ubigint * 7919::ubigint) as row_key,
        begun + after::bigint * 1000000 as occurred,
    from fates
    cross join (values {states}) as listed(state, after, low, high)
    where fate >= low and fate < high
),
stated as (
    select
        '{prefix}_' || day || '_' || i || '_' || state as thing_id,
        instant(occurred) as occurred_at,
        -- out of order: one event in 25 arrives hours after those that followed it
        instant(occurred + case
            when row_key % 25 = 3 and occurred // {DAY} + 1 <= {parameters.last_day}
                then 21600000000
            when row_key % 60 = 7 and occurred // {DAY} + 3 <= {parameters.last_day}
                then 259200000000
            else 700000
        end) as received_at,
        *,
    from steps
)"""


def campaign_events_sql(parameters: Parameters, span: Span) -> str:
    """Return the SELECT of campaign messages' states; one campaign a project and week."""
    states = """
        ('queued', 0, 0.0, 0.99), ('sent', 40, 0.0, 0.93), ('delivered', 95, 0.0, 0.82),
        ('delivered', 40, 0.99, 1.0), ('sent', 40, 0.99, 1.0),
        ('opened', 1800, 0.0, 0.4), ('clicked', 2100, 0.0, 0.15),
        ('complained', 2400, 0.14, 0.16), ('unsubscribed', 2600, 0.12, 0.16),
        ('bounced', 130, 0.82, 0.9), ('failed', 60, 0.93, 0.97)
    """
    things = things_sql(parameters, span, MAILS, 102)
    return f"""
{states_sql(things, "ca", states, parameters)},
sent as (
    select
        thing_id as id,
        'message.' || state as type,
        occurred_at,
        received_at,
        environment,
        workspace_id,
        project_id,
        user_id,
        {NULLS}
        null::varchar as trace_id,
        -- one mail in 40 belongs to a test of its campaign, in production too
        thing_key % 40 = 5 as is_test,
        'cmp_' || substr(project_id, 5) || '_' || day // 7 || case when thing_key % 40 = 5
            then '_test' else '' end as campaign_id,
        'msg_' || day || '_' || i as message_id,
        one_of(['email', 'email', 'email', 'sms'], thing_key >> 8) as channel,
        row_key,
    from stated
)
select
    *,
    concat_ws(
        ',',
        '"campaign_id":"' || campaign_id || '"',
        '"message_id":"' || message_id || '"',
        '"channel":"' || channel || '"'
    ) as data,
from sent
where {within(span)}
"""


def notification_events_sql(parameters: Parameters, span: Span) -> str:
    """Return the SELECT of notifications' states; every fifth one goes to two channels."""
    states = """
        ('queued', 0, 0.0, 1.0), ('sent', 2, 0.0, 0.97), ('delivered', 5, 0.0, 0.9),
        ('failed', 6, 0.9, 0.96), ('read', 900, 0.0, 0.35)
    """
    things = things_sql(parameters, span, NOTICES, 103)
    return f"""
{states_sql(things, "no", states, parameters)},
routed as (
    select *, unnest(case when turn % 5 = 2 then ['email', 'push']
        else [one_of(['email', 'sms', 'push', 'in_app'], thing_key >> 8)] end) as channel
    from stated
),
sent as (
    select
        thing_id || '_' || channel as id,
        'notification.' || state as type,
        occurred_at,
        received_at,
        environment,
        workspace_id,
        project_id,
        user_id,
        {NULLS}
        null::varchar as trace_id,
        turn % 97 = 13 as is_test,
        'ntf_' || day || '_' || i as notification_id,
        channel,
        mix(row_key + length(channel)::ubigint) as row_key,
    from routed
)
select
    *,
    concat_ws(
        ',',
        '"notification_id":"' || notification_id || '"',
        '"channel":"' || channel || '"'
    ) as data,
from sent
where {within(span)}
"""


def loyalty_events_sql(parameters: Parameters, span: Span) -> str:
    """Return the SELECT of loyalty events; a workspace has one program."""
    return f"""
with things as ({things_sql(parameters, span, POINTS, 104)}),
dated as (
    select
        *,
        -- a second of its own for each, so that the newest tier is never in doubt
        day * {DAY} + i * 86300000000 // thing_count + 1000 as occurred,
        mix(thing_key + 7919::ubigint) as row_key,
        case
            when share(thing_key, 2) < 0.7 then 'points.earned'
            when share(thing_key, 2) < 0.82 then 'points.redeemed'
            when share(thing_key, 2) < 0.87 then 'points.expired'
            when share(thing_key, 2) < 0.92 then 'points.adjusted'
            when share(thing_key, 2) < 0.97 then 'tier.changed'
            else 'reward.claimed'
        end as type,
    from things
),
sent as (
    select
        'lo_' || day || '_' || i as id,
        type,
        instant(occurred) as occurred_at,
        instant(occurred + case
            when row_key % 40 = 11 and day + 2 <= {parameters.last_day} then 172800000000
            else 250000
        end) as received_at,
        environment,
        workspace_id,
        project_id,
        user_id,
        {NULLS}
        null::varchar as trace_id,
        turn % 83 = 7 as is_test,
        program_id,
        case
            when type = 'points.adjusted' then pick(thing_key, 5, 201) - 100
            when type like 'points.%' then 5 * (1 + pick(thing_key, 5, 40))
        end as points,
        case when type = 'tier.changed'
            then one_of(['bronze', 'silver', 'gold'], thing_key >> 7)
        end as tier,
        case when type = 'reward.claimed' then 'rwd_' || thing_key % 9 end as reward_id,
        case when i % 3 = 0 then 'mem_' || user_no * 4 end as membership_id,
        case when type = 'points.earned' and i % 4 = 0 then 'pl_m' || day || '_' || i end
            as source_event_id,
        row_key,
    from dated
)
select
    *,
    concat_ws(
        ',',
        '"program_id":"' || program_id || '"',
        '"points":' || points,
        '"tier":"' || tier || '"',
        '"reward_id":"' || reward_id || '"',
        '"membership_id":"' || membership_id || '"',
        '"source_event_id":"' || source_event_id || '"'
    ) as data,
from sent
where {within(span)}
"""


def page_views_sql(parameters: Parameters, span: Span) -> str:
    """Return the SELECT of analytics page views begun in `span`, one row a view.

    Of 20 views two come through the API (one event), one is incomplete (its latency event is
    missing), one is impersonated and one is of the sandbox; in half of the rest the requests and
    the latency event are equal to the byte.
    """
    return f"""
with things as ({things_sql(parameters, span, VIEWS, 105)})
select
    day,
    i,
    turn,
    thing_key,
    case when turn % 20 = 16 then 'sandbox' else 'production' end as environment,
    workspace_id,
    project_id,
    user_id,
    user_no,
    instant(day * {DAY} + (i * 86300 // thing_count) * 1000000 + 123000) as viewed_at,
    case when turn % 20 = 9 then 'support@example.com' else '' end as impersonator_email,
    case when turn % 20 = 9 then 'ticket ' || (1000 + i) else '' end as impersonator_reason,
    case
        when turn % 20 in (4, 14) then '/api/v1/projects/' || project_id || '/analytics'
        else '/projects/' || project_id || '/analytics'
    end as source,
    case
        when turn % 20 in (4, 14) then 'api'
        when turn % 20 = 7 then 'incomplete'
        when turn % 2 = 0 then 'twins'
        else 'page'
    end as kind,
    -- dates of the range: 1 to 31, the last of them the day of viewing
    one_of([1, 7, 8, 14, 31], thing_key >> 6) as date_count,
    instant((day - date_count + 1) * {DAY}) as range_start_at,
    instant((day + 1) * {DAY} - 1000) as range_end_at,
    case when date_count <= 7 then 'hour' else 'day' end as interval_word,
from things
where day between {span.first} and {span.last}
"""


def audit_records_sql() -> str:
    """Return the SELECT of audit records (line, sort keys) made from the table `page_views`.

    The shape is that of the published schema, as it is: no id, a project target, times in
    milliseconds.
    """
    return """
with parts as (
    select page_views.*, part
    from page_views
    cross join (values (0), (1), (2)) as numbers(part)
    where (kind <> 'api' or part = 0) and (kind <> 'incomplete' or part < 2)
),
dated as (
    select
        *,
        case when part = 0 then '' else interval_word end as interval,
        viewed_at + to_milliseconds(case when kind = 'twins' then 0 else part * 120 end)
            as occurred_at,
    from parts
),
viewed as (
    select
        day,
        i,
        turn,
        part,
        occurred_at,
        environment,
        workspace_id,
        project_id,
        user_id,
        'analytics.view' as action,
        interval,
        to_json({
            'action': 'analytics.view',
            'occurredAt': strftime(occurred_at, '%Y-%m-%dT%H:%M:%S.%gZ'),
            'version': 1,
            'environment': environment,
            'actor': {
                'type': 'user',
                'id': user_id,
                'name': 'Member ' || user_no,
                'metadata': {
                    'first_name': 'Member',
                    'last_name': user_no::varchar,
                    'email': 'member' || user_no || '@example.com',
                    'impersonator_email': impersonator_email,
                    'impersonator_reason': impersonator_reason
                }
            },
            'targets': [{
                'type': 'project',
                'id': project_id,
                'name': project_id,
                'metadata': {'name': project_id, 'organization_id': workspace_id}
            }],
            'context': {
                'location': '198.51.100.' || (user_no % 256),
                'userAgent': 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)'
            },
            'metadata': {
                'source': source,
                'start_date': strftime(range_start_at, '%Y-%m-%dT%H:%M:%S.%gZ'),
                'end_date': strftime(range_end_at, '%Y-%m-%dT%H:%M:%S.%gZ'),
                'interval': interval
            }
        })::varchar as line,
    from dated
),
others as (
    select
        day,
        i,
        turn,
        9 as part,
        viewed_at + interval 20 seconds as occurred_at,
        environment,
        workspace_id,
        project_id,
        user_id,
        'api_key.created' as action,
        null::varchar as interval,
        to_json({
            'id': 'aud_' || day || '_' || i,
            'action': 'api_key.created',
            'occurredAt': strftime(viewed_at + interval 20 seconds, '%Y-%m-%dT%H:%M:%S.%gZ'),
            'version': 1,
            'environment': environment,
            'actor': {'type': 'user', 'id': user_id, 'name': 'Member ' || user_no},
            'targets': [{
                'type': 'project',
                'id': project_id,
                'name': project_id,
                'metadata': {'name': project_id, 'organization_id': workspace_id}
            }],
            'context': {'location': '198.51.100.7', 'userAgent': 'curl/8.5.0'},
            'metadata': {'key_name': 'ci'}
        })::varchar as line,
    from page_views
    where turn % 10 = 3
)
select * from viewed
union all
select * from others
"""
