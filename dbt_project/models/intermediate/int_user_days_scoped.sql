-- Distinct per scope: a user of two projects is one user of their workspace, so the workspace's
-- days are counted from events again and are never a sum of its projects'.

with

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
),

int_scopes_interned as (
    select * from {{ ref('int_scopes_interned') }}
),

scoped as (
    select
        int_scopes_interned.scope_key,
        int_user_days_counted.user_key,
        int_user_days_counted.activity_date
    from int_user_days_counted
    inner join int_scopes_interned
        on
            int_scopes_interned.scope = 'workspace'
            and int_user_days_counted.workspace_id = int_scopes_interned.workspace_id
    union
    select
        int_scopes_interned.scope_key,
        int_user_days_counted.user_key,
        int_user_days_counted.activity_date
    from int_user_days_counted
    inner join int_scopes_interned
        on
            int_scopes_interned.scope = 'project'
            and int_user_days_counted.workspace_id = int_scopes_interned.workspace_id
            and int_user_days_counted.project_id = int_scopes_interned.project_id
    union
    select
        int_scopes_interned.scope_key,
        int_user_days_counted.user_key,
        int_user_days_counted.activity_date
    from int_user_days_counted
    inner join int_scopes_interned
        on
            int_scopes_interned.scope = 'service'
            and int_user_days_counted.workspace_id = int_scopes_interned.workspace_id
            and int_user_days_counted.project_id = int_scopes_interned.project_id
            and int_user_days_counted.service_id = int_scopes_interned.service_id
)

select * from scoped
