{{ config(enabled=target.name == 'production') }}

with

mau_corrections as (
    select * from {{ source('raw', 'mau_corrections') }}
),

renamed as (
    select
        workspace_id,
        month_start_date,
        correction_number,
        mau_before,
        mau_after,
        caused_by_batch,
        event_ids,
        corrected_at
    from mau_corrections
)

select * from renamed
