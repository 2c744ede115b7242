with

this_environment as (
    select * from {{ source('raw', 'share_receipts') }}
    where environment = '{{ target.name }}'
),

renamed as (
    select
        receipt_id,
        share,
        consumer,
        actor_id,
        status,
        reason_code,
        row_count,
        content_sha256,
        requested_at,
        committed_at
    from this_environment
)

select * from renamed
