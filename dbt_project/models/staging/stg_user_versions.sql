with

versions as (
    select * from {{ source('raw', 'users') }}
),

renamed as (
    select
        id as user_id,
        kind,
        merged_into,
        updated_at,
        _content_hash,
        _batch
    from versions
)

select * from renamed
