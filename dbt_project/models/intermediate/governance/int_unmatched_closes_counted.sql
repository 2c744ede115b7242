-- Ends and revokes of sessions without an id that closed none, by the day they occurred and the day
-- they were received.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_close_days_reached',
        'on': 'old.activity_date = listed.activity_date',
    }},
) }}

with

int_close_days_reached as (
    select * from {{ listed_now(ref('int_close_days_reached')) }} as listed
),

stg_session_events as (
    select * from {{ ref('stg_session_events') }}
    where
        session_id is null
        and type in ('session.ended', 'session.revoked')
    {{ and_listed('activity_date', 'int_close_days_reached') }}
),

int_sessions_inferred as (
    select * from {{ ref('int_sessions_inferred') }}
    where closing_event_id is not null
    {{ and_listed('ended_date', 'int_close_days_reached') }}
),

unmatched as (
    select
        stg_session_events.activity_date,
        cast(stg_session_events.received_at as date) as received_date
    from stg_session_events
    left join int_sessions_inferred
        on
            stg_session_events.workspace_id = int_sessions_inferred.workspace_id
            and stg_session_events.event_id = int_sessions_inferred.closing_event_id
    where int_sessions_inferred.closing_event_id is null
),

counted as (
    select
        activity_date,
        received_date,
        cast(count(*) as bigint) as unmatched_close_count
    from unmatched
    group by all
)

select * from counted
