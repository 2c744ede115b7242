-- Every metric that counts is a sample of one row of fct_session_metrics_daily.

with

fct_session_metrics as (
    select * from {{ ref('fct_session_metrics') }}
    where not is_test
),

fct_session_metrics_daily as (
    select * from {{ ref('fct_session_metrics_daily') }}
),

metrics as (
    select
        activity_date,
        count(*) as sample_count,
        count(text_value) as text_count
    from fct_session_metrics
    group by activity_date
),

days as (
    select
        activity_date,
        sum(sample_count) as sample_count,
        sum(text_count) as text_count
    from fct_session_metrics_daily
    group by activity_date
),

differing as (
    select coalesce(metrics.activity_date, days.activity_date) as activity_date
    from metrics
    full outer join days on metrics.activity_date = days.activity_date
    where
        metrics.sample_count is distinct from days.sample_count
        or metrics.text_count is distinct from days.text_count
)

select * from differing
