{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_message_days_changed',
        'on': "old.activity_date = listed.activity_date
            and listed.source_table = 'webhook_deliveries'",
    }},
) }}

with

int_message_days_changed as (
    select * from {{ listed_now(ref('int_message_days_changed')) }} as listed
    where source_table = 'webhook_deliveries'
),

int_webhook_events_decided as (
    select * from {{ ref('int_webhook_events_decided') }}
    where not is_test
    {{ and_listed('activity_date', 'int_message_days_changed') }}
),

counted as (
    select
        workspace_id,
        project_id,
        endpoint_id,
        event_type,
        activity_date,
        count(*) filter (where outcome = 'delivered') as delivered_count,
        count(*) filter (where outcome = 'exhausted') as exhausted_count,
        count(*) filter (where outcome = 'pending') as pending_count,
        sum(attempt_count) as attempt_count,
        sum(attempt_count - 1) as retry_count
    from int_webhook_events_decided
    group by workspace_id, project_id, endpoint_id, event_type, activity_date
),

attempts as (
    select
        workspace_id,
        project_id,
        endpoint_id,
        event_type,
        activity_date,
        {{ rows_of_list('latencies_ms') }} as latency_ms
    from int_webhook_events_decided
),

timed as (
    select
        workspace_id,
        project_id,
        endpoint_id,
        event_type,
        activity_date,
        percentile_cont(0.5) within group (order by latency_ms) as latency_p50_ms,
        percentile_cont(0.95) within group (order by latency_ms) as latency_p95_ms
    from attempts
    group by workspace_id, project_id, endpoint_id, event_type, activity_date
),

rated as (
    select
        counted.workspace_id,
        counted.project_id,
        counted.endpoint_id,
        counted.event_type,
        counted.activity_date,
        cast(counted.delivered_count as bigint) as delivered_count,
        cast(counted.exhausted_count as bigint) as exhausted_count,
        cast(counted.pending_count as bigint) as pending_count,
        cast(counted.attempt_count as bigint) as attempt_count,
        cast(counted.retry_count as bigint) as retry_count,
        cast(counted.delivered_count as double)
        / nullif(counted.delivered_count + counted.exhausted_count, 0) as delivery_rate,
        timed.latency_p50_ms,
        timed.latency_p95_ms,
        '{{ target.name }}' as environment
    from counted
    left join timed
        on
            counted.workspace_id = timed.workspace_id
            and counted.project_id = timed.project_id
            and counted.endpoint_id = timed.endpoint_id
            and counted.event_type is not distinct from timed.event_type
            and counted.activity_date = timed.activity_date
)

select * from rated
