{#-
    fct_user_lifecycle_*: the same counts by day, week and month. Who was active in an interval is
    read of it and of the one before; who was new, from their first days. All else follows:
    resurrected are the active who neither came back from the interval before nor are new, dormant
    those of the interval before who did not come back.
-#}

{% macro lifecycle_by(grain) %}
with

int_intervals_covered as (
    select * from {{ ref('int_intervals_covered') }}
    where grain = '{{ grain }}'
),

int_intervals_reached as (
    select * from {{ listed_now(ref('int_intervals_reached')) }} as listed
    where grain = '{{ grain }}'
),

{%- if is_incremental() %}

intervals_read as (
    select interval_start_date from int_intervals_reached
    union
    select {{ interval_after(grain, 'interval_start_date', -1) }} as interval_start_date
    from int_intervals_reached
),

{%- endif %}

{{ user_intervals_by(grain, 'intervals_read') }},

followed as (
    select
        scope_key,
        interval_start_date,
        lag(interval_start_date) over (
            partition by scope_key, user_key order by interval_start_date
        ) = {{ interval_after(grain, 'interval_start_date', -1) }} as is_returning
    from user_intervals
),

counted as (
    select
        scope_key,
        interval_start_date,
        count(*) as active_count,
        count(*) filter (where is_returning) as returning_count
    from followed
    group by scope_key, interval_start_date
),

started as (
    select
        scopes.scope_key,
        {{ interval_of(grain, 'int_users_started.first_active_date') }} as interval_start_date,
        count(*) as new_count
    from int_users_started
    inner join scopes
        on
            int_users_started.scope = scopes.scope
            and int_users_started.workspace_id = scopes.workspace_id
            and int_users_started.project_id is not distinct from scopes.project_id
    group by
        scopes.scope_key,
        {{ interval_of(grain, 'int_users_started.first_active_date') }}
),

spine as (
    select
        scopes.scope_key,
        scopes.scope,
        scopes.workspace_id,
        scopes.project_id,
        int_intervals_covered.interval_start_date,
        {{ interval_after(grain, 'int_intervals_covered.interval_start_date', -1) }}
            as previous_start_date,
        int_intervals_covered.is_complete
    from scopes
    inner join int_intervals_covered
        on
            {{ interval_of(grain, 'scopes.first_active_date') }}
            <= int_intervals_covered.interval_start_date
    where true
    {{ and_listed(
        'int_intervals_covered.interval_start_date', 'int_intervals_reached', 'interval_start_date'
    ) }}
),

filled as (
    select
        spine.scope,
        spine.workspace_id,
        spine.project_id,
        spine.interval_start_date,
        coalesce(counted.active_count, 0) as active_count,
        coalesce(started.new_count, 0) as new_count,
        coalesce(counted.returning_count, 0) as returning_count,
        coalesce(previous.active_count, 0) as previous_count,
        spine.is_complete
    from spine
    left join counted
        on
            spine.scope_key = counted.scope_key
            and spine.interval_start_date = counted.interval_start_date
    left join started
        on
            spine.scope_key = started.scope_key
            and spine.interval_start_date = started.interval_start_date
    left join counted as previous
        on
            spine.scope_key = previous.scope_key
            and spine.previous_start_date = previous.interval_start_date
),

described as (
    select
        scope,
        workspace_id,
        project_id,
        interval_start_date,
        cast(active_count as bigint) as active_count,
        cast(new_count as bigint) as new_count,
        cast(returning_count as bigint) as returning_count,
        cast(active_count - new_count - returning_count as bigint) as resurrected_count,
        cast(previous_count - returning_count as bigint) as dormant_count,
        is_complete,
        '{{ target.name }}' as environment
    from filled
)

select * from described
{% endmacro %}
