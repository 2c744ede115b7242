{{ config(
    materialized='view',
    meta={'published_by_day': {
        'day': 'activity_date',
        'changed_in': 'int_growth_days_changed',
        'source_table': 'loyalty_events',
    }},
) }}
-- depends_on: {{ ref('int_growth_days_changed') }}

with

stg_loyalty_events as (
    select * from {{ ref('stg_loyalty_events') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

resolved as (
    select
        stg_loyalty_events.workspace_id,
        stg_loyalty_events.event_id,
        stg_loyalty_events.project_id,
        int_users_interned.surviving_user_id as user_id,
        stg_loyalty_events.membership_id,
        {{ session_key_of('stg_loyalty_events') }} as session_key,
        stg_loyalty_events.trace_id,
        stg_loyalty_events.source_event_id,
        stg_loyalty_events.program_id,
        stg_loyalty_events.type,
        stg_loyalty_events.points,
        stg_loyalty_events.tier,
        stg_loyalty_events.reward_id,
        stg_loyalty_events.occurred_at,
        stg_loyalty_events.is_test,
        stg_loyalty_events.is_impersonated,
        stg_loyalty_events.activity_date
    from stg_loyalty_events
    left join int_users_interned on stg_loyalty_events.user_id = int_users_interned.user_id
),

looked_up as (
    {{ with_membership_known('resolved') }}
),

loyalty_events as (
    select
        workspace_id,
        event_id,
        project_id,
        user_id,
        coalesce(membership_id, known_membership_id) as membership_id,
        session_key,
        trace_id,
        source_event_id,
        program_id,
        type,
        points,
        tier,
        reward_id,
        occurred_at,
        is_test,
        is_impersonated,
        activity_date,
        '{{ target.name }}' as environment
    from looked_up
)

select * from loyalty_events
