-- Who is counted as active on a day is who has a qualifying event among the published ones.

with

fct_events as (
    select * from {{ ref('fct_events') }}
    {{ where_not_checked('activity_date') }}
),

fct_active_users_daily as (
    select * from {{ ref('fct_active_users_daily') }}
    {{ where_not_checked('activity_date') }}
),

counted as (
    select
        workspace_id,
        activity_date,
        count(distinct user_id) as user_count
    from fct_events
    where is_qualifying
    group by workspace_id, activity_date
),

differing as (
    select
        counted.*,
        fct_active_users_daily.users_1d
    from counted
    full outer join fct_active_users_daily
        on
            counted.workspace_id = fct_active_users_daily.workspace_id
            and counted.activity_date = fct_active_users_daily.activity_date
    where
        coalesce(fct_active_users_daily.scope, 'workspace') = 'workspace'
        and coalesce(counted.user_count, 0) <> coalesce(fct_active_users_daily.users_1d, 0)
)

select * from differing
