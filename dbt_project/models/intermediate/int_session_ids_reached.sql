-- Sessions with an id that this build writes anew, each with the days on which it has or had
-- events: the id's new events, those that were displaced, and all of what stands; and every
-- session that stands under who a user counted as whose survivor changed. Those are looked for
-- among sessions: 0.2 s, where among their 41 million events it took 4.4.

{%- set standing_sessions = standing('int_sessions_identified') %}
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
    {%- if is_needed %}
    union
    select
        {{ id | join(', ') }},
        started_date as activity_date
    from {{ standing_sessions }}
    where user_id in (select former_surviving_user_id from int_users_changed)
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
