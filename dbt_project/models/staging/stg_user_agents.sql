with

user_agents as (
    select * from {{ source('raw', 'user_agents') }}
),

renamed as (
    select
        user_agent,
        device_class,
        _batch
    from user_agents
)

select * from renamed
