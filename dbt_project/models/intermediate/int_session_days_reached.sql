-- The days of fct_sessions_daily that this build writes anew: those on which sessions changed, and
-- those that come or go because a project's first day or the environment's last one moved.

{%- set mart = standing('fct_sessions_daily') %}

with

int_days_covered as (
    select * from {{ ref('int_days_covered') }}
),

changed_days as (
    select distinct activity_date
    from {{ listed_now(ref('int_session_days_changed')) }} as listed
),

fct_sessions as (
    select * from {{ ref('fct_sessions') }}
    where not is_test and session_date in (select activity_date from changed_days)
),

{%- if mart %}

actives as (
    select distinct
        workspace_id,
        project_id,
        session_date as activity_date
    from fct_sessions
),

{{ spine_days_moved(mart, ['workspace_id', 'project_id'], 'started_count', 'session_date') }},

{%- endif %}

reached as (
    select activity_date from changed_days
    {%- if mart %}
    union
    select activity_date from spine_days_moved
    {%- endif %}
),

listed as (
    select
        activity_date,
        {{ building_batch() }} as _batch
    from reached
)

select * from listed
