{#-
    fct_user_lifecycle_*: the same counts by day, week and month. Who was active in an interval is
    read of it and of the one before; who was new, from their first days. All else follows:
    resurrected are the active who neither came back from the interval before nor are new, dormant
    those of the interval before who did not come back.
-#}

{% macro lifecycle_by(grain) %}
with

int_active_user_days_counted as (
    select * from {{ ref('int_active_user_days_counted') }}
),

int_users_started as (
    select * from {{ ref('int_users_started') }}
),

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

project_intervals as (
    select distinct
        workspace_id,
        project_id,
        user_key,
        {{ interval_of(grain, 'activity_date') }} as interval_start_date
    from int_active_user_days_counted
    where true
    {{ and_listed(
        interval_of(grain, 'activity_date'), 'intervals_read', 'interval_start_date'
    ) }}
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

followed as (
    select
        scope,
        workspace_id,
        project_id,
        interval_start_date,
        lag(interval_start_date) over (
            partition by scope, workspace_id, project_id, user_key order by interval_start_date
        ) = {{ interval_after(grain, 'interval_start_date', -1) }} as is_returning
    from user_intervals
),

counted as (
    select
        scope,
        workspace_id,
        project_id,
        interval_start_date,
        count(*) as active_count,
        count(*) filter (where is_returning) as returning_count
    from followed
    group by scope, workspace_id, project_id, interval_start_date
),

started as (
    select
        scope,
        workspace_id,
        project_id,
        {{ interval_of(grain, 'first_active_date') }} as interval_start_date,
        count(*) as new_count
    from int_users_started
    group by scope, workspace_id, project_id, {{ interval_of(grain, 'first_active_date') }}
),

scopes_started as (
    select
        scope,
        workspace_id,
        project_id,
        min(interval_start_date) as first_start_date
    from started
    group by scope, workspace_id, project_id
),

spine as (
    select
        scopes_started.scope,
        scopes_started.workspace_id,
        scopes_started.project_id,
        int_intervals_covered.interval_start_date,
        {{ interval_after(grain, 'int_intervals_covered.interval_start_date', -1) }}
            as previous_start_date,
        int_intervals_covered.is_complete
    from scopes_started
    inner join int_intervals_covered
        on scopes_started.first_start_date <= int_intervals_covered.interval_start_date
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
    {%- for found, day in [
        ('counted', 'interval_start_date'), ('started', 'interval_start_date'),
        ('counted as previous', 'previous_start_date'),
    ] %}
    {%- set name = found.split(' ') | last %}
    left join {{ found }}
        on
            spine.scope = {{ name }}.scope
            and spine.workspace_id = {{ name }}.workspace_id
            and spine.project_id is not distinct from {{ name }}.project_id
            and spine.{{ day }} = {{ name }}.interval_start_date
    {%- endfor %}
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
