-- The days of each workspace and service: what bounds an environment, a workspace or a service in
-- time, without a look at all events.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_days_changed',
        'on': 'old.source_table = listed.source_table and old.activity_date = listed.activity_date',
    }},
) }}

with

int_events_unioned as (
    select * from {{ ref('int_events_unioned') }}
    where true
    {{ and_table_day_changed() }}
),

counted as (
    select
        source_table,
        workspace_id,
        service_id,
        activity_date,
        cast(count(*) as bigint) as event_count,
        cast(count(*) filter (where not is_test) as bigint) as real_event_count
    from int_events_unioned
    group by all
)

select * from counted
