{#-
    Reading what changed. A model that is built incrementally narrows what it reads with one of
    these, and says in its config what it replaces (macros/engine/replace_listed.sql); in a full
    build they say nothing and everything is read.
-#}

{#- The rows of a list of changes (a model with a _batch) that belong to the build that runs. -#}
{% macro listed_now(list) -%}
    (select * from {{ list }} where _batch > {{ built_batch() }})
{%- endmacro %}

{#- `where` for rows that landed since the last complete build. -#}
{% macro where_landed_since(column='_batch') -%}
    {%- if is_incremental() -%}
    where {{ column }} > {{ built_batch() }}
    {%- endif -%}
{%- endmacro %}

{#-
    `and` for rows of the days that changed in one event table, or in any (source_table none).
    The semi-join is on the bare column, so that row groups of other days are not read (9 of 245
    were, of 30 million rows by 300 days).
-#}
{% macro and_day_changed(column='activity_date', source_table=none) -%}
    {%- set list = ref('int_days_changed') -%}
    {%- if is_incremental() -%}
    and {{ column }} in (
        select activity_date from {{ listed_now(list) }}
        {%- if source_table %} where source_table = '{{ source_table }}'{% endif %}
    )
    {%- endif -%}
{%- endmacro %}

{#- The same where a row of several event tables carries the name of its own. -#}
{% macro and_table_day_changed() -%}
    {%- set list = ref('int_days_changed') -%}
    {%- if is_incremental() -%}
    and (source_table, activity_date) in (
        select source_table, activity_date from {{ listed_now(list) }}
    )
    {%- endif -%}
{%- endmacro %}

{#- `and` for rows of the days, or other keys, of a list, which is a CTE of the model. -#}
{% macro and_listed(column, list, key='activity_date') -%}
    {%- if is_incremental() -%}
    and {{ column }} in (select {{ key }} from {{ list }})
    {%- endif -%}
{%- endmacro %}

{#-
    A model as the last build left it, for a model further up that has to know what stood: no
    ref(), which would be a circle. Null before it was first built.
-#}
{% macro standing(model_name) -%}
    {%- set found = [] -%}
    {%- if execute -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' -%}
            {%- if node.name == model_name -%}
                {%- set relation = adapter.get_relation(node.database, node.schema, node.alias) -%}
                {%- do found.append(relation) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(found | first if found else none) }}
{%- endmacro %}

{#-
    `where` of a test that leaves out days on which nothing changed since every test was last well.
    What does not change need not be looked at twice; a full refresh rewrites the logs of changes,
    and everything is looked at again. `day` is a date column of the tested model, `changed_in` its
    log of changed days where it has one of its own.
-#}
{% macro where_not_checked(day, changed_in=none) -%}
    {%- if changed_in -%}
    where {{ day }} in {{ days_not_checked([ref(changed_in)]) }}
    {%- elif day -%}
    where {{ day }} in {{ days_not_checked(
        [ref('int_days_changed'), ref('int_session_days_changed')]
    ) }}
    {%- endif -%}
{%- endmacro %}

{#-
    The days that logs name as changed since every test was last well, as what a date is `in`. A few
    stand there as dates: those DuckDB looks for below the joins of a view, a subquery after them
    (all tests of fct_loyalty_events, four of 300 days: 0.4 s in place of 2.7).
-#}
{% macro days_not_checked(logs, source_table=none) -%}
    {%- set most = 40 -%}
    {%- set query -%}
        {%- for log in logs %}
        select activity_date from {{ log }}
        where _batch > (select checked_batch from {{ build_state() }})
            {%- if source_table %} and source_table = '{{ source_table }}'{% endif %}
        {%- if not loop.last %}
        union
        {%- endif %}
        {%- endfor %}
    {%- endset -%}
    {%- set missing = [] -%}
    {%- for log in logs if execute and not (log and load_relation(log)) -%}
        {%- do missing.append(log) -%}
    {%- endfor -%}
    {%- set days = [] -%}
    {%- if execute and not missing -%}
        {%- set found = run_query(
            "select distinct activity_date from (" ~ query ~ ") as changed"
            ~ " where activity_date is not null order by activity_date limit " ~ (most + 1)
        ) -%}
        {%- for row in found.rows -%}
            {%- do days.append("date '" ~ row[0] ~ "'") -%}
        {%- endfor -%}
    {%- endif -%}
    ({{ days | join(', ') if 0 < days | length <= most else query }})
{%- endmacro %}

{#-
    `where` of a test on staged events: those that landed since every test was last well, after a
    full refresh all of them.
-#}
{% macro where_landed_not_checked() -%}
    where _batch > (select checked_batch from {{ build_state() }})
{%- endmacro %}
