-- A campaign message: its state is the latest by event time. What its events disagree on (project,
-- campaign, channel) is told by the first event that says it.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_campaign_messages_reached',
        'by_key': true,
        'on': "old.message_number = listed.message_number
            and old.workspace_id = listed.workspace_id
            and old.message_id = listed.message_id",
    }},
) }}

{{ messages_decided(
    'campaign_events',
    reached='int_campaign_messages_reached',
    key=['workspace_id', 'message_id'],
    order_by=['occurred_at', 'coalesce(' ~ delivery_state_rank() ~ ', 5)', 'event_id'],
    deciding='max(case when ' ~ delivery_state_rank() ~ ' is not null then position end)',
    measures={
        'campaign_id': earliest('campaign_id', ['position']),
        'channel': earliest('channel', ['position']),
        'queued_at': first_time_of('message.queued'),
        'sent_at': first_time_of('message.sent'),
        'delivered_at': first_time_of('message.delivered'),
        'opened_at': first_time_of('message.opened'),
        'clicked_at': first_time_of('message.clicked'),
        'unsubscribed_at': first_time_of('message.unsubscribed'),
        'is_sent': 'bool_or(coalesce(' ~ delivery_state_rank() ~ ' >= 2, false))',
    },
    details={'delivery_state': delivery_state()},
) }}
