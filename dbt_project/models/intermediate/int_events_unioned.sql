{#- The common envelope of all event tables but audit_events, whose rows are no activity. -#}
{%- set with_outcome = ['auth_events', 'webhook_deliveries'] %}

with

unioned as (
    {%- for table_name in event_tables() %}
    select
        '{{ table_name }}' as source_table,
        event_id,
        type,
        workspace_id,
        project_id,
        service_id,
        user_id,
        occurred_at,
        activity_date,
        received_at,
        {%- if table_name in with_outcome %}
        outcome,
        {%- else %}
        cast(null as {{ dbt.type_string() }}) as outcome,
        {%- endif %}
        is_test,
        is_impersonated,
        _batch
    from {{ ref('stg_' ~ table_name) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)

select * from unioned
