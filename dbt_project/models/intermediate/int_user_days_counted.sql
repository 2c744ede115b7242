-- The days of each user: all that counting users needs, and far fewer rows than events. Users stand
-- as the id that the event named, so that a merge rewrites nothing here: who survives is looked up
-- where windows are counted. qualifying_count > 0 is an active user-day, see `active user` in the
-- README.
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
    where user_id is not null
    {{ and_table_day_changed() }}
),

int_event_types_classified as (
    select * from {{ ref('int_event_types_classified') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

counted as (
    select
        int_events_unioned.source_table,
        int_events_unioned.workspace_id,
        int_events_unioned.project_id,
        int_events_unioned.service_id,
        int_users_interned.user_number,
        int_events_unioned.activity_date,
        cast(count(*) as bigint) as event_count,
        cast(count(*) filter (where not int_events_unioned.is_test) as bigint) as real_event_count,
        cast(
            count(*) filter (
                where
                int_event_types_classified.counts_as_active
                and not int_events_unioned.is_test
                and not int_events_unioned.is_impersonated
                and int_events_unioned.outcome is distinct from 'failure'
            ) as bigint
        ) as qualifying_count
    from int_events_unioned
    inner join int_event_types_classified
        on
            int_events_unioned.source_table = int_event_types_classified.source_table
            and int_events_unioned.type = int_event_types_classified.type
    inner join int_users_interned
        on int_events_unioned.user_id = int_users_interned.user_id
    group by all
)

select * from counted
