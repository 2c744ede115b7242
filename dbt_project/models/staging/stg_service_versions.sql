with

versions as (
    select * from {{ source('raw', 'services') }}
),

renamed as (
    select
        id as service_id,
        name,
        updated_at,
        _content_hash,
        _batch
    from versions
)

select * from renamed
