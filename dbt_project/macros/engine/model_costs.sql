{#
    What each node of a build cost: rows its statements read, deleted, inserted, and seconds, one
    row a model (and one for the tests of a model) in orchestration.model_costs; what the columns
    mean is told in dagster_project/model_costs.py. The parts are switched on once, for all models:

    - profiles.yml: every connection measures its statements and prints nothing,
    - query-comment of dbt_project.yml: each text of statements ends with the id of its node,
    - on-run-start, on-run-end: DuckDB's log of metrics is opened, and summed up.

    Engines without such a log are left alone.
#}
{% macro begin_model_costs() %}
    {%- if execute and _are_costs_kept() %}
        {%- do run_query("create schema if not exists orchestration") %}
        {%- do run_query(
            "create or replace table orchestration.model_rows_before as " ~ _count_rows_query()
        ) %}
        {%- do run_query("call enable_logging('Metrics')") %}
    {%- endif %}
{% endmacro %}


{% macro end_model_costs(results) %}
    {%- if execute and _are_costs_kept() %}
        {%- do run_query("call disable_logging()") %}
        {%- do run_query(_create_model_costs_query()) %}
        {%- do run_query(_insert_model_costs_query(results)) %}
        {%- do run_query(_forget_model_costs_query()) %}
        {%- do run_query("call truncate_duckdb_logs()") %}
    {%- endif %}
{% endmacro %}


{% macro _are_costs_kept() %}
    {%- set is_build = flags.WHICH in ('build', 'run', 'seed', 'test', 'retry') %}
    {{- return(is_build and target.type == 'duckdb') }}
{% endmacro %}


{# Rows of every table of this environment: 21 tables with 10 million rows take 6 ms. #}
{% macro _count_rows_query() %}
    {%- set owners = {} %}
    {%- for node in graph.nodes.values() if node.resource_type in ('model', 'seed') %}
        {%- set address = (node.database, node.schema, node.alias) | join('.') %}
        {%- do owners.update({address: node.unique_id}) %}
    {%- endfor %}
    {%- set tables = run_query(
        "select database_name, schema_name, table_name from duckdb_tables() where not temporary"
    ) %}
    {%- set counts = ["select null::varchar as node_id, null::bigint as row_count where false"] %}
    {%- for table in tables.rows if (table[0], table[1], table[2]) | join('.') in owners %}
        {%- do counts.append(
            "select '" ~ owners[(table[0], table[1], table[2]) | join('.')] ~ "', count(*) from \""
            ~ (table[0], table[1], table[2]) | join('"."') ~ '"'
        ) %}
    {%- endfor %}
    {{- return(counts | join(" union all ")) }}
{% endmacro %}


{% macro _create_model_costs_query() %}
    create table if not exists orchestration.model_costs (
        environment varchar not null,
        build_id varchar not null,
        schema_name varchar not null,
        model varchar not null,
        part varchar not null,
        rows_read bigint not null,
        rows_deleted bigint,
        rows_inserted bigint,
        row_count bigint,
        seconds double not null,
        ended_at timestamp not null
    )
{% endmacro %}


{% macro _forget_model_costs_query() %}
    delete from orchestration.model_costs
    where ended_at < now()::timestamp - to_days({{ var('model_costs_days_kept') }})
{% endmacro %}


{# The build as Dagster calls it; dbt on its own has an invocation and no build. #}
{% macro _build_id() %}
    {%- set tables = run_query(
        "select 1 from duckdb_tables()"
        ~ " where schema_name = 'orchestration' and table_name = 'builds'"
    ) %}
    {%- set builds = run_query(
        "select build_id from orchestration.builds where status = 'building' and environment = '"
        ~ target.name ~ "'"
    ) if tables.rows else tables %}
    {{- return(builds.rows[0][0] if builds.rows else invocation_id) }}
{% endmacro %}


{% macro _insert_model_costs_query(results) %}
    insert into orchestration.model_costs by name
    with
    nodes (node_id, schema_name, model, part, status) as (
        values
        (null, null, null, null, null)
        {%- for result in results if result.node.config.materialized != 'view' %}
        {%- set owner = graph.nodes.get(result.node.attached_node) if result.node.attached_node %}
        , (
            '{{ result.node.unique_id }}',
            '{{ (owner or result.node).schema }}',
            '{{ (owner or result.node).alias }}',
            '{{ result.node.resource_type }}',
            '{{ result.status }}'
        )
        {%- endfor %}
    ),
    metrics as (
        select
            context_id,
            parse_duckdb_log_message('Metrics', message) as fields
        from duckdb_logs()
        where type = 'Metrics'
    ),
    statements as (
        select
            context_id,
            any_value(fields.value) filter (fields.metric = 'query.sql') as sql,
            any_value(fields.value) filter (fields.metric = 'query.total_rows_scanned')::bigint
                as rows_scanned,
            any_value(fields.value) filter (fields.metric = 'query.total_time')::double as seconds
        from metrics
        group by context_id
    ),
    -- Of a text of several statements only the last one has the comment, and a commit has none:
    -- they go with the next one of their connection, which serves one node at a time.
    statements_of_nodes as (
        select
            first_value(
                nullif(regexp_extract(statements.sql, 'node: ([a-z_]+\.[^ ]+) \*/', 1), '')
                ignore nulls
            ) over (
                partition by contexts.connection_id order by contexts.query_id
                rows between current row and unbounded following
            ) as node_id,
            statements.rows_scanned,
            statements.seconds,
            -- incremental models move their new rows from a temporary table of dbt's into place
            regexp_matches(statements.sql, '^\s*insert\s.*\sfrom\s+[^\s]*__dbt_tmp', 'is')
                as is_move
        from statements
        inner join duckdb_log_contexts() as contexts using (context_id)
    ),
    nodes_measured as (
        select
            node_id,
            coalesce(sum(rows_scanned) filter (not is_move), 0)::bigint as rows_read,
            (sum(rows_scanned) filter (is_move))::bigint as rows_moved,
            sum(seconds) as seconds
        from statements_of_nodes
        group by node_id
    ),
    model_rows_after as ({{ _count_rows_query() }}),
    nodes_counted as (
        select
            nodes.schema_name,
            nodes.model,
            nodes.part,
            nodes_measured.rows_read,
            nodes_measured.seconds,
            model_rows_after.row_count,
            case when nodes.part in ('model', 'seed') and nodes.status = 'success' then
                coalesce(nodes_measured.rows_moved, model_rows_after.row_count)
            end as rows_inserted,
            coalesce(model_rows_before.row_count, 0) + rows_inserted - model_rows_after.row_count
                as rows_deleted
        from nodes
        inner join nodes_measured using (node_id)
        left join model_rows_after using (node_id)
        left join orchestration.model_rows_before as model_rows_before using (node_id)
    )
    select
        '{{ target.name }}' as environment,
        '{{ _build_id() }}' as build_id,
        schema_name,
        model,
        part,
        sum(rows_read)::bigint as rows_read,
        sum(rows_deleted)::bigint as rows_deleted,
        sum(rows_inserted)::bigint as rows_inserted,
        sum(row_count)::bigint as row_count,
        sum(seconds) as seconds,
        now()::timestamp as ended_at
    from nodes_counted
    group by all
{% endmacro %}
