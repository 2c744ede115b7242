with

stg_services as (
    select * from {{ ref('stg_services') }}
),

listed as (
    select
        service_id,
        workspace_id,
        project_id,
        name,
        created_at,
        updated_at,
        '{{ target.name }}' as environment
    from stg_services
)

select * from listed
