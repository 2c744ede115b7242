-- Distinct per scope: a user of two projects is one user of their workspace, so the workspace's
-- days are counted from events again and are never a sum of its projects'.

{%- set ids_by_scope = {
    'workspace': ['workspace_id'],
    'project': ['workspace_id', 'project_id'],
    'service': ['workspace_id', 'project_id', 'service_id'],
} %}

with

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
),

int_scopes_interned as (
    select * from {{ ref('int_scopes_interned') }}
),

scoped as (
    {%- for scope, ids in ids_by_scope.items() %}
    select
        int_scopes_interned.scope_key,
        int_user_days_counted.user_key,
        int_user_days_counted.activity_date
    from int_user_days_counted
    inner join int_scopes_interned
        on
            int_scopes_interned.scope = '{{ scope }}'
            {%- for id in ids %}
            and int_user_days_counted.{{ id }} = int_scopes_interned.{{ id }}
            {%- endfor %}
    {%- if not loop.last %}
    union
    {%- endif %}
    {%- endfor %}
)

select * from scoped
