-- The days on which a session had an event. An inferred session has one on every day it spans,
-- because its events are never further apart than the gap.

with

int_session_events_resolved as (
    select * from {{ ref('int_session_events_resolved') }}
    where session_id is not null
),

int_sessions_identified as (
    select * from {{ ref('int_sessions_identified') }}
),

int_sessions_inferred as (
    select * from {{ ref('int_sessions_inferred') }}
),

identified_days as (
    select distinct
        int_sessions_identified.session_key,
        int_sessions_identified.workspace_id,
        int_sessions_identified.project_id,
        cast(int_session_events_resolved.occurred_at as date) as activity_date,
        int_sessions_identified.is_test
    from int_sessions_identified
    inner join int_session_events_resolved
        on
            int_sessions_identified.workspace_id = int_session_events_resolved.workspace_id
            and int_sessions_identified.project_id = int_session_events_resolved.project_id
            and int_sessions_identified.session_id = int_session_events_resolved.session_id
),

inferred_days as (
    select
        session_key,
        workspace_id,
        project_id,
        {{ days_from_to('cast(started_at as date)', 'cast(last_event_at as date)') }}
            as activity_date,
        is_test
    from int_sessions_inferred
),

spanned as (
    select * from identified_days
    union all
    select * from inferred_days
)

select * from spanned
