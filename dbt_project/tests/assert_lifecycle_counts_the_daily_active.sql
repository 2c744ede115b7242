-- fct_user_lifecycle_daily has the scopes, days and daily active users of fct_active_users_daily,
-- which are counted in another way.

with

fct_active_users_daily as (
    select
        scope,
        workspace_id,
        project_id,
        activity_date,
        users_1d
    from {{ ref('fct_active_users_daily') }}
    where scope <> 'service'
),

fct_user_lifecycle_daily as (
    select
        scope,
        workspace_id,
        project_id,
        interval_start_date,
        active_count
    from {{ ref('fct_user_lifecycle_daily') }}
),

different as (
    (
        select * from fct_active_users_daily
        except
        select * from fct_user_lifecycle_daily
    )
    union all
    (
        select * from fct_user_lifecycle_daily
        except
        select * from fct_active_users_daily
    )
)

select * from different
