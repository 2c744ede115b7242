-- Sessions with an id that this build writes anew, each with the days on which it has or had
-- events: the id's new events, those that were displaced, and all of what stands; and every
-- session of a user whose survivor changed.

{%- set standing_sessions = standing('int_sessions_identified') %}
{%- set standing_user_days = standing('int_user_days_counted') %}
{%- set is_needed = standing_sessions and not flags.FULL_REFRESH %}
{%- set id = ['workspace_id', 'project_id', 'session_id'] %}

with

stg_session_events as (
    select * from {{ ref('stg_session_events') }}
    where session_id is not null
),

stg_displaced_records as (
    select * from {{ ref('stg_displaced_records') }}
    where
        source_table = 'session_events'
        and session_id is not null
        and _batch > {{ built_batch() if is_needed else building_batch() }}
),

int_users_changed as (
    select * from {{ ref('int_users_changed') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

{%- if is_needed and standing_user_days %}

days_of_changed_users as (
    select distinct user_days.activity_date
    from {{ standing_user_days }} as user_days
    inner join int_users_interned on user_days.user_number = int_users_interned.user_number
    inner join int_users_changed on int_users_interned.user_id = int_users_changed.user_id
    where user_days.source_table = 'session_events'
),

{%- endif %}

changes as (
    select
        {{ id | join(', ') }},
        activity_date
    from stg_session_events
    where _batch > {{ built_batch() if is_needed else building_batch() }}
    union
    select
        {{ id | join(', ') }},
        activity_date
    from stg_displaced_records
    {%- if is_needed and standing_user_days %}
    union
    select
        {{ id | join(', ') }},
        activity_date
    from stg_session_events
    where
        activity_date in (select activity_date from days_of_changed_users)
        and user_id in (select user_id from int_users_changed)
    {%- endif %}
),

numbered as (
    select
        *,
        {{ number_of(id) }} as session_number
    from changes
),

{%- if is_needed %}

standing_days as (
    select
        {{ id | join(', ') }},
        session_number,
        {{ days_from_to('started_date', 'last_event_date') }} as activity_date
    from {{ standing_sessions }}
    where session_number in (select session_number from numbered)
),

{%- endif %}

reached as (
    select * from numbered
    {%- if is_needed %}
    union
    select
        {{ id | join(', ') }},
        activity_date,
        session_number
    from standing_days
    {%- endif %}
),

listed as (
    select
        *,
        {{ building_batch() }} as _batch
    from reached
)

select * from listed
