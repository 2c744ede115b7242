-- Who was active stays, comes back or goes: active is what was active an interval before, less the
-- dormant, with the new and the resurrected. And no interval is left out.

with

lifecycle as (
    {%- for grain, name in [('day', 'daily'), ('week', 'weekly'), ('month', 'monthly')] %}
    select
        '{{ grain }}' as grain,
        scope,
        workspace_id,
        project_id,
        interval_start_date,
        {{ interval_after(grain, 'interval_start_date', -1) }} as previous_start_date,
        active_count,
        new_count,
        resurrected_count,
        dormant_count
    from {{ ref('fct_user_lifecycle_' ~ name) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

followed as (
    select
        *,
        lag(interval_start_date) over scope_intervals as preceding_start_date,
        lag(active_count) over scope_intervals as preceding_active_count
    from lifecycle
    window
        scope_intervals as (
            partition by grain, scope, workspace_id, project_id order by interval_start_date
        )
),

broken as (
    select *
    from followed
    where
        preceding_start_date <> previous_start_date
        or active_count
        <> coalesce(preceding_active_count, 0) - dormant_count + new_count + resurrected_count
)

select * from broken
