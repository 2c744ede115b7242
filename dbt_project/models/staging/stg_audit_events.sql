with

this_environment as (
    select * from {{ source('raw', 'audit_events') }}
    where environment = '{{ target.name }}'
),

renamed as (
    select
        id as event_id,
        action as type,
        environment,
        workspace_id,
        project_id,
        actor_id,
        actor_type,
        coalesce(impersonator_email, '') <> '' as is_impersonated,
        impersonator_reason,
        source,
        range_start_at,
        range_end_at,
        view_interval,
        user_agent,
        occurred_at,
        _activity_date as activity_date,
        received_at,
        _batch
    from this_environment
)

select * from renamed
