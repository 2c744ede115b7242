{#-
    Rows of a relation once for each scope they count in: workspace, project, and service where one
    is named. Distinct per scope: a user of two projects is one user of their workspace.
-#}

{% macro rows_by_scope(relation, columns=[]) %}
    {%- set ids_by_scope = {
        'workspace': ['workspace_id'],
        'project': ['workspace_id', 'project_id'],
        'service': ['workspace_id', 'project_id', 'service_id'],
    } %}
    {%- for scope, ids in ids_by_scope.items() %}
    select
        '{{ scope }}' as scope,
        {%- for column in columns %}
        {{ column }},
        {%- endfor %}
        {%- for id in ['workspace_id', 'project_id', 'service_id'] %}
        {{ id if id in ids else 'cast(null as ' ~ dbt.type_string() ~ ')' }} as {{ id }}
        {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from {{ relation }}
    {%- if scope == 'service' %}
    where service_id is not null
    {%- endif %}
    {%- if not loop.last %}
    union
    {%- endif %}
    {%- endfor %}
{% endmacro %}
