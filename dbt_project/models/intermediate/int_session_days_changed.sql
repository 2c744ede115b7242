-- The log of days on which sessions started, had events or ended otherwise than at the last
-- complete build: every day of a session that was written anew, as it was and as it is.
{{ config(materialized='incremental', incremental_strategy='log') }}

with

int_session_ids_reached as (
    select * from {{ listed_now(ref('int_session_ids_reached')) }} as listed
),

int_visits_reached as (
    select * from {{ listed_now(ref('int_visits_reached')) }} as listed
),

{%- if is_incremental() %}

days as (
    select activity_date from int_session_ids_reached
    union
    select activity_date from int_visits_reached
),

{%- else %}

-- a day whose only event was displaced has none now, and may stand in what is published
days as (
    select activity_date from {{ ref('stg_session_events') }}
    union
    select activity_date from {{ ref('stg_displaced_records') }}
    where source_table = 'session_events'
),

{%- endif %}

changed as (
    select
        activity_date,
        {{ building_batch() }} as _batch
    from days
)

select * from changed
