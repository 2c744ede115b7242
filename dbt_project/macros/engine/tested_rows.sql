{#-
    What a generic test, dbt's own included, reads of a model that says so: the rows that changed
    since everything was last well. dbt asks this macro what a test reads. Lists stand by their
    names, because which model is tested is not known when dbt collects the references; the model
    depends on them.

    By day, as each mart says that is published by day, and each model with `tested_by_day` in its
    meta, in the same words: the day and the log of changed days (see where_not_checked in
    macros/changes.sql).

    By what was replaced, where the meta say `tested_where_replaced: true`: the rows that the list
    of `replaces` names. A list tells of one build. So after a full refresh, and after a build that
    was not found well, everything is read; also before the first, when there is no list yet.
-#}
{% macro duckdb__get_where_subquery(relation) -%}
    {%- set found = namespace(by_day=none, replaces=none) -%}
    {%- for node in (graph.nodes.values() if execute else []) if node.resource_type == 'model' -%}
        {%- if node.schema == relation.schema and node.alias == relation.identifier -%}
            {%- set meta = node.config.meta or {} -%}
            {%- set found.by_day = meta.get('published_by_day') or meta.get('tested_by_day') -%}
            {%- set found.replaces = meta['replaces'] if meta.get('tested_where_replaced') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if found.by_day -%}
    (
        select * from {{ relation }}
        where {{ found.by_day['day'] }} in {{ days_not_checked(
            [standing(found.by_day['changed_in'])], found.by_day.get('source_table')
        ) }}
    ) dbt_subquery
    {%- elif found.replaces and standing(found.replaces['listed_in']) and is_well_before() -%}
    (
        select * from {{ relation }} as old
        where exists (
            select 1 from {{ standing(found.replaces['listed_in']) }} as listed
            where {{ found.replaces['on'] }}
        )
    ) dbt_subquery
    {%- else -%}
    {{ return(dbt.default__get_where_subquery(relation)) }}
    {%- endif -%}
{%- endmacro %}

{#- Whether what stood before the build that runs, or ran last, was found well. -#}
{% macro is_well_before() -%}
    {%- set state = run_query("select checked_batch, built_batch from " ~ build_state()) -%}
    {{ return(state.rows[0][0] > 0 and state.rows[0][0] == state.rows[0][1]) }}
{%- endmacro %}
