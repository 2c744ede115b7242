-- Days, ISO weeks and calendar months of the environment, numbered. One is complete when it is over
-- by the end of the environment's last day and files cover every asked day of it.

with

int_days_covered as (
    select * from {{ ref('int_days_covered') }}
),

covered as (
    {%- for grain in ['day', 'week', 'month'] %}
    select
        '{{ grain }}' as grain,
        {{ interval_of(grain, 'activity_date') }} as interval_start_date,
        max(activity_date) as last_date,
        bool_and(is_covered) as is_covered,
        {{ interval_after(grain, interval_of(grain, 'min(activity_date)')) }} as next_start_date
    from int_days_covered
    group by {{ interval_of(grain, 'activity_date') }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

numbered as (
    select
        grain,
        interval_start_date,
        cast(
            row_number() over (partition by grain order by interval_start_date) as integer
        ) as interval_number,
        is_covered and {{ add_days('last_date', 1) }} = next_start_date as is_complete
    from covered
)

select * from numbered
