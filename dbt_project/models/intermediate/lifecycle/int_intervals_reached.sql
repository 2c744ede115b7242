-- The intervals that this build writes anew in each mart of fct_user_lifecycle_*: those that hold a
-- day on which somebody was active, or first active, otherwise; the ones after them, which tell who
-- came back and who did not; and those whose rows come or go, or whose completeness changed. The
-- latter are told by each mart as it stands: a build that failed may have written one and not the
-- others.

with

int_active_user_days_changed as (
    select * from {{ listed_now(ref('int_active_user_days_changed')) }} as listed
),

int_intervals_covered as (
    select * from {{ ref('int_intervals_covered') }}
),

int_users_started as (
    select * from {{ ref('int_users_started') }}
),

scopes_started as (
    select
        scope,
        workspace_id,
        project_id,
        min(first_active_date) as first_active_date
    from int_users_started
    group by scope, workspace_id, project_id
),

{%- for grain, name in [('day', 'daily'), ('week', 'weekly'), ('month', 'monthly')] %}
{%- set mart = standing('fct_user_lifecycle_' ~ name) %}

{{ name }}_intervals as (
    select
        interval_start_date,
        is_complete
    from int_intervals_covered
    where grain = '{{ grain }}'
),

{{ name }}_changed as (
    select distinct {{ interval_of(grain, 'activity_date') }} as interval_start_date
    from int_active_user_days_changed
),

{%- if mart %}

{{ name }}_standing as (
    select
        scope,
        workspace_id,
        project_id,
        min(interval_start_date) as first_start_date
    from {{ mart }}
    group by scope, workspace_id, project_id
),

{{ name }}_standing_intervals as (
    select distinct
        interval_start_date,
        is_complete
    from {{ mart }}
),

-- a scope that is new, or is no more, has or had rows up to the last interval
{{ name }}_moved as (
    select distinct
        least(
            coalesce(standing.first_start_date, fresh.first_start_date),
            coalesce(fresh.first_start_date, standing.first_start_date)
        ) as from_date,
        case
            when standing.first_start_date is not null and fresh.first_start_date is not null
                then greatest(standing.first_start_date, fresh.first_start_date)
        end as to_date
    from {{ name }}_standing as standing
    full outer join (
        select
            scope,
            workspace_id,
            project_id,
            {{ interval_of(grain, 'first_active_date') }} as first_start_date
        from scopes_started
    ) as fresh
        on
            standing.scope = fresh.scope
            and standing.workspace_id = fresh.workspace_id
            and standing.project_id is not distinct from fresh.project_id
    where standing.first_start_date is distinct from fresh.first_start_date
),

{%- endif %}

{{ name }}_reached as (
    select interval_start_date from {{ name }}_changed
    union
    select {{ interval_after(grain, 'interval_start_date') }} as interval_start_date
    from {{ name }}_changed
    {%- if mart %}
    union
    select intervals.interval_start_date
    from {{ name }}_intervals as intervals
    inner join {{ name }}_moved as moved
        on
            intervals.interval_start_date >= moved.from_date
            and intervals.interval_start_date <= coalesce(
                moved.to_date, intervals.interval_start_date
            )
    union
    select interval_start_date from {{ name }}_intervals
    where interval_start_date > (select max(interval_start_date) from {{ name }}_standing_intervals)
    union
    select standing_intervals.interval_start_date
    from {{ name }}_standing_intervals as standing_intervals
    left join {{ name }}_intervals as intervals
        on standing_intervals.interval_start_date = intervals.interval_start_date
    where standing_intervals.is_complete is distinct from intervals.is_complete
    {%- endif %}
),

{%- endfor %}

listed as (
    {%- for grain, name in [('day', 'daily'), ('week', 'weekly'), ('month', 'monthly')] %}
    select
        '{{ grain }}' as grain,
        interval_start_date,
        {{ building_batch() }} as _batch
    from {{ name }}_reached
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)

select * from listed
