{#-
    How far an environment has been built, one row in <env>_state.build:

    built_batch    the landing batch up to which every model holds everything
    checked_batch  the same for the tests: up to here each changed row was looked at and was well
    batch          what the build that runs now, or ran last, goes up to

    A change is a row with a _batch above built_batch. Whoever builds twice, or goes on after a
    failure, computes the same changes again: built_batch moves only when every model of the project
    was built without an error, checked_batch only when every test of it was run as well and none
    failed.
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
    update {{ build_state() }}
    set batch = (select coalesce(max(_batch), 0) from {{ source('raw', 'landed_files') }});
{% endmacro %}

{% macro end_build(results) %}
    {%- set well = ['success', 'pass', 'warn'] %}
    {%- set done = [] %}
    {%- for result in results if result.status in well %}
        {%- do done.append(result.node.unique_id) %}
    {%- endfor %}
    {%- set missing = {'model': [], 'test': []} %}
    {%- for node in (graph.nodes.values() if execute else []) %}
        {%- if node.resource_type in missing and node.unique_id not in done %}
            {%- do missing[node.resource_type].append(node.name) %}
        {%- endif %}
    {%- endfor %}
    {%- if not missing['model'] %}
    update {{ build_state() }}
    set built_batch = batch{{ ", checked_batch = batch" if not missing['test'] }};
    {%- else %}
    select 1;
    {%- endif %}
{% endmacro %}
