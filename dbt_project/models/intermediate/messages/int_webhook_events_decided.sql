-- An event on its way to an endpoint. Attempts stand in the order of their numbers, then of time.
-- The first that succeeded decides; where none did, the last one, and whether another was promised.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_webhook_events_reached',
        'by_key': true,
        'on': "old.message_number = listed.message_number
            and old.workspace_id = listed.workspace_id
            and old.delivery_id = listed.delivery_id
            and old.endpoint_id = listed.endpoint_id",
    }},
) }}

{{ messages_decided(
    'webhook_deliveries',
    reached='int_webhook_events_reached',
    key=['workspace_id', 'delivery_id', 'endpoint_id'],
    order_by=['attempt', 'occurred_at', 'event_id'],
    deciding="coalesce(
            min(case when outcome = 'delivered' then position end), max(position)
        )",
    measures={
        'event_type': earliest('event_type', ['position']),
        'attempt_count': 'cast(count(*) as bigint)',
        'first_attempt_at': 'min(occurred_at)',
        'last_attempt_at': 'max(case when is_last then occurred_at end)',
        'last_status_code': 'max(case when is_last then status_code end)',
        'latencies_ms': values_list('latency_ms'),
    },
    details={
        'outcome': "case
            when outcome = 'delivered' then 'delivered'
            when will_retry then 'pending'
            else 'exhausted'
        end",
        'delivered_at': "case when outcome = 'delivered' then occurred_at end",
        'latency_ms': 'latency_ms',
    },
) }}
