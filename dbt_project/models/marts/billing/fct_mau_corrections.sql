with

stg_mau_corrections as (
    select * from {{ ref('stg_mau_corrections') }}
),

listed as (
    select
        workspace_id,
        month_start_date,
        correction_number,
        mau_before,
        mau_after,
        caused_by_batch,
        event_ids,
        corrected_at,
        '{{ target.name }}' as environment
    from stg_mau_corrections
)

select * from listed
