{{ config(
    materialized='view',
    meta={'published_by_day': {
        'day': 'activity_date',
        'changed_in': 'int_growth_days_changed',
        'source_table': 'membership_events',
    }},
) }}
-- depends_on: {{ ref('int_growth_days_changed') }}

with

stg_membership_events as (
    select * from {{ ref('stg_membership_events') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

resolved as (
    select
        stg_membership_events.workspace_id,
        stg_membership_events.event_id,
        stg_membership_events.project_id,
        int_users_interned.surviving_user_id as user_id,
        stg_membership_events.membership_id,
        {{ session_key_of('stg_membership_events') }} as session_key,
        stg_membership_events.trace_id,
        split_part(stg_membership_events.type, '.', 2) as change,  -- noqa: RF04
        stg_membership_events.role,
        stg_membership_events.previous_role,
        stg_membership_events.actor_id,
        stg_membership_events.occurred_at,
        stg_membership_events.is_test,
        stg_membership_events.is_impersonated,
        stg_membership_events.activity_date
    from stg_membership_events
    left join int_users_interned on stg_membership_events.user_id = int_users_interned.user_id
),

looked_up as (
    {{ with_membership_known('resolved') }}
),

changes as (
    select
        workspace_id,
        event_id,
        project_id,
        user_id,
        coalesce(membership_id, known_membership_id) as membership_id,
        session_key,
        trace_id,
        change,
        role,
        previous_role,
        actor_id,
        occurred_at,
        is_test,
        is_impersonated,
        activity_date,
        '{{ target.name }}' as environment
    from looked_up
)

select * from changes
