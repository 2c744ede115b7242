{{ config(
    materialized='view',
    meta={'published_by_day': {'day': 'activity_date', 'changed_in': 'int_days_changed'}},
) }}
-- depends_on: {{ ref('int_days_changed') }}

with

int_events_described as (
    select * from {{ ref('int_events_described') }}
),

int_event_types_classified as (
    select * from {{ ref('int_event_types_classified') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

stg_user_agents as (
    select * from {{ ref('stg_user_agents') }}
),

events as (
    select
        int_events_described.workspace_id,
        int_events_described.source_table,
        int_events_described.event_id,
        int_events_described.project_id,
        -- any action is an audit event, see the landing contract
        coalesce(int_event_types_classified.category, 'audit') as category,
        int_events_described.type,
        coalesce(int_event_types_classified.origin, 'automatic') as origin,
        int_events_described.occurred_at,
        int_events_described.received_at,
        coalesce(int_users_interned.surviving_user_id, int_events_described.user_id) as user_id,
        int_events_described.anonymous_id,
        int_events_described.impersonator_id,
        int_events_described.session_id,
        {{ session_key_of('int_events_described') }} as session_key,
        int_events_described.service_id,
        int_events_described.api_key_id,
        int_events_described.trace_id,
        int_events_described.outcome,
        stg_user_agents.device_class,
        int_events_described.is_test,
        int_events_described.is_impersonated,
        int_events_described.is_clock_skewed,
        int_events_described.summary,
        int_events_described.actor_type,
        int_events_described.auth_provider,
        int_events_described.auth_method,
        int_events_described.status_code,
        int_events_described.latency_ms,
        int_events_described.is_safety_flagged,
        -- as in int_events_judged, and human
        coalesce(
            int_event_types_classified.counts_as_active
            and int_users_interned.kind = 'human'
            and not int_events_described.is_test
            and not int_events_described.is_impersonated
            and coalesce(int_events_described.outcome, '') <> 'failure',
            false
        ) as is_qualifying,
        int_events_described.activity_date,
        '{{ target.name }}' as environment
    from int_events_described
    left join int_event_types_classified
        on
            int_events_described.source_table = int_event_types_classified.source_table
            and int_events_described.type = int_event_types_classified.type
    left join int_users_interned on int_events_described.user_id = int_users_interned.user_id
    left join stg_user_agents on int_events_described.user_agent = stg_user_agents.user_agent
)

select * from events
