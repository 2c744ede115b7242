-- Who was active in which weeks and months of a workspace or project: what retention is counted of,
-- and lifecycle by week and month.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={
        'replaces': {
            'listed_in': 'int_intervals_reached',
            'on': 'old.grain = listed.grain
                and old.interval_start_date = listed.interval_start_date',
        },
        'tested_where_replaced': true,
    },
) }}

{%- set grains = ['week', 'month'] %}

with

int_intervals_reached as (
    select * from {{ listed_now(ref('int_intervals_reached')) }} as listed
),

{%- for grain in grains %}

{{ grain }}s_reached as (
    select interval_start_date from int_intervals_reached
    where grain = '{{ grain }}'
),

{%- endfor %}

{%- if is_incremental() %}

-- days, so that the row groups of others are not read
days_read as (
    {%- for grain in grains %}
    select
        {{ days_from_to(
            'interval_start_date', add_days(interval_after(grain, 'interval_start_date'), -1)
        ) }} as activity_date
    from {{ grain }}s_reached
    {%- if not loop.last %}
    union
    {%- endif %}
    {%- endfor %}
),

{%- endif %}

int_active_user_days_counted as (
    select * from {{ ref('int_active_user_days_counted') }}
    where true
    {{ and_listed('activity_date', 'days_read') }}
),

by_project as (
    {%- for grain in grains %}
    select distinct
        '{{ grain }}' as grain,
        workspace_id,
        project_id,
        user_key,
        {{ interval_of(grain, 'activity_date') }} as interval_start_date
    from int_active_user_days_counted
    where true
    {{ and_listed(
        interval_of(grain, 'activity_date'), grain ~ 's_reached', 'interval_start_date'
    ) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

by_scope as (
    select
        grain,
        'project' as scope,
        workspace_id,
        project_id,
        user_key,
        interval_start_date
    from by_project
    union all
    select distinct
        grain,
        'workspace' as scope,
        workspace_id,
        cast(null as {{ dbt.type_string() }}) as project_id,
        user_key,
        interval_start_date
    from by_project
)

select * from by_scope
