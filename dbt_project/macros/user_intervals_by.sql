{#-
    Who was active in which day, week or month of which scope, as integers: CTEs scopes (scope_key
    and what it stands for) and user_intervals (scope_key, user_key, interval_start_date). On text
    keys the same took twice as long (2.4M user-days, weeks: 1.7 s of CPU instead of 0.9). The keys
    are numbered anew in each query. A build of changes reads the intervals of the CTE `list`, where
    one is named.
-#}

{% macro user_intervals_by(grain, list=none) %}
int_users_started as (
    select * from {{ ref('int_users_started') }}
),

scopes as (
    select
        cast(
            row_number() over (order by scope, workspace_id, project_id) as integer
        ) as scope_key,
        scope,
        workspace_id,
        project_id,
        min(first_active_date) as first_active_date
    from int_users_started
    group by scope, workspace_id, project_id
),

{%- if grain == 'day' %}

int_active_user_days_counted as (
    select * from {{ ref('int_active_user_days_counted') }}
    where true
    {{ and_listed('activity_date', list, 'interval_start_date') if list }}
),

place_scopes as (
    select
        places.workspace_id,
        places.project_id,
        scopes.scope_key
    from scopes as places
    inner join scopes
        on
            places.workspace_id = scopes.workspace_id
            and (scopes.scope = 'workspace' or places.project_id = scopes.project_id)
    where places.scope = 'project'
),

user_intervals as (
    select distinct
        place_scopes.scope_key,
        int_active_user_days_counted.user_key,
        int_active_user_days_counted.activity_date as interval_start_date
    from int_active_user_days_counted
    inner join place_scopes
        on
            int_active_user_days_counted.workspace_id = place_scopes.workspace_id
            and int_active_user_days_counted.project_id = place_scopes.project_id
)

{%- else %}

int_user_intervals_collected as (
    select * from {{ ref('int_user_intervals_collected') }}
    where grain = '{{ grain }}'
    {{ and_listed('interval_start_date', list, 'interval_start_date') if list }}
),

user_intervals as (
    select
        scopes.scope_key,
        int_user_intervals_collected.user_key,
        int_user_intervals_collected.interval_start_date
    from int_user_intervals_collected
    inner join scopes
        on
            int_user_intervals_collected.scope = scopes.scope
            and int_user_intervals_collected.workspace_id = scopes.workspace_id
            and int_user_intervals_collected.project_id is not distinct from scopes.project_id
)

{%- endif %}
{%- endmacro %}
