with

landed_files as (
    select * from {{ source('raw', 'landed_files') }}
),

renamed as (
    select
        path,
        table_name,
        status,
        reason,
        lines as line_count,
        accepted as accepted_count,
        duplicates as duplicate_count,
        conflicts as conflict_count,
        rejected as rejected_count,
        covers_from as covers_from_date,
        covers_to as covers_to_date,
        landed_at,
        _batch
    from landed_files
)

select * from renamed
