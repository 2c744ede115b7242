{#-
    How far an environment has been built, one row in <env>_state.build:

    built_batch    the landing batch up to which every model holds everything
    checked_batch  the batch up to which all of it was tested, audited and published
    batch          what the build that runs now, or ran last, goes up to

    A change is a row with a _batch above built_batch. Whoever builds twice, or goes on after a
    failure, computes the same changes again: built_batch moves only when every model of the project
    was built without an error. A full refresh begins at nothing, so that what it leaves undone when
    it is killed is done by the next build. checked_batch is moved by the publish.
-#}

{% macro build_state() -%}
    {{ adapter.quote(target.schema ~ '_state') }}.build
{%- endmacro %}

{% macro built_batch() -%}
    (select built_batch from {{ build_state() }})
{%- endmacro %}

{% macro building_batch() -%}
    (select batch from {{ build_state() }})
{%- endmacro %}

{% macro begin_build() %}
    create schema if not exists {{ adapter.quote(target.schema ~ '_state') }};
    create table if not exists {{ build_state() }} (
        built_batch bigint not null, checked_batch bigint not null, batch bigint not null
    );
    insert into {{ build_state() }}
    select 0, 0, 0
    where not exists (select 1 from {{ build_state() }});
    {%- if flags.FULL_REFRESH %}
    update {{ build_state() }}
    set built_batch = 0, checked_batch = 0;
    {%- endif %}
    update {{ build_state() }}
    set batch = (select coalesce(max(_batch), 0) from {{ source('raw', 'landed_files') }});
{% endmacro %}

{% macro end_build(results) %}
    {%- set built = [] %}
    {%- for result in results if result.status == 'success' %}
        {%- do built.append(result.node.unique_id) %}
    {%- endfor %}
    {%- set missing = [] %}
    {%- for node in (graph.nodes.values() if execute else []) if node.resource_type == 'model' %}
        {%- if node.unique_id not in built %}
            {%- do missing.append(node.name) %}
        {%- endif %}
    {%- endfor %}
    update {{ build_state() }}
    set built_batch = {{ "built_batch" if missing else "batch" }};
{% endmacro %}
