-- A cohort is who was new in its interval, and the cohorts that came back in an interval are all
-- who were active in it: retention and lifecycle are counted apart and agree.

with

{%- set grains = [('week', 'weekly'), ('month', 'monthly')] %}

lifecycle as (
    {%- for grain, name in grains %}
    select
        '{{ grain }}' as grain,
        scope,
        workspace_id,
        project_id,
        interval_start_date,
        new_count,
        active_count
    from {{ ref('fct_user_lifecycle_' ~ name) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

cells as (
    {%- for grain, name in grains %}
    select
        '{{ grain }}' as grain,
        scope,
        workspace_id,
        project_id,
        cast(cohort_start_date + period_index * interval '1' {{ grain }} as date)
            as interval_start_date,
        case when period_index = 0 then cohort_size else 0 end as new_count,
        retained_count
    from {{ ref('fct_retention_' ~ name) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

added_up as (
    select
        grain,
        scope,
        workspace_id,
        project_id,
        interval_start_date,
        sum(new_count) as new_count,
        sum(retained_count) as active_count
    from cells
    group by grain, scope, workspace_id, project_id, interval_start_date
),

different as (
    select
        lifecycle.*,
        added_up.new_count as cohort_size,
        added_up.active_count as retained_count
    from lifecycle
    full outer join added_up
        on
            lifecycle.grain = added_up.grain
            and lifecycle.scope = added_up.scope
            and lifecycle.workspace_id = added_up.workspace_id
            and lifecycle.project_id is not distinct from added_up.project_id
            and lifecycle.interval_start_date = added_up.interval_start_date
    where
        lifecycle.new_count is distinct from added_up.new_count
        or lifecycle.active_count is distinct from added_up.active_count
)

select * from different
