{#-
    fct_retention_*: cohorts by week and month. Made anew as a whole, because one more active day of
    a user can change every cell of their cohort, and a first day that moves two cohorts. Who was
    active in which week is kept, by the weeks that changed: of 3.9 million active user-days in 300
    days, weeks take 1.7 s of CPU where they are counted from days 3.3, and months 0.6 in place of
    1.6.
-#}

{% macro retention_by(grain) %}
with

int_intervals_covered as (
    select * from {{ ref('int_intervals_covered') }}
    where grain = '{{ grain }}'
),

{{ user_intervals_by(grain) }},

lives as (
    select
        scopes.scope_key,
        int_users_started.user_key,
        {{ interval_of(grain, 'int_users_started.first_active_date') }} as cohort_start_date,
        {{ interval_of(grain, 'int_users_started.last_active_date') }} as last_start_date
    from int_users_started
    inner join scopes
        on
            int_users_started.scope = scopes.scope
            and int_users_started.workspace_id = scopes.workspace_id
            and int_users_started.project_id is not distinct from scopes.project_id
),

counted as (
    select
        lives.scope_key,
        lives.cohort_start_date,
        user_intervals.interval_start_date,
        count(*) as retained_count,
        count(*) filter (where user_intervals.interval_start_date = lives.last_start_date)
            as last_count
    from user_intervals
    inner join lives
        on
            user_intervals.scope_key = lives.scope_key
            and user_intervals.user_key = lives.user_key
    group by lives.scope_key, lives.cohort_start_date, user_intervals.interval_start_date
),

cohorts as (
    select
        counted.scope_key,
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
        cohorts.scope_key,
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
        cells.scope_key,
        cells.cohort_start_date,
        cells.period_index,
        cells.cohort_size,
        coalesce(counted.retained_count, 0) as retained_count,
        -- who was last active in this interval or in one after it
        sum(coalesce(counted.last_count, 0)) over (
            partition by cells.scope_key, cells.cohort_start_date
            order by cells.period_index desc
        ) as retained_or_later_count,
        cells.is_complete
    from cells
    left join counted
        on
            cells.scope_key = counted.scope_key
            and cells.cohort_start_date = counted.cohort_start_date
            and cells.interval_start_date = counted.interval_start_date
),

rated as (
    select
        scopes.scope,
        scopes.workspace_id,
        scopes.project_id,
        filled.cohort_start_date,
        cast(filled.period_index as bigint) as period_index,
        cast(filled.cohort_size as bigint) as cohort_size,
        cast(filled.retained_count as bigint) as retained_count,
        cast(filled.retained_or_later_count as bigint) as retained_or_later_count,
        cast(filled.retained_count as double) / filled.cohort_size as retention_rate,
        cast(filled.retained_or_later_count as double) / filled.cohort_size
            as retained_or_later_rate,
        filled.is_complete,
        '{{ target.name }}' as environment
    from filled
    inner join scopes on filled.scope_key = scopes.scope_key
)

select * from rated
{% endmacro %}
