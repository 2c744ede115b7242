-- Accepted events by landing batch and the day they were received. By batch, because rows of a
-- batch lie together: those of a received day are anywhere, and all rows would be read for them.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_batches_reached',
        'on': 'old.source_table = listed.source_table and old.landed_batch = listed.landed_batch',
    }},
) }}

with

int_batches_reached as (
    select * from {{ listed_now(ref('int_batches_reached')) }} as listed
),

int_events_described as (
    select
        source_table,
        occurred_at,
        received_at,
        _batch
    from {{ ref('int_events_described') }}
    where true
    {{ and_listed('_batch', 'int_batches_reached', 'landed_batch') }}
),

timed as (
    select
        source_table,
        _batch as landed_batch,
        cast(received_at as date) as received_date,
        {{ seconds_between('occurred_at', 'received_at') }} as lateness_seconds
    from int_events_described
),

counted as (
    select
        source_table,
        landed_batch,
        received_date,
        cast(count(*) as bigint) as accepted_count,
        cast(count(*) filter (where lateness_seconds > 24 * 3600) as bigint) as late_count,
        max(greatest(lateness_seconds, 0)) as max_lateness_seconds
    from timed
    group by all
)

select * from counted
