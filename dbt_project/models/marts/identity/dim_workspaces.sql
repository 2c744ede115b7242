with

stg_workspaces as (
    select * from {{ ref('stg_workspaces') }}
),

plans as (
    select * from {{ ref('plans') }}
    where environment = '{{ target.name }}'
),

free_plan as (
    select * from plans
    where plan_id = 'free'
),

int_event_days_counted as (
    select * from {{ ref('int_event_days_counted') }}
    where real_event_count > 0
),

oldest_events as (
    select
        workspace_id,
        min(activity_date) as oldest_event_date
    from int_event_days_counted
    group by workspace_id
),

planned as (
    select
        stg_workspaces.workspace_id,
        stg_workspaces.slug,
        stg_workspaces.name,
        stg_workspaces.plan_id,
        -- an unknown plan counts as free; the unknown id itself is kept and reported
        case when plans.plan_id is null then free_plan.mau_limit else plans.mau_limit end
            as mau_limit,
        coalesce(plans.retention_days, free_plan.retention_days) as retention_days,
        oldest_events.oldest_event_date,
        stg_workspaces.created_at,
        stg_workspaces.updated_at,
        stg_workspaces.deleted_at,
        '{{ target.name }}' as environment
    from stg_workspaces
    cross join free_plan
    left join plans on stg_workspaces.plan_id = plans.plan_id
    left join oldest_events on stg_workspaces.workspace_id = oldest_events.workspace_id
)

select * from planned
