{{ config(enabled=target.name == 'production') }}

with

mau_seals as (
    select * from {{ source('raw', 'mau_seals') }}
),

renamed as (
    select
        workspace_id,
        month_start_date,
        mau,
        input_digest,
        sealed_at,
        _batch
    from mau_seals
)

select * from renamed
