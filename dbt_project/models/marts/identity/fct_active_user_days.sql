{{ config(
    materialized='view',
    meta={'published_by_day': {
        'day': 'activity_date',
        'changed_in': 'int_active_user_days_changed',
    }},
) }}
-- depends_on: {{ ref('int_active_user_days_changed') }}

with

int_active_user_days_counted as (
    select * from {{ ref('int_active_user_days_counted') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
    where not is_merged
),

int_users_started as (
    select * from {{ ref('int_users_started') }}
),

described as (
    select
        int_active_user_days_counted.workspace_id,
        int_active_user_days_counted.project_id,
        int_active_user_days_counted.service_id,
        int_users_interned.user_id,
        int_active_user_days_counted.activity_date,
        int_active_user_days_counted.qualifying_count,
        int_active_user_days_counted.login_count,
        int_active_user_days_counted.activity_date = in_workspace.first_active_date
            as is_first_day_in_workspace,
        int_active_user_days_counted.activity_date = in_project.first_active_date
            as is_first_day_in_project,
        '{{ target.name }}' as environment
    from int_active_user_days_counted
    inner join int_users_interned
        on int_active_user_days_counted.user_key = int_users_interned.user_number
    inner join int_users_started as in_workspace
        on
            in_workspace.scope = 'workspace'
            and int_active_user_days_counted.workspace_id = in_workspace.workspace_id
            and int_active_user_days_counted.user_key = in_workspace.user_key
    inner join int_users_started as in_project
        on
            in_project.scope = 'project'
            and int_active_user_days_counted.workspace_id = in_project.workspace_id
            and int_active_user_days_counted.project_id = in_project.project_id
            and int_active_user_days_counted.user_key = in_project.user_key
)

select * from described
