{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_journey_days_changed',
        'on': 'old.activity_date = listed.activity_date',
    }},
) }}

with

int_journey_days_changed as (
    select * from {{ listed_now(ref('int_journey_days_changed')) }} as listed
),

fct_journeys as (
    select * from {{ ref('fct_journeys') }}
    where not is_test
    {{ and_listed('activity_date', 'int_journey_days_changed') }}
),

counted as (
    select
        workspace_id,
        project_id,
        journey_name,
        activity_date,
        count(*) as begun_count,
        count(*) filter (where state = 'completed') as completed_count,
        count(*) filter (where state = 'abandoned') as abandoned_count,
        count(*) filter (where state = 'in_progress') as in_progress_count,
        median(duration_seconds) as median_duration_seconds
    from fct_journeys
    group by workspace_id, project_id, journey_name, activity_date
),

rated as (
    select
        workspace_id,
        project_id,
        journey_name,
        activity_date,
        begun_count,
        completed_count,
        abandoned_count,
        in_progress_count,
        cast(completed_count as double) / begun_count as completion_rate,
        median_duration_seconds,
        '{{ target.name }}' as environment
    from counted
)

select * from rated
