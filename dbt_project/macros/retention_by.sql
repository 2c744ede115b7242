{#-
    fct_retention_*: cohorts by week and month. Made anew as a whole: a user who comes late, or turns
    out to be another, moves a whole cohort.
-#}

{% macro retention_by(grain) %}
with

int_active_user_days_counted as (
    select * from {{ ref('int_active_user_days_counted') }}
),

int_intervals_covered as (
    select * from {{ ref('int_intervals_covered') }}
    where grain = '{{ grain }}'
),

project_intervals as (
    select distinct
        workspace_id,
        project_id,
        user_key,
        {{ interval_of(grain, 'activity_date') }} as interval_start_date
    from int_active_user_days_counted
),

user_intervals as (
    select
        'project' as scope,
        workspace_id,
        project_id,
        user_key,
        interval_start_date
    from project_intervals
    union all
    select distinct
        'workspace' as scope,
        workspace_id,
        cast(null as {{ dbt.type_string() }}) as project_id,
        user_key,
        interval_start_date
    from project_intervals
),

bounded as (
    select
        scope,
        workspace_id,
        project_id,
        interval_start_date,
        min(interval_start_date) over user_lives as cohort_start_date,
        interval_start_date = max(interval_start_date) over user_lives as is_last
    from user_intervals
    window user_lives as (partition by scope, workspace_id, project_id, user_key)
),

counted as (
    select
        scope,
        workspace_id,
        project_id,
        cohort_start_date,
        interval_start_date,
        count(*) as retained_count,
        count(*) filter (where is_last) as last_count
    from bounded
    group by scope, workspace_id, project_id, cohort_start_date, interval_start_date
),

cohorts as (
    select
        counted.scope,
        counted.workspace_id,
        counted.project_id,
        counted.cohort_start_date,
        counted.retained_count as cohort_size,
        int_intervals_covered.interval_number as cohort_number
    from counted
    inner join int_intervals_covered
        on counted.cohort_start_date = int_intervals_covered.interval_start_date
    where counted.interval_start_date = counted.cohort_start_date
),

cells as (
    select
        cohorts.scope,
        cohorts.workspace_id,
        cohorts.project_id,
        cohorts.cohort_start_date,
        int_intervals_covered.interval_start_date,
        int_intervals_covered.interval_number - cohorts.cohort_number as period_index,
        cohorts.cohort_size,
        int_intervals_covered.is_complete
    from cohorts
    inner join int_intervals_covered
        on cohorts.cohort_number <= int_intervals_covered.interval_number
),

filled as (
    select
        cells.scope,
        cells.workspace_id,
        cells.project_id,
        cells.cohort_start_date,
        cells.period_index,
        cells.cohort_size,
        coalesce(counted.retained_count, 0) as retained_count,
        sum(coalesce(counted.last_count, 0)) over (
            partition by
                cells.scope, cells.workspace_id, cells.project_id, cells.cohort_start_date
            order by cells.period_index desc
        ) as retained_or_later_count,
        cells.is_complete
    from cells
    left join counted
        on
            cells.scope = counted.scope
            and cells.workspace_id = counted.workspace_id
            and cells.project_id is not distinct from counted.project_id
            and cells.cohort_start_date = counted.cohort_start_date
            and cells.interval_start_date = counted.interval_start_date
),

rated as (
    select
        scope,
        workspace_id,
        project_id,
        cohort_start_date,
        cast(period_index as bigint) as period_index,
        cast(cohort_size as bigint) as cohort_size,
        cast(retained_count as bigint) as retained_count,
        cast(retained_or_later_count as bigint) as retained_or_later_count,
        cast(retained_count as double) / cohort_size as retention_rate,
        cast(retained_or_later_count as double) / cohort_size as retained_or_later_rate,
        is_complete,
        '{{ target.name }}' as environment
    from filled
)

select * from rated
{% endmacro %}
