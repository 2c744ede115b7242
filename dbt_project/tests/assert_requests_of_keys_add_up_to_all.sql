-- Each request is in one row of its key (or of no key) and in one row of all keys; days are the sum
-- of their hours.

with

fct_requests_hourly as (
    select * from {{ ref('fct_requests_hourly') }}
    {{ where_not_checked('cast(activity_hour_at as date)') }}
),

fct_requests_daily as (
    select * from {{ ref('fct_requests_daily') }}
    {{ where_not_checked('activity_date') }}
),

unioned as (
    select
        'hour' as bucket,
        workspace_id,
        project_id,
        cast(activity_hour_at as date) as activity_date,
        is_all_keys,
        request_count,
        error_count,
        safety_flagged_count
    from fct_requests_hourly
    union all
    select
        'day' as bucket,
        workspace_id,
        project_id,
        activity_date,
        is_all_keys,
        request_count,
        error_count,
        safety_flagged_count
    from fct_requests_daily
),

summed as (
    select
        workspace_id,
        project_id,
        activity_date,
        bucket,
        is_all_keys,
        sum(request_count) as request_count,
        sum(error_count) as error_count,
        sum(safety_flagged_count) as safety_flagged_count
    from unioned
    group by workspace_id, project_id, activity_date, bucket, is_all_keys
),

differing as (
    select
        workspace_id,
        project_id,
        activity_date
    from summed
    group by workspace_id, project_id, activity_date
    having
        count(*) <> 4
        or min(request_count) <> max(request_count)
        or min(error_count) <> max(error_count)
        or min(safety_flagged_count) <> max(safety_flagged_count)
)

select * from differing
