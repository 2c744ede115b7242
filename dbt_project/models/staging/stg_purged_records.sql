with

this_environment as (
    select * from {{ source('raw', 'purged_records') }}
    where environment = '{{ target.name }}'
),

summed_up as (
    select
        table_name as source_table,
        received_date,
        cast(sum(accepted_count) as bigint) as accepted_count,
        cast(sum(late_count) as bigint) as late_count,
        max(max_lateness_seconds) as max_lateness_seconds,
        cast(sum(conflict_count) as bigint) as conflict_count
    from this_environment
    group by table_name, received_date
)

select * from summed_up
