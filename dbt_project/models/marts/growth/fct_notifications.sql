{{ config(
    materialized='view',
    meta={'published_by_day': {
        'day': 'activity_date',
        'changed_in': 'int_message_days_changed',
        'source_table': 'notification_events',
    }},
) }}
-- depends_on: {{ ref('int_message_days_changed') }}

with

int_notifications_decided as (
    select * from {{ ref('int_notifications_decided') }}
),

messages as (
    select
        workspace_id,
        notification_id,
        channel,
        project_id,
        event_id,
        user_id,
        membership_id,
        session_key,
        trace_id,
        delivery_state,
        sent_at,
        delivered_at,
        read_at,
        is_test,
        is_sent,
        is_impersonated,
        activity_date,
        '{{ target.name }}' as environment
    from int_notifications_decided
)

select * from messages
