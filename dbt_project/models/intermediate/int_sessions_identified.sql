-- Sessions whose source gives an id: every event of the id belongs to the one session, also after
-- its end. The first session.ended or session.revoked ends it; a revoke counts only before an end.

{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_session_ids_reached',
        'by_key': true,
        'on': "old.session_number = listed.session_number
            and old.workspace_id = listed.workspace_id
            and old.project_id = listed.project_id
            and old.session_id = listed.session_id",
    }},
) }}

{%- set described_by = ['user_id', 'anonymous_id', 'device_class', 'trace_id'] %}

with

int_session_ids_reached as (
    select * from {{ listed_now(ref('int_session_ids_reached')) }} as listed
),

int_session_events_resolved as (
    select * from {{ ref('int_session_events_resolved') }}
    where session_id is not null
    {{ and_listed('activity_date', 'int_session_ids_reached') }}
    {{ and_listed('(workspace_id, project_id, session_id)', 'int_session_ids_reached',
        '(workspace_id, project_id, session_id)') }}
),

grouped as (
    select
        workspace_id,
        project_id,
        session_id,
        -- one row in place of four searches: 1.3 instead of 2.8 CPU s of 2.4M events
        {{ earliest_row(described_by, ['occurred_at', 'event_id']) }} as first_event,
        {%- for column in described_by %}
        count({{ column }}) > 0 as has_{{ column }},
        {%- endfor %}
        min(occurred_at) as started_at,
        max(occurred_at) as last_event_at,
        min(occurred_at) filter (where type = 'session.ended') as first_ended_at,
        min(occurred_at) filter (where type = 'session.revoked') as first_revoked_at,
        count(*) as event_count,
        count(*) filter (where is_action_run) as action_run_count,
        count(*) filter (where is_engagement) as engagement_count,
        count(*) filter (where is_journey_completion) as journey_completion_count,
        bool_or(is_test) as is_test,
        bool_or(is_impersonated) as is_impersonated,
        min(activity_date) as started_date,
        max(activity_date) as last_event_date
    from int_session_events_resolved
    group by workspace_id, project_id, session_id
),

-- What the first event lacks is that of the first event that has it; few sessions need this look.
lacking as (
    select
        workspace_id,
        project_id,
        session_id
    from grouped
    where
        ({{ field_of('first_event', 'user_id') }} is null and has_user_id)
        or ({{ field_of('first_event', 'anonymous_id') }} is null and has_anonymous_id)
        or ({{ field_of('first_event', 'device_class') }} is null and has_device_class)
        or ({{ field_of('first_event', 'trace_id') }} is null and has_trace_id)
),

found_later as (
    select
        lacking.workspace_id,
        lacking.project_id,
        lacking.session_id,
        {%- for column in described_by %}
        {{ earliest(
            'int_session_events_resolved.' ~ column,
            ['int_session_events_resolved.occurred_at', 'int_session_events_resolved.event_id']
        ) }} as {{ column }}
        {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from lacking
    inner join int_session_events_resolved
        on
            lacking.workspace_id = int_session_events_resolved.workspace_id
            and lacking.project_id = int_session_events_resolved.project_id
            and lacking.session_id = int_session_events_resolved.session_id
    group by lacking.workspace_id, lacking.project_id, lacking.session_id
),

-- Few sessions have events on several days; a list for each of the others took as long as all else
-- (1.5 of 4.9 s, 2.9M events).
several_days as (
    select
        workspace_id,
        project_id,
        session_id
    from grouped
    where started_date < last_event_date
),

days_listed as (
    select
        several_days.workspace_id,
        several_days.project_id,
        several_days.session_id,
        {{ distinct_list('int_session_events_resolved.activity_date') }} as activity_dates
    from several_days
    inner join int_session_events_resolved
        on
            several_days.workspace_id = int_session_events_resolved.workspace_id
            and several_days.project_id = int_session_events_resolved.project_id
            and several_days.session_id = int_session_events_resolved.session_id
    group by several_days.workspace_id, several_days.project_id, several_days.session_id
),

revokes_ordered as (
    select
        workspace_id,
        project_id,
        session_id,
        revoke_reason,
        revoked_by_kind,
        trace_id,
        row_number() over (
            partition by workspace_id, project_id, session_id
            order by occurred_at, event_id
        ) as revoke_number
    from int_session_events_resolved
    where type = 'session.revoked'
),

closed as (
    select
        {{ session_key_of('grouped') }} as session_key,
        {{ number_of(['grouped.workspace_id', 'grouped.project_id', 'grouped.session_id']) }}
            as session_number,
        grouped.workspace_id,
        grouped.project_id,
        grouped.session_id,
        coalesce({{ field_of('grouped.first_event', 'user_id') }}, found_later.user_id)
            as user_id,
        coalesce({{ field_of('grouped.first_event', 'anonymous_id') }}, found_later.anonymous_id)
            as anonymous_id,
        grouped.started_at,
        grouped.last_event_at,
        coalesce(
            least(grouped.first_ended_at, grouped.first_revoked_at), grouped.last_event_at
        ) as ended_at,
        grouped.event_count,
        grouped.action_run_count,
        grouped.engagement_count,
        grouped.journey_completion_count,
        coalesce({{ field_of('grouped.first_event', 'device_class') }}, found_later.device_class)
            as device_class,
        grouped.first_ended_at is not null or grouped.first_revoked_at is not null as is_ended,
        grouped.first_revoked_at is not null
        and (
            grouped.first_ended_at is null or grouped.first_revoked_at < grouped.first_ended_at
        ) as is_revoked,
        grouped.first_revoked_at,
        revokes_ordered.revoke_reason,
        revokes_ordered.revoked_by_kind,
        revokes_ordered.trace_id as revoke_trace_id,
        coalesce({{ field_of('grouped.first_event', 'trace_id') }}, found_later.trace_id)
            as trace_id,
        grouped.is_test,
        grouped.is_impersonated,
        grouped.started_date,
        cast(
            coalesce(least(grouped.first_ended_at, grouped.first_revoked_at), grouped.last_event_at)
            as date
        ) as ended_date,
        grouped.last_event_date,
        coalesce(days_listed.activity_dates, {{ list_of(['grouped.started_date']) }})
            as activity_dates
    from grouped
    left join revokes_ordered
        on
            grouped.workspace_id = revokes_ordered.workspace_id
            and grouped.project_id = revokes_ordered.project_id
            and grouped.session_id = revokes_ordered.session_id
            and revokes_ordered.revoke_number = 1
    left join found_later
        on
            grouped.workspace_id = found_later.workspace_id
            and grouped.project_id = found_later.project_id
            and grouped.session_id = found_later.session_id
    left join days_listed
        on
            grouped.workspace_id = days_listed.workspace_id
            and grouped.project_id = days_listed.project_id
            and grouped.session_id = days_listed.session_id
)

select * from closed
