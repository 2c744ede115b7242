{#-
    Stages one entity table: of each key the version with the newest updated_at, compared as
    instants; at equal times the greater content hash, so that the landing order never decides.
    Entities have no environment: both targets read the same rows.
-#}

{% macro newest_versions(table_name, key, columns) %}
with

versions as (
    select * from {{ source('raw', table_name) }}
),

numbered as (
    select
        *,
        row_number() over (
            partition by {{ key | join(', ') }}
            order by updated_at desc nulls last, _content_hash desc
        ) as version_number
    from versions
),

newest as (
    select
        {%- for expression in columns %}
        {{ expression }},
        {%- endfor %}
        _batch
    from numbered
    where version_number = 1
)

select * from newest
{% endmacro %}
