-- The days of each user in a loyalty program, of real events only: what a day adds to a balance,
-- and the tier it ends with, told by the day's newest tier.changed (at the same instant by the
-- greatest event_id). A tier.changed without a tier takes it away. Events without a user or a
-- program stand under none.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_days_changed',
        'on': "old.activity_date = listed.activity_date
            and listed.source_table = 'loyalty_events'",
    }},
) }}

{%- set by_time = ['stg_loyalty_events.occurred_at', 'stg_loyalty_events.event_id'] %}

with

stg_loyalty_events as (
    select * from {{ ref('stg_loyalty_events') }}
    where not is_test
    {{ and_day_changed('activity_date', 'loyalty_events') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

counted as (
    select
        stg_loyalty_events.workspace_id,
        stg_loyalty_events.project_id,
        stg_loyalty_events.program_id,
        int_users_interned.user_key,
        stg_loyalty_events.activity_date,
        {%- for kind in ['earned', 'redeemed', 'expired', 'adjusted'] %}
        cast(
            coalesce(
                sum(stg_loyalty_events.points)
                filter (where stg_loyalty_events.type = 'points.{{ kind }}'),
                0
            ) as bigint
        ) as {{ kind }}_points,
        {%- endfor %}
        count(*) filter (where stg_loyalty_events.type = 'reward.claimed') as reward_count,
        count(*) filter (where stg_loyalty_events.type = 'tier.changed') as tier_change_count,
        {{ latest(
            "case when stg_loyalty_events.type = 'tier.changed'
                then stg_loyalty_events.tier end",
            by_time
        ) }} as last_named_tier,
        coalesce({{ latest(
            "case when stg_loyalty_events.type = 'tier.changed'
                then stg_loyalty_events.tier is not null end",
            by_time
        ) }}, false) as is_tier_named_last,
        coalesce(
            bool_or(
                int_users_interned.kind = 'human' and not stg_loyalty_events.is_impersonated
            ),
            false
        ) as is_active_member,
        max(stg_loyalty_events.occurred_at) as last_event_at
    from stg_loyalty_events
    left join int_users_interned on stg_loyalty_events.user_id = int_users_interned.user_id
    group by
        stg_loyalty_events.workspace_id,
        stg_loyalty_events.project_id,
        stg_loyalty_events.program_id,
        int_users_interned.user_key,
        stg_loyalty_events.activity_date
),

named as (
    select
        workspace_id,
        project_id,
        program_id,
        user_key,
        activity_date,
        earned_points,
        redeemed_points,
        expired_points,
        adjusted_points,
        reward_count,
        tier_change_count,
        case when is_tier_named_last then last_named_tier end as tier,
        is_active_member,
        last_event_at
    from counted
)

select * from named
