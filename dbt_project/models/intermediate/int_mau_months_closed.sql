-- A month is closed mau_grace_days after its last day, by the environment's own last day and not
-- the clock on the wall: while extracts are held up no month is sealed without them.
{{ config(enabled=target.name == 'production') }}

with

int_mau_months_counted as (
    select * from {{ ref('int_mau_months_counted') }}
),

last_days as (
    select max(activity_date) as last_date
    from {{ ref('int_days_covered') }}
),

closed as (
    select
        int_mau_months_counted.workspace_id,
        int_mau_months_counted.month_start_date,
        int_mau_months_counted.mau,
        {{ add_days(
            last_day_of_month('int_mau_months_counted.month_start_date'), var('mau_grace_days')
        ) }} <= last_days.last_date as is_closed
    from int_mau_months_counted
    cross join last_days
)

select * from closed
