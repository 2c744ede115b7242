{#-
    What a generic test, dbt's own included, reads of a model that says so: the days that changed
    since everything was last well (see where_not_checked in macros/changes.sql). So says each mart
    that is published by day, and each model with `tested_by_day` in its meta, in the same words:
    the day and the log. dbt asks this macro what a test reads. The log stands by its name, because
    which model is tested is not known when dbt collects the references; the model depends on it.
-#}
{% macro duckdb__get_where_subquery(relation) -%}
    {%- set found = namespace(by_day=none) -%}
    {%- for node in (graph.nodes.values() if execute else []) if node.resource_type == 'model' -%}
        {%- if node.schema == relation.schema and node.alias == relation.identifier -%}
            {%- set meta = node.config.meta or {} -%}
            {%- set found.by_day = meta.get('published_by_day') or meta.get('tested_by_day') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if not found.by_day -%}
        {{ return(dbt.default__get_where_subquery(relation)) }}
    {%- endif -%}
    (
        select * from {{ relation }}
        where {{ found.by_day['day'] }} in {{ days_not_checked(
            [standing(found.by_day['changed_in'])], found.by_day.get('source_table')
        ) }}
    ) dbt_subquery
{%- endmacro %}
