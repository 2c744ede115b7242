-- Which days of this environment can be trusted. A table is asked from its first covered day on,
-- and a day is complete when every asked day of the 30 that end with it is covered for each of the
-- three tables that make users active. The last row is the environment's last day.

{%- set asked_tables = ['auth_events', 'session_events', 'platform_events'] %}

with

int_event_days_counted as (
    select * from {{ ref('int_event_days_counted') }}
    where real_event_count > 0
),

stg_landed_files as (
    select * from {{ ref('stg_landed_files') }}
    where
        table_name in (
            {%- for table_name in asked_tables %}
            '{{ table_name }}'{{ "," if not loop.last }}
            {%- endfor %}
        )
        and status in ('landed', 'same_content')
        and covers_from_date is not null
),

event_days as (
    select
        min(activity_date) as first_date,
        max(activity_date) as last_date
    from int_event_days_counted
),

covered_ranges as (
    select distinct
        table_name,
        covers_from_date,
        covers_to_date
    from stg_landed_files
),

covered_days as (
    select distinct
        table_name,
        activity_date
    from (
        select
            table_name,
            {{ days_from_to('covers_from_date', 'covers_to_date') }} as activity_date
        from covered_ranges
    ) as expanded
),

asked_from as (
    select
        table_name,
        min(activity_date) as asked_from_date
    from covered_days
    group by table_name
),

day_bounds as (
    select
        least(
            min(event_days.first_date),
            min(asked_from.asked_from_date)
        ) as first_date,
        max(event_days.last_date) as last_date
    from event_days
    left join asked_from on true
),

days as (
    select {{ days_from_to('first_date', 'last_date') }} as activity_date
    from day_bounds
),

missing_by_day as (
    select
        days.activity_date,
        count(asked_from.table_name) - count(covered_days.table_name) as missing_count
    from days
    left join asked_from on days.activity_date >= asked_from.asked_from_date
    left join covered_days
        on
            asked_from.table_name = covered_days.table_name
            and days.activity_date = covered_days.activity_date
    group by days.activity_date
),

judged as (
    select
        activity_date,
        missing_count = 0 as is_covered,
        sum(missing_count) over (
            order by activity_date rows between 29 preceding and current row
        ) = 0 as is_complete
    from missing_by_day
)

select * from judged
