{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_message_days_changed',
        'on': "old.activity_date = listed.activity_date
            and listed.source_table = 'campaign_events'",
    }},
) }}

with

int_message_days_changed as (
    select * from {{ listed_now(ref('int_message_days_changed')) }} as listed
    where source_table = 'campaign_events'
),

fct_campaign_messages as (
    select * from {{ ref('fct_campaign_messages') }}
    where not is_test
    {{ and_listed('activity_date', 'int_message_days_changed') }}
),

counted as (
    select
        workspace_id,
        project_id,
        campaign_id,
        channel,
        activity_date,
        cast(count(*) as bigint) as message_count,
        cast(count(*) filter (where is_sent) as bigint) as sent_count,
        cast(
            count(*) filter (where delivery_state in ('delivered', 'complained')) as bigint
        ) as delivered_count,
        cast(count(*) filter (where delivery_state = 'bounced') as bigint) as bounced_count,
        cast(count(*) filter (where delivery_state = 'failed') as bigint) as failed_count,
        cast(count(*) filter (where delivery_state = 'complained') as bigint) as complained_count,
        cast(count(opened_at) as bigint) as opened_count,
        cast(count(clicked_at) as bigint) as clicked_count,
        cast(count(unsubscribed_at) as bigint) as unsubscribed_count
    from fct_campaign_messages
    group by workspace_id, project_id, campaign_id, channel, activity_date
),

rated as (
    select
        *,
        cast(delivered_count as double) / nullif(sent_count, 0) as delivery_rate,
        '{{ target.name }}' as environment
    from counted
)

select * from rated
