{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_days_changed',
        'on': "old.activity_date = listed.activity_date
            and listed.source_table = 'loyalty_events'",
    }},
) }}

with

int_loyalty_days_counted as (
    select * from {{ ref('int_loyalty_days_counted') }}
    where true
    {{ and_day_changed('activity_date', 'loyalty_events') }}
),

summed as (
    select
        workspace_id,
        project_id,
        program_id,
        activity_date,
        cast(sum(earned_points) as bigint) as earned_points,
        cast(sum(redeemed_points) as bigint) as redeemed_points,
        cast(sum(expired_points) as bigint) as expired_points,
        cast(sum(adjusted_points) as bigint) as adjusted_points,
        cast(sum(reward_count) as bigint) as reward_count,
        cast(sum(tier_change_count) as bigint) as tier_change_count,
        -- a user has one row a day
        count(*) filter (where is_active_member) as active_member_count,
        '{{ target.name }}' as environment
    from int_loyalty_days_counted
    group by workspace_id, project_id, program_id, activity_date
)

select * from summed
