-- A rejected line that names no environment may have been meant for production: it is counted there.

with

this_environment as (
    select * from {{ source('raw', 'received_lines') }}
    where environment = '{{ target.name }}'
    {%- if target.name == 'production' %} or environment is null{% endif %}
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
