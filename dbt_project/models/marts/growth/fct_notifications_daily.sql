{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_message_days_changed',
        'on': "old.activity_date = listed.activity_date
            and listed.source_table = 'notification_events'",
    }},
) }}

with

int_message_days_changed as (
    select * from {{ listed_now(ref('int_message_days_changed')) }} as listed
    where source_table = 'notification_events'
),

fct_notifications as (
    select * from {{ ref('fct_notifications') }}
    where not is_test
    {{ and_listed('activity_date', 'int_message_days_changed') }}
),

counted as (
    select
        workspace_id,
        project_id,
        channel,
        activity_date,
        cast(count(*) as bigint) as notification_count,
        cast(count(*) filter (where is_sent) as bigint) as sent_count,
        cast(count(*) filter (where delivery_state = 'delivered') as bigint) as delivered_count,
        cast(count(*) filter (where delivery_state = 'failed') as bigint) as failed_count,
        cast(count(read_at) as bigint) as read_count
    from fct_notifications
    group by workspace_id, project_id, channel, activity_date
),

rated as (
    select
        *,
        cast(delivered_count as double) / nullif(sent_count, 0) as delivery_rate,
        '{{ target.name }}' as environment
    from counted
)

select * from rated
