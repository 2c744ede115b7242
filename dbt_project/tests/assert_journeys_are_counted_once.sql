-- Every journey that counts is in one row of fct_journeys_daily, in the state it has now.

with

fct_journeys as (
    select * from {{ ref('fct_journeys') }}
    where not is_test
),

fct_journeys_daily as (
    select * from {{ ref('fct_journeys_daily') }}
),

journeys as (
    select
        workspace_id,
        project_id,
        journey_name,
        activity_date,
        count(*) as begun_count,
        count(*) filter (where state = 'completed') as completed_count,
        count(*) filter (where state = 'abandoned') as abandoned_count
    from fct_journeys
    group by workspace_id, project_id, journey_name, activity_date
),

differing as (
    select
        coalesce(fct_journeys_daily.workspace_id, journeys.workspace_id) as workspace_id,
        coalesce(fct_journeys_daily.activity_date, journeys.activity_date) as activity_date
    from fct_journeys_daily
    full outer join journeys
        on
            fct_journeys_daily.workspace_id = journeys.workspace_id
            and fct_journeys_daily.project_id = journeys.project_id
            and fct_journeys_daily.journey_name is not distinct from journeys.journey_name
            and fct_journeys_daily.activity_date = journeys.activity_date
    where
        fct_journeys_daily.begun_count is distinct from journeys.begun_count
        or fct_journeys_daily.completed_count is distinct from journeys.completed_count
        or fct_journeys_daily.abandoned_count is distinct from journeys.abandoned_count
)

select * from differing
