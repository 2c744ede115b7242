with

stg_share_receipts as (
    select * from {{ ref('stg_share_receipts') }}
),

exports as (
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
        committed_at,
        '{{ target.name }}' as environment
    from stg_share_receipts
)

select * from exports
