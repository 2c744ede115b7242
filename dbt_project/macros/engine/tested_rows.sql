{#-
    What a generic test, dbt's own included, reads of a mart that is published by day: the days that
    changed since everything was last well (see where_not_checked in macros/changes.sql). The mart's
    config names the day and the log. dbt asks this macro what a test reads. The log stands by its
    name, because which model is tested is not known when dbt collects the references; the mart
    depends on it.
-#}
{% macro duckdb__get_where_subquery(relation) -%}
    {%- set found = namespace(published=none, log=none) -%}
    {%- for node in (graph.nodes.values() if execute else []) if node.resource_type == 'model' -%}
        {%- if node.schema == relation.schema and node.alias == relation.identifier -%}
            {%- set found.published = (node.config.meta or {}).get('published_by_day') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if not found.published -%}
        {{ return(dbt.default__get_where_subquery(relation)) }}
    {%- endif -%}
    (
        select * from {{ relation }}
        where {{ found.published['day'] }} in (
            select activity_date from {{ standing(found.published['changed_in']) }}
            where _batch > (select checked_batch from {{ build_state() }})
            {%- if found.published.get('source_table') %}
            and source_table = '{{ found.published['source_table'] }}'
            {%- endif %}
        )
    ) dbt_subquery
{%- endmacro %}
