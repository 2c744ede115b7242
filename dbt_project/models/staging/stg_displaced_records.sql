with

this_environment as (
    select * from {{ source('raw', 'superseded_records') }}
    where environment = '{{ target.name }}'
),

renamed as (
    select
        table_name as source_table,
        id as event_id,
        workspace_id,
        project_id,
        service_id,
        user_id,
        anonymous_id,
        session_id,
        case when _is_clock_skewed then received_at else occurred_at end as occurred_at,
        _activity_date as activity_date,
        is_test,
        _superseded_batch as former_batch,
        _batch
    from this_environment
)

select * from renamed
