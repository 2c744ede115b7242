-- A longer window holds every user of a shorter one, and a workspace every user of its projects.

with

fct_active_users_daily as (
    select * from {{ ref('fct_active_users_daily') }}
),

widest_projects as (
    select
        workspace_id,
        activity_date,
        max(users_1d) as users_1d,
        max(users_30d) as users_30d
    from fct_active_users_daily
    where scope = 'project'
    group by workspace_id, activity_date
),

shrinking as (
    select
        scope,
        workspace_id,
        activity_date
    from fct_active_users_daily
    where
        users_1d < 0
        or users_7d < users_1d
        or users_28d < users_7d
        or users_30d < users_28d
        or users_90d < users_30d
),

narrower as (
    select
        fct_active_users_daily.scope,
        fct_active_users_daily.workspace_id,
        fct_active_users_daily.activity_date
    from fct_active_users_daily
    inner join widest_projects
        on
            fct_active_users_daily.workspace_id = widest_projects.workspace_id
            and fct_active_users_daily.activity_date = widest_projects.activity_date
    where
        fct_active_users_daily.scope = 'workspace'
        and (
            fct_active_users_daily.users_1d < widest_projects.users_1d
            or fct_active_users_daily.users_30d < widest_projects.users_30d
        )
)

select * from shrinking
union all
select * from narrower
