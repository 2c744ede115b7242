{{ config(
    materialized='view',
    meta={'published_by_day': {
        'day': 'activity_date',
        'changed_in': 'int_message_days_changed',
        'source_table': 'webhook_deliveries',
    }},
) }}
-- depends_on: {{ ref('int_message_days_changed') }}

with

int_webhook_events_decided as (
    select * from {{ ref('int_webhook_events_decided') }}
),

messages as (
    select
        workspace_id,
        delivery_id,
        endpoint_id,
        project_id,
        event_id,
        user_id,
        membership_id,
        session_key,
        trace_id,
        event_type,
        outcome,
        attempt_count,
        first_attempt_at,
        last_attempt_at,
        delivered_at,
        last_status_code,
        latency_ms,
        is_test,
        latencies_ms,
        is_impersonated,
        activity_date,
        '{{ target.name }}' as environment
    from int_webhook_events_decided
)

select * from messages
