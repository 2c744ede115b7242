with

this_environment as (
    select * from {{ source('raw', 'id_conflicts') }}
    where environment = '{{ target.name }}'
),

renamed as (
    select
        table_name as source_table,
        workspace_id,
        id as event_id,
        _content_hash as content_hash,
        cast(received_at as date) as received_date,
        _batch
    from this_environment
)

select * from renamed
