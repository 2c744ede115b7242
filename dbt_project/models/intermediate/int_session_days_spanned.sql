-- The days on which a session had an event. An inferred session has one on every day it spans,
-- because its events are never further apart than the gap. Most sessions are of one day; those
-- stand apart, so that a filter on the day reads that day's sessions only.

with

int_sessions_identified as (
    select * from {{ ref('int_sessions_identified') }}
),

int_sessions_inferred as (
    select * from {{ ref('int_sessions_inferred') }}
),

spanned as (
    {%- for model, days in [
        ('int_sessions_identified', rows_of_list('activity_dates')),
        ('int_sessions_inferred', days_from_to('started_date', 'last_event_date')),
    ] %}
    select
        session_key,
        workspace_id,
        project_id,
        started_date as activity_date,
        is_test
    from {{ model }}
    where started_date = last_event_date
    union all
    select
        session_key,
        workspace_id,
        project_id,
        {{ days }} as activity_date,
        is_test
    from {{ model }}
    where started_date < last_event_date
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)

select * from spanned
