-- Attempts of a day are the sum of its hours; users are not, who may be there in several.

with

fct_auth_hourly as (
    select * from {{ ref('fct_auth_hourly') }}
    {{ where_not_checked('cast(activity_hour_at as date)') }}
),

fct_auth_daily as (
    select * from {{ ref('fct_auth_daily') }}
    {{ where_not_checked('activity_date') }}
),

hours as (
    select
        workspace_id,
        project_id,
        service_id,
        provider,
        method,
        cast(activity_hour_at as date) as activity_date,
        sum(attempt_count) as attempt_count,
        sum(failures_with_trace_count) as failures_with_trace_count,
        max(user_count) as user_count
    from fct_auth_hourly
    group by all
),

differing as (
    select
        fct_auth_daily.*,
        hours.attempt_count as attempt_count_of_hours
    from fct_auth_daily
    full outer join hours
        on
            fct_auth_daily.workspace_id = hours.workspace_id
            and fct_auth_daily.project_id = hours.project_id
            and fct_auth_daily.service_id is not distinct from hours.service_id
            and fct_auth_daily.provider is not distinct from hours.provider
            and fct_auth_daily.method is not distinct from hours.method
            and fct_auth_daily.activity_date = hours.activity_date
    where
        fct_auth_daily.attempt_count is distinct from hours.attempt_count
        or fct_auth_daily.failures_with_trace_count is distinct from hours.failures_with_trace_count
        or fct_auth_daily.user_count < hours.user_count
)

select * from differing
