-- The log of days on which a delivery, message or notice first occurred otherwise than at the last
-- complete build. Those belong to the day of their first event: the day on which that event stood,
-- if it was displaced, is among the days that changed, and otherwise it is one of the message's
-- days, all of which are listed for every message that was reached.
{{ config(materialized='incremental', incremental_strategy='log') }}

with

int_growth_days_changed as (
    select * from {{ listed_now(ref('int_growth_days_changed')) }} as listed
    where source_table in ('webhook_deliveries', 'campaign_events', 'notification_events')
),

int_webhook_events_reached as (
    select * from {{ listed_now(ref('int_webhook_events_reached')) }} as listed
),

int_campaign_messages_reached as (
    select * from {{ listed_now(ref('int_campaign_messages_reached')) }} as listed
),

int_notifications_reached as (
    select * from {{ listed_now(ref('int_notifications_reached')) }} as listed
),

days as (
    select
        source_table,
        activity_date
    from int_growth_days_changed
    union
    select
        'webhook_deliveries' as source_table,
        activity_date
    from int_webhook_events_reached
    union
    select
        'campaign_events' as source_table,
        activity_date
    from int_campaign_messages_reached
    union
    select
        'notification_events' as source_table,
        activity_date
    from int_notifications_reached
),

changed as (
    select
        source_table,
        activity_date,
        {{ building_batch() }} as _batch
    from days
)

select * from changed
