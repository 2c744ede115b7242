-- The log of days on which journeys began that are other journeys, or in another state, than at
-- the last complete build: of every journey that was written anew, the day it began, as it was and
-- as it is; and of every one whose state turned because the environment's last day moved.
{{ config(materialized='incremental', incremental_strategy='log') }}

with

int_journeys_followed as (
    select * from {{ ref('int_journeys_followed') }}
    where begun_date is not null
),

-- a journey whose begin was displaced has no day now, and may stand in what is published
stg_displaced_records as (
    select * from {{ ref('stg_displaced_records') }}
    {{ where_landed_since() }}
),

int_journeys_reached as (
    select * from {{ listed_now(ref('int_journeys_reached')) }} as listed
),

int_last_days_noted as (
    select * from {{ ref('int_last_days_noted') }}
),

-- from no last day at all, every state turns
last_days as (
    select
        case when count(*) = count(last_date) then min(last_date) end as least_last_date,
        max(last_date) as greatest_last_date
    from int_last_days_noted
),

days as (
    select int_journeys_followed.begun_date as activity_date
    from int_journeys_followed
    {%- if is_incremental() %}
    where int_journeys_followed.journey_number in (select journey_number from int_journeys_reached)
    union
    select activity_date from int_journeys_reached
    where was_begun
    union
    select int_journeys_followed.begun_date as activity_date
    from int_journeys_followed
    cross join last_days
    where
        int_journeys_followed.completed_at is null
        and int_journeys_followed.last_event_date < last_days.greatest_last_date
        and (
            last_days.least_last_date is null
            or int_journeys_followed.last_event_date >= last_days.least_last_date
        )
    {%- endif %}
    union
    select activity_date from stg_displaced_records
    where source_table = 'session_events'
),

changed as (
    select
        activity_date,
        {{ building_batch() }} as _batch
    from days
)

select * from changed
