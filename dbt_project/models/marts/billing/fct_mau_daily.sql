with

fct_active_users_daily as (
    select * from {{ ref('fct_active_users_daily') }}
    where scope = 'workspace'
),

dim_workspaces as (
    select * from {{ ref('dim_workspaces') }}
),

plans as (
    select * from {{ ref('plans') }}
    where environment = '{{ target.name }}' and plan_id = 'free'
),

limited as (
    select
        fct_active_users_daily.workspace_id,
        fct_active_users_daily.activity_date,
        fct_active_users_daily.users_30d as mau,
        -- a workspace without a row has an unknown plan, which counts as free
        case
            when dim_workspaces.workspace_id is null then plans.mau_limit
            else dim_workspaces.mau_limit
        end as mau_limit,
        fct_active_users_daily.is_complete
    from fct_active_users_daily
    cross join plans
    left join dim_workspaces
        on fct_active_users_daily.workspace_id = dim_workspaces.workspace_id
),

shared as (
    select
        workspace_id,
        activity_date,
        mau,
        mau_limit,
        cast(mau as double) / nullif(mau_limit, 0) as share_of_limit,
        is_complete,
        '{{ target.name }}' as environment
    from limited
)

select * from shared
