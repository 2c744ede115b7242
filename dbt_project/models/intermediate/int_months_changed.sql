-- Calendar months with a changed day, each with all of its days: a month is counted anew as a
-- whole.
{{ config(enabled=target.name == 'production') }}

with

int_days_changed as (
    select * from {{ listed_now(ref('int_days_changed')) }} as listed
    where source_table <> 'audit_events'
),

months as (
    select distinct {{ month_of('activity_date') }} as month_start_date
    from int_days_changed
),

changed as (
    select
        month_start_date,
        {{ days_from_to('month_start_date', last_day_of_month('month_start_date')) }}
            as activity_date,
        {{ building_batch() }} as _batch
    from months
)

select * from changed
