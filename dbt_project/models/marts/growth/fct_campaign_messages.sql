{{ config(
    materialized='view',
    meta={'published_by_day': {
        'day': 'activity_date',
        'changed_in': 'int_message_days_changed',
        'source_table': 'campaign_events',
    }},
) }}
-- depends_on: {{ ref('int_message_days_changed') }}

with

int_campaign_messages_decided as (
    select * from {{ ref('int_campaign_messages_decided') }}
),

messages as (
    select
        workspace_id,
        message_id,
        project_id,
        event_id,
        user_id,
        membership_id,
        session_key,
        trace_id,
        campaign_id,
        channel,
        delivery_state,
        queued_at,
        sent_at,
        delivered_at,
        opened_at,
        clicked_at,
        unsubscribed_at,
        is_test,
        is_sent,
        is_impersonated,
        activity_date,
        '{{ target.name }}' as environment
    from int_campaign_messages_decided
)

select * from messages
