with

plans as (
    select * from {{ ref('plans') }}
    where environment = '{{ target.name }}'
),

listed as (
    select
        plan_id,
        mau_limit,
        retention_days,
        max_range_days,
        api_access,
        may_export,
        may_share,
        may_stream,
        may_push,
        environment
    from plans
)

select * from listed
