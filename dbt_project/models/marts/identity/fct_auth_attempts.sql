{{ config(
    materialized='view',
    meta={'published_by_day': {
        'day': 'activity_date',
        'changed_in': 'int_days_changed',
        'source_table': 'auth_events',
    }},
) }}
-- depends_on: {{ ref('int_days_changed') }}

with

int_auth_events_resolved as (
    select * from {{ ref('int_auth_events_resolved') }}
    where is_attempt
),

attempts as (
    select
        workspace_id,
        event_id,
        project_id,
        type,
        occurred_at,
        user_id,
        service_id,
        session_id,
        provider,
        method,
        outcome,
        failure_reason,
        trace_id,
        device_class,
        is_test,
        is_impersonated,
        is_clock_skewed,
        activity_date,
        '{{ target.name }}' as environment
    from int_auth_events_resolved
)

select * from attempts
