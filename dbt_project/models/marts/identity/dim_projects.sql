with

stg_projects as (
    select * from {{ ref('stg_projects') }}
),

listed as (
    select
        project_id,
        workspace_id,
        name,
        created_at,
        updated_at,
        deleted_at,
        '{{ target.name }}' as environment
    from stg_projects
)

select * from listed
