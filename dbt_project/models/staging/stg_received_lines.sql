-- A rejected line that names no environment may have been meant for production: it counts there.

{%- set environment_of_others = "'production'" %}

with

this_environment as (
    select * from {{ source('raw', 'received_lines') }}
    where coalesce(environment, {{ environment_of_others }}) = '{{ target.name }}'
),

renamed as (
    select
        table_name as source_table,
        received_date,
        environment is null as is_of_unknown_environment,
        line_count,
        rejected_count,
        _file,
        _batch
    from this_environment
)

select * from renamed
