-- A workspace on a plan that seeds/plans.csv does not name counts as free and is reported here.
{{ config(severity='warn') }}

with

dim_workspaces as (
    select * from {{ ref('dim_workspaces') }}
),

plans as (
    select * from {{ ref('plans') }}
),

unknown as (
    select
        dim_workspaces.workspace_id,
        dim_workspaces.plan_id
    from dim_workspaces
    left join plans on dim_workspaces.plan_id = plans.plan_id
    where plans.plan_id is null
)

select * from unknown
