-- The stretches of a visitor's time whose sessions by the gap rule this build writes anew, one row
-- a UTC day of the stretch. An event that came or went can join or split what lies within the gap
-- of it, and what it joins is the whole of the sessions it meets; beyond them nothing changes,
-- because after any event that is no close a session is open, whatever came before. A user whose
-- survivor changed is another visitor on all their days, and so is who they were merged with.

{%- set gap = "interval '" ~ var('session_gap_minutes') ~ "' minute" %}
{%- set standing_sessions = standing('int_sessions_inferred') %}
{%- set is_needed = standing_sessions and not flags.FULL_REFRESH %}
{%- set visitor = ['workspace_id', 'project_id', 'user_key', 'visitor_anonymous_id', 'is_test'] %}

with

stg_session_events as (
    select * from {{ ref('stg_session_events') }}
    where
        session_id is null
        and (user_id is not null or anonymous_id is not null)
        and _batch > {{ built_batch() if is_needed else building_batch() }}
),

stg_displaced_records as (
    select * from {{ ref('stg_displaced_records') }}
    where
        source_table = 'session_events'
        and session_id is null
        and (user_id is not null or anonymous_id is not null)
        and _batch > {{ built_batch() if is_needed else building_batch() }}
),

int_users_changed as (
    select * from {{ ref('int_users_changed') }}
    {{ "where false" if not is_needed }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
    where source_table = 'session_events'
),

-- a changed user under who they were counted as, and under who they are counted as now
keys_of_changed_users as (
    {%- for survivor in ['surviving_user_id', 'former_surviving_user_id'] %}
    select
        int_users_changed.user_id,
        survivors.user_number as user_key
    from int_users_changed
    inner join int_users_interned as survivors
        on int_users_changed.{{ survivor }} = survivors.user_id
    {%- if not loop.last %}
    union
    {%- endif %}
    {%- endfor %}
),

keys_of_users as (
    select
        user_id,
        user_key
    from int_users_interned
    union
    select
        user_id,
        user_key
    from keys_of_changed_users
),

moments as (
    select
        workspace_id,
        project_id,
        user_id,
        anonymous_id,
        is_test,
        occurred_at
    from stg_session_events
    union all
    select
        workspace_id,
        project_id,
        user_id,
        anonymous_id,
        is_test,
        occurred_at
    from stg_displaced_records
),

test_or_not as (
    select true as is_test
    union all
    select false as is_test
),

spans as (
    select
        moments.workspace_id,
        moments.project_id,
        keys_of_users.user_key,
        case when moments.user_id is null then moments.anonymous_id end as visitor_anonymous_id,
        moments.is_test,
        moments.occurred_at - {{ gap }} as from_at,
        moments.occurred_at + {{ gap }} as to_at
    from moments
    left join keys_of_users on moments.user_id = keys_of_users.user_id
    union all
    select
        user_days.workspace_id,
        user_days.project_id,
        user_days.user_key,
        cast(null as {{ dbt.type_string() }}) as visitor_anonymous_id,
        test_or_not.is_test,
        cast(user_days.activity_date as timestamp) as from_at,
        cast({{ add_days('user_days.activity_date', 1) }} as timestamp) as to_at
    from (
        select distinct
            int_user_days_counted.workspace_id,
            int_user_days_counted.project_id,
            keys_of_users.user_key,
            int_user_days_counted.activity_date
        from int_user_days_counted
        inner join int_users_interned
            on int_user_days_counted.user_number = int_users_interned.user_number
        inner join keys_of_users on int_users_interned.user_id = keys_of_users.user_id
        where keys_of_users.user_key in (select user_key from keys_of_changed_users)
    ) as user_days
    cross join test_or_not
),

near_spans as (
    {{ merged_spans('spans', visitor) }}
),

numbered as (
    select
        *,
        {{ number_of([
            'workspace_id', 'project_id', 'cast(user_key as ' ~ dbt.type_string() ~ ')',
            'visitor_anonymous_id', 'cast(is_test as ' ~ dbt.type_string() ~ ')',
        ]) }} as visitor_number
    from near_spans
),

{%- if is_needed %}

span_days as (
    select distinct
        {{ days_from_to('cast(from_at as date)', 'cast(to_at as date)') }} as activity_date
    from numbered
),

-- what can meet a span: sessions that started on its days, and the few that cross a midnight
near_sessions as (
    select *
    from {{ standing_sessions }}
    where
        (is_over_midnight or started_date in (select activity_date from span_days))
        and visitor_number in (select visitor_number from numbered)
),

widened as (
    select
        {%- for column in visitor %}
        numbered.{{ column }},
        {%- endfor %}
        numbered.visitor_number,
        least(numbered.from_at, min(near_sessions.started_at)) as from_at,
        greatest(numbered.to_at, max(near_sessions.ended_at)) as to_at
    from numbered
    left join near_sessions
        on
            numbered.visitor_number = near_sessions.visitor_number
            and numbered.from_at <= near_sessions.ended_at
            and numbered.to_at >= near_sessions.started_at
    group by
        {%- for column in visitor %}
        numbered.{{ column }},
        {%- endfor %}
        numbered.visitor_number,
        numbered.from_at,
        numbered.to_at
),

{%- else %}

widened as (
    select * from numbered
),

{%- endif %}

stretches as (
    {{ merged_spans('widened', visitor + ['visitor_number']) }}
),

reached as (
    select
        *,
        {{ days_from_to('cast(from_at as date)', 'cast(to_at as date)') }} as activity_date,
        {{ building_batch() }} as _batch
    from stretches
)

select * from reached
