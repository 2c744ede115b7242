{#-
    Days to be written anew of a mart that has a row for every scope and day from the scope's first
    to the environment's last: the changed days, and those that come or go because a first day or
    the last day moved. A scope's standing first day is worked out from what the mart holds on days
    that did not change, its new one from there and from the changed days (`actives`: the scope's
    columns and activity_date of changed days).

    Expects CTEs changed_days (activity_date), int_days_covered and actives.
-#}

{% macro spine_days_moved(mart, scope_columns, active_count, day='activity_date') %}
standing_days as (
    select
        {%- for column in scope_columns %}
        {{ column }},
        {%- endfor %}
        {{ day }} as activity_date,
        {{ active_count }} > 0 as is_active
    from {{ mart }}
),

standing_scopes as (
    select
        {%- for column in scope_columns %}
        {{ column }},
        {%- endfor %}
        min(activity_date) as first_date
    from standing_days
    group by all
),

active_scopes as (
    select
        {%- for column in scope_columns %}
        {{ column }},
        {%- endfor %}
        min(activity_date) as first_date
    from (
        select
            {%- for column in scope_columns %}
            {{ column }},
            {%- endfor %}
            activity_date
        from standing_days
        where is_active and activity_date not in (select activity_date from changed_days)
        union all
        select
            {%- for column in scope_columns %}
            {{ column }},
            {%- endfor %}
            activity_date
        from actives
    ) as active_days
    group by all
),

bounds as (
    select max(activity_date) as last_date
    from (
        select activity_date from standing_days
        union all
        select activity_date from int_days_covered
    ) as all_days
),

moved_scopes as (
    select
        least(
            coalesce(standing_scopes.first_date, active_scopes.first_date),
            coalesce(active_scopes.first_date, standing_scopes.first_date)
        ) as from_date,
        case
            when standing_scopes.first_date is null or active_scopes.first_date is null
                then bounds.last_date
            else greatest(standing_scopes.first_date, active_scopes.first_date)
        end as to_date
    from standing_scopes
    full outer join active_scopes
        on
            {%- for column in scope_columns %}
            standing_scopes.{{ column }} is not distinct from active_scopes.{{ column }}
            {%- if not loop.last %} and{% endif %}
            {%- endfor %}
    cross join bounds
    where standing_scopes.first_date is distinct from active_scopes.first_date
),

moved_ranges as (
    select distinct
        from_date,
        to_date
    from moved_scopes
),

spine_days_moved as (
    select distinct {{ days_from_to('from_date', 'to_date') }} as activity_date
    from moved_ranges
    union
    select activity_date from standing_days
    where activity_date not in (select activity_date from int_days_covered)
    union
    select activity_date from int_days_covered
    where
        activity_date > (select max(activity_date) from standing_days)
)
{% endmacro %}
