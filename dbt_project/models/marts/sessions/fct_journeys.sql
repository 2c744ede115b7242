{{ config(
    materialized='view',
    meta={'published_by_day': {
        'day': 'activity_date',
        'changed_in': 'int_journey_days_changed',
    }},
) }}
-- depends_on: {{ ref('int_journey_days_changed') }}

with

int_journeys_followed as (
    select * from {{ ref('int_journeys_followed') }}
    where begun_at is not null
),

int_last_days_noted as (
    select * from {{ ref('int_last_days_noted') }}
    where is_now
),

judged as (
    select
        int_journeys_followed.journey_key,
        int_journeys_followed.workspace_id,
        int_journeys_followed.project_id,
        int_journeys_followed.journey_id,
        int_journeys_followed.journey_name,
        int_journeys_followed.user_id,
        int_journeys_followed.session_key,
        int_journeys_followed.begun_at,
        int_journeys_followed.completed_at,
        int_journeys_followed.last_activity_at,
        -- 24 hours before the end of the last day that day begins: an event at its very first
        -- microsecond is within them
        case
            when int_journeys_followed.completed_at is not null then 'completed'
            when int_journeys_followed.last_event_date < int_last_days_noted.last_date
                then 'abandoned'
            else 'in_progress'
        end as state,
        {{ seconds_between(
            'int_journeys_followed.begun_at', 'int_journeys_followed.completed_at'
        ) }} as duration_seconds,
        int_journeys_followed.step_count,
        int_journeys_followed.trace_id,
        int_journeys_followed.is_test,
        int_journeys_followed.begun_date as activity_date,
        '{{ target.name }}' as environment
    from int_journeys_followed
    cross join int_last_days_noted
)

select * from judged
