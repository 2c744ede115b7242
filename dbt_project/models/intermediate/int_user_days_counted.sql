-- The days of each user: all that counting users needs, and far fewer rows than events. Users stand
-- as the id that the event named, so that a merge rewrites nothing here: who survives is looked up
-- by int_active_user_days_counted. qualifying_count > 0 is an active user-day, see `active user` in
-- the README.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_days_changed',
        'on': 'old.source_table = listed.source_table and old.activity_date = listed.activity_date',
    }},
) }}

with

int_events_judged as (
    select * from {{ ref('int_events_judged') }}
    where true
    {{ and_table_day_changed() }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

counted as (
    select
        int_events_judged.source_table,
        int_events_judged.workspace_id,
        int_events_judged.project_id,
        int_events_judged.service_id,
        int_users_interned.user_number,
        int_events_judged.activity_date,
        cast(count(*) as bigint) as event_count,
        cast(count(*) filter (where not int_events_judged.is_test) as bigint) as real_event_count,
        cast(count(*) filter (where int_events_judged.is_qualifying) as bigint) as qualifying_count
    from int_events_judged
    inner join int_users_interned on int_events_judged.user_id = int_users_interned.user_id
    group by all
)

select * from counted
