-- Sessions of events without an id, by the gap rule: a visitor's event starts a session when the
-- gap to the visitor's previous event is greater than session_gap_minutes, or when that session was
-- closed. Ended and revoked events never start, join or extend: one within the gap of the open
-- session's last event closes it at its own time, any other is left out.
-- One window pass finds the rows at which a session starts or is closed and keeps only those; what
-- a session holds is then the difference of running counts between two such rows, so that events
-- are neither numbered by session nor grouped again (2.7 s where that took 30 s, on 43.6M events).
-- A visitor is a user, or an anonymous id where there is no user; test traffic is a visitor of its
-- own, so that it can't join or split a session that counts.

{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_visits_reached',
        'by_key': true,
        'on': 'old.visitor_number = listed.visitor_number
            and old.started_at between listed.from_at and listed.to_at',
    }},
) }}

{%- set gap_seconds = var('session_gap_minutes') * 60 %}
{%- set visitor = ['workspace_id', 'project_id', 'user_key', 'visitor_anonymous_id', 'is_test'] %}
{%- if is_incremental() %}
    {#- what lies between two stretches of a visitor is not read: they never meet -#}
    {%- do visitor.append('from_at') %}
{%- endif %}
{%- set totals = ['event', 'action_run', 'engagement', 'journey_completion', 'impersonated'] %}

with

int_session_events_resolved as (
    select
        *,
        case when user_key is null then anonymous_id end as visitor_anonymous_id
    from {{ ref('int_session_events_resolved') }}
    where session_id is null and (user_key is not null or anonymous_id is not null)
),

int_visits_reached as (
    select * from {{ listed_now(ref('int_visits_reached')) }} as listed
),

visits as (
    select
        int_session_events_resolved.*,
        {%- if is_incremental() %}
        int_visits_reached.from_at,
        {%- endif %}
        case when int_session_events_resolved.is_closing then 0 else 1 end as is_event,
        case when int_session_events_resolved.is_action_run then 1 else 0 end as action_runs,
        case when int_session_events_resolved.is_engagement then 1 else 0 end as engagements,
        case
            when int_session_events_resolved.is_journey_completion then 1
            else 0
        end as journey_completions,
        case
            when
                int_session_events_resolved.is_impersonated
                and not int_session_events_resolved.is_closing
                then 1
            else 0
        end as impersonations
    from int_session_events_resolved
    {%- if is_incremental() %}
    inner join int_visits_reached
        on
            int_session_events_resolved.activity_date = int_visits_reached.activity_date
            and int_session_events_resolved.workspace_id = int_visits_reached.workspace_id
            and int_session_events_resolved.project_id = int_visits_reached.project_id
            and int_session_events_resolved.user_key
            is not distinct from int_visits_reached.user_key
            and int_session_events_resolved.visitor_anonymous_id
            is not distinct from int_visits_reached.visitor_anonymous_id
            and int_session_events_resolved.is_test = int_visits_reached.is_test
            and int_session_events_resolved.occurred_at >= int_visits_reached.from_at
            and int_session_events_resolved.occurred_at <= int_visits_reached.to_at
    {%- endif %}
),

ordered as (
    select
        *,
        row_number() over visitor_events as position,
        lag(is_closing) over visitor_events as is_previous_closing,
        max(case when not is_closing then occurred_at end) over (
            visitor_events rows between unbounded preceding and 1 preceding
        ) as previous_event_at,
        lead(event_id) over visitor_events is null as is_last_row,
        sum(is_event) over visitor_events as event_total,
        sum(action_runs) over visitor_events as action_run_total,
        sum(engagements) over visitor_events as engagement_total,
        sum(journey_completions) over visitor_events as journey_completion_total,
        sum(impersonations) over visitor_events as impersonated_total
    from visits
    window visitor_events as (
        partition by {{ visitor | join(', ') }}
        order by occurred_at, is_closing, event_id
    )
),

judged as (
    select
        *,
        not is_closing
        and (
            previous_event_at is null
            or is_previous_closing
            or {{ seconds_between('previous_event_at', 'occurred_at') }} > {{ gap_seconds }}
        ) as is_start,
        is_closing
        and previous_event_at is not null
        and not is_previous_closing
        and {{ seconds_between('previous_event_at', 'occurred_at') }} <= {{ gap_seconds }}
            as is_close
    from ordered
),

boundaries as (
    select
        *,
        -- what the visitor had before this row (a start or a close ends what came before it), or
        -- with it (the visitor's last row)
        case when is_start or is_close then event_total - is_event else event_total end
            as event_bound,
        case when is_start or is_close then action_run_total - action_runs else action_run_total end
            as action_run_bound,
        case when is_start or is_close then engagement_total - engagements else engagement_total end
            as engagement_bound,
        case
            when is_start or is_close then journey_completion_total - journey_completions
            else journey_completion_total
        end as journey_completion_bound,
        case
            when is_start or is_close then impersonated_total - impersonations
            else impersonated_total
        end as impersonated_bound,
        case
            when is_start or is_close or is_closing then previous_event_at
            else occurred_at
        end as last_event_at_bound,
        case when is_start or is_close then position else position + 1 end as position_bound
    from judged
    where is_start or is_close or is_last_row
),

paired as (
    select
        *,
        {%- for total in totals %}
        lead({{ total }}_bound) over visitor_boundaries as next_{{ total }}_bound,
        {%- endfor %}
        lead(last_event_at_bound) over visitor_boundaries as next_last_event_at,
        lead(position_bound) over visitor_boundaries as next_position_bound,
        coalesce(lead(is_close) over visitor_boundaries, false) as is_closed,
        lead(occurred_at) over visitor_boundaries as next_occurred_at,
        lead(type) over visitor_boundaries as next_type,
        lead(revoke_reason) over visitor_boundaries as next_revoke_reason,
        lead(revoked_by_kind) over visitor_boundaries as next_revoked_by_kind,
        lead(trace_id) over visitor_boundaries as next_trace_id,
        lead(event_id) over visitor_boundaries as next_event_id
    from boundaries
    window visitor_boundaries as (
        partition by {{ visitor | join(', ') }} order by position
    )
),

sessions as (
    select
        {%- for column in visitor %}
        {{ column }},
        {%- endfor %}
        position,
        next_position_bound,
        {{ key_of(["'gap'", 'workspace_id', 'project_id', 'event_id']) }} as session_key,
        {{ number_of([
            'workspace_id', 'project_id', 'cast(user_key as ' ~ dbt.type_string() ~ ')',
            'visitor_anonymous_id', 'cast(is_test as ' ~ dbt.type_string() ~ ')',
        ]) }} as visitor_number,
        user_id,
        anonymous_id,
        occurred_at as started_at,
        coalesce(next_last_event_at, occurred_at) as last_event_at,
        {%- for total in totals %}
        coalesce(next_{{ total }}_bound, {{ total }}_total) - {{ total }}_bound
            as {{ total }}_count,
        {%- endfor %}
        device_class,
        trace_id,
        is_closed,
        is_closed and next_type = 'session.revoked' as is_revoked,
        case when is_closed then next_occurred_at end as closed_at,
        case when is_closed then next_revoke_reason end as revoke_reason,
        case when is_closed then next_revoked_by_kind end as revoked_by_kind,
        case when is_closed then next_trace_id end as revoke_trace_id,
        case when is_closed then next_event_id end as closing_event_id
    from paired
    where is_start
),

-- The first event seldom lacks what a session takes from its first event that has it; only where
-- it does are the session's other events looked at.
lacking as (
    select * from sessions
    where event_count > 1 and (device_class is null or trace_id is null or anonymous_id is null)
),

found_later as (
    select
        lacking.session_key,
        {{ earliest('ordered.device_class', ['ordered.position']) }} as device_class,
        {{ earliest('ordered.trace_id', ['ordered.position']) }} as trace_id,
        {{ earliest('ordered.anonymous_id', ['ordered.position']) }} as anonymous_id
    from lacking
    inner join ordered
        on
            lacking.workspace_id = ordered.workspace_id
            and lacking.project_id = ordered.project_id
            and lacking.user_key is not distinct from ordered.user_key
            and lacking.visitor_anonymous_id is not distinct from ordered.visitor_anonymous_id
            and lacking.is_test = ordered.is_test
            {%- if is_incremental() %}
            and lacking.from_at = ordered.from_at
            {%- endif %}
            and lacking.position < ordered.position
            and lacking.next_position_bound > ordered.position
    where not ordered.is_closing
    group by lacking.session_key
),

described as (
    select
        sessions.session_key,
        sessions.workspace_id,
        sessions.project_id,
        sessions.user_id,
        coalesce(sessions.anonymous_id, found_later.anonymous_id) as anonymous_id,
        sessions.started_at,
        sessions.last_event_at,
        coalesce(sessions.closed_at, sessions.last_event_at) as ended_at,
        sessions.event_count,
        sessions.action_run_count,
        sessions.engagement_count,
        sessions.journey_completion_count,
        coalesce(sessions.device_class, found_later.device_class) as device_class,
        sessions.is_closed as is_ended,
        sessions.is_revoked,
        sessions.revoke_reason,
        sessions.revoked_by_kind,
        sessions.revoke_trace_id,
        sessions.closing_event_id,
        coalesce(sessions.trace_id, found_later.trace_id) as trace_id,
        sessions.is_test,
        sessions.impersonated_count > 0 as is_impersonated,
        sessions.visitor_number,
        cast(sessions.started_at as date) as started_date,
        cast(coalesce(sessions.closed_at, sessions.last_event_at) as date) as ended_date,
        cast(sessions.last_event_at as date) as last_event_date,
        cast(coalesce(sessions.closed_at, sessions.last_event_at) as date)
        > cast(sessions.started_at as date) as is_over_midnight
    from sessions
    left join found_later on sessions.session_key = found_later.session_key
)

select * from described
