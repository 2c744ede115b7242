-- Every delivery, message and notice that counts is counted on exactly one day.

with

{% for mart in ['fct_webhook_events', 'fct_campaign_messages', 'fct_notifications'] -%}
{{ mart }} as (
    select count(*) as message_count from {{ ref(mart) }}
    where not is_test
),

{% endfor -%}
fct_webhooks_daily as (
    select coalesce(sum(attempt_count - retry_count), 0) as message_count
    from {{ ref('fct_webhooks_daily') }}
),

fct_campaigns_daily as (
    select coalesce(sum(message_count), 0) as message_count
    from {{ ref('fct_campaigns_daily') }}
),

fct_notifications_daily as (
    select coalesce(sum(notification_count), 0) as message_count
    from {{ ref('fct_notifications_daily') }}
),

compared as (
    select
        fct_webhook_events.message_count as delivery_count,
        fct_webhooks_daily.message_count as delivery_count_of_days,
        fct_campaign_messages.message_count,
        fct_campaigns_daily.message_count as message_count_of_days,
        fct_notifications.message_count as notification_count,
        fct_notifications_daily.message_count as notification_count_of_days
    from fct_webhook_events
    cross join fct_webhooks_daily
    cross join fct_campaign_messages
    cross join fct_campaigns_daily
    cross join fct_notifications
    cross join fct_notifications_daily
)

select * from compared
where
    delivery_count <> delivery_count_of_days
    or message_count <> message_count_of_days
    or notification_count <> notification_count_of_days
