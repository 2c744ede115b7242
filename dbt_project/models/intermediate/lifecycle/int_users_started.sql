-- When each user was first active in a scope, and when last, from all user-days: a late event, a
-- merge or its undoing moves such a day either way, and the minimum knows nothing of what it was.
-- Made anew: it takes 0.6 s of CPU for 3.9 million active user-days.

with

int_active_user_days_counted as (
    select * from {{ ref('int_active_user_days_counted') }}
),

by_project as (
    select
        workspace_id,
        project_id,
        user_key,
        min(activity_date) as first_active_date,
        max(activity_date) as last_active_date
    from int_active_user_days_counted
    group by workspace_id, project_id, user_key
),

by_workspace as (
    select
        workspace_id,
        user_key,
        min(first_active_date) as first_active_date,
        max(last_active_date) as last_active_date
    from by_project
    group by workspace_id, user_key
),

started as (
    select
        'workspace' as scope,
        workspace_id,
        cast(null as {{ dbt.type_string() }}) as project_id,
        user_key,
        first_active_date,
        last_active_date
    from by_workspace
    union all
    select
        'project' as scope,
        workspace_id,
        project_id,
        user_key,
        first_active_date,
        last_active_date
    from by_project
)

select * from started
