with

erasures as (
    select * from {{ source('raw', 'erasures') }}
),

first_requests as (
    select
        user_id,
        min(requested_at) as requested_at,
        min(_batch) as _batch
    from erasures
    group by user_id
)

select * from first_requests
