-- A notice on one channel: its state is the latest by event time. The project is told by its first
-- event.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_notifications_reached',
        'by_key': true,
        'on': "old.message_number = listed.message_number
            and old.workspace_id = listed.workspace_id
            and old.notification_id = listed.notification_id
            and old.channel is not distinct from listed.channel",
    }},
) }}

{{ messages_decided(
    'notification_events',
    reached='int_notifications_reached',
    key=['workspace_id', 'notification_id', 'channel'],
    order_by=['occurred_at', 'coalesce(' ~ delivery_state_rank() ~ ', 5)', 'event_id'],
    deciding='max(case when ' ~ delivery_state_rank() ~ ' is not null then position end)',
    measures={
        'sent_at': first_time_of('notification.sent'),
        'delivered_at': first_time_of('notification.delivered'),
        'read_at': first_time_of('notification.read'),
        'is_sent': 'bool_or(coalesce(' ~ delivery_state_rank() ~ ' >= 2, false))',
    },
    details={'delivery_state': delivery_state()},
) }}
