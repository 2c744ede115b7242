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
        case
            when coalesce(impersonator_email, '') <> '' then {{ pseudonym_of(
                'lower(trim(impersonator_email))', source('raw', 'pseudonym_keys')
            ) }}
        end as impersonator_hash,
        impersonator_reason,
        source,
        range_start_at,
        range_end_at,
        view_interval,
        user_agent,
        case when _is_clock_skewed then received_at else occurred_at end as occurred_at,
        _activity_date as activity_date,
        received_at,
        _is_clock_skewed as is_clock_skewed,
        _batch
    from this_environment
)

select * from renamed
