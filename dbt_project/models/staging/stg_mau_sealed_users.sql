{{ config(enabled=target.name == 'production') }}

with

mau_sealed_users as (
    select * from {{ source('raw', 'mau_sealed_users') }}
),

renamed as (
    select
        workspace_id,
        month_start_date,
        user_id,
        since_correction,
        until_correction
    from mau_sealed_users
)

select * from renamed
