-- The scopes in which users are counted, each with an integer key private to the build.

with

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
),

scopes as (
    select
        'workspace' as scope,
        workspace_id,
        cast(null as {{ dbt.type_string() }}) as project_id,
        cast(null as {{ dbt.type_string() }}) as service_id
    from int_user_days_counted
    union
    select
        'project' as scope,
        workspace_id,
        project_id,
        cast(null as {{ dbt.type_string() }}) as service_id
    from int_user_days_counted
    union
    select
        'service' as scope,
        workspace_id,
        project_id,
        service_id
    from int_user_days_counted
    where service_id is not null
),

interned as (
    select
        cast(
            row_number() over (
                order by scope, workspace_id, project_id nulls first, service_id nulls first
            ) as integer
        ) as scope_key,
        scope,
        workspace_id,
        project_id,
        service_id
    from scopes
)

select * from interned
