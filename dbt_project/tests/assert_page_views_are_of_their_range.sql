-- The source chooses the interval of the series by the range and refuses a range of more than 30
-- days and the closing one before it writes an event. Each row found is a view that says otherwise.
{{ config(severity='warn') }}

with

fct_analytics_views as (
    select * from {{ ref('fct_analytics_views') }}
)

select * from fct_analytics_views
where not is_interval_of_range or not is_range_allowed
