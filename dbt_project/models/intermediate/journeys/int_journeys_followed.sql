-- Journeys put together from their events: begun at the first begin, completed at the first
-- completion at or after it. What has no begin yet stands here too, so that a begin which comes
-- late finds the days of the rest; it is no journey and has no begun_at.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_journeys_reached',
        'on': "old.journey_number = listed.journey_number
            and old.workspace_id = listed.workspace_id
            and old.project_id = listed.project_id
            and old.journey_id = listed.journey_id",
    }},
) }}

{%- set id = ['grouped.workspace_id', 'grouped.project_id', 'grouped.journey_id'] %}
{%- set order = ['place', 'occurred_at', 'event_id'] %}

with

int_journeys_reached as (
    select * from {{ listed_now(ref('int_journeys_reached')) }} as listed
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

stg_session_events as (
    select * from {{ ref('stg_session_events') }}
    where journey_id is not null
    {{ and_listed('activity_date', 'int_journeys_reached') }}
    {{ and_listed('(workspace_id, project_id, journey_id)', 'int_journeys_reached',
        '(workspace_id, project_id, journey_id)') }}
),

begins as (
    select
        workspace_id,
        project_id,
        journey_id,
        min(occurred_at) as begun_at,
        {{ earliest('event_id', ['occurred_at', 'event_id']) }} as event_id
    from stg_session_events
    where type = 'journey.begun'
    group by workspace_id, project_id, journey_id
),

placed as (
    select
        stg_session_events.workspace_id,
        stg_session_events.project_id,
        stg_session_events.journey_id,
        stg_session_events.event_id,
        stg_session_events.type,
        stg_session_events.journey_name,
        int_users_interned.surviving_user_id as user_id,
        stg_session_events.session_id,
        stg_session_events.trace_id,
        stg_session_events.occurred_at,
        stg_session_events.activity_date,
        stg_session_events.is_test,
        begins.begun_at,
        -- what describes a journey is asked of its begin first
        case when stg_session_events.event_id = begins.event_id then 0 else 1 end as place
    from stg_session_events
    left join begins
        on
            stg_session_events.workspace_id = begins.workspace_id
            and stg_session_events.project_id = begins.project_id
            and stg_session_events.journey_id = begins.journey_id
    left join int_users_interned on stg_session_events.user_id = int_users_interned.user_id
),

grouped as (
    select
        workspace_id,
        project_id,
        journey_id,
        {{ earliest('journey_name', order) }} as journey_name,
        {{ earliest('user_id', order) }} as user_id,
        {{ earliest('session_id', order) }} as session_id,
        {{ earliest('trace_id', order) }} as trace_id,
        min(begun_at) as begun_at,
        min(occurred_at) filter (where type = 'journey.completed' and occurred_at >= begun_at)
            as completed_at,
        max(occurred_at) as last_activity_at,
        count(*) filter (where type = 'journey.step') as step_count,
        bool_or(is_test) as is_test,
        min(activity_date) as first_event_date,
        max(activity_date) as last_event_date
    from placed
    group by workspace_id, project_id, journey_id
),

followed as (
    select
        {{ key_of(id) }} as journey_key,
        {{ number_of(id) }} as journey_number,
        grouped.workspace_id,
        grouped.project_id,
        grouped.journey_id,
        grouped.journey_name,
        grouped.user_id,
        {{ session_key_of('grouped') }} as session_key,
        grouped.begun_at,
        grouped.completed_at,
        grouped.last_activity_at,
        grouped.step_count,
        grouped.trace_id,
        grouped.is_test,
        cast(grouped.begun_at as date) as begun_date,
        grouped.first_event_date,
        grouped.last_event_date
    from grouped
)

select * from followed
