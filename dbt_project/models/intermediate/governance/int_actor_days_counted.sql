-- The days of each actor of audit events, so that a merge finds them without a look at all events.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_days_changed',
        'on': "old.activity_date = listed.activity_date and listed.source_table = 'audit_events'",
    }},
) }}

with

stg_audit_events as (
    select * from {{ ref('stg_audit_events') }}
    where actor_id is not null
    {{ and_day_changed('activity_date', 'audit_events') }}
),

counted as (
    select
        actor_id,
        activity_date,
        cast(count(*) as bigint) as event_count
    from stg_audit_events
    group by all
)

select * from counted
