-- Journeys that this build writes anew, each with the days on which it has or had events: those
-- with new events, those of users whose survivor changed, and those that may have lost an event. A
-- displaced event does not tell its journey any more, so that every journey of its project whose
-- time spans its day is written. was_begun marks the day on which the journey had begun.
--
-- What a build listed that did not come to its end stays listed: it may have written some models,
-- and then neither what stands nor what landed tells how a journey was at the last complete build.

{%- set standing_journeys = standing('int_journeys_followed') %}
{%- set standing_list = standing('int_journeys_reached') %}
{%- set is_needed = standing_journeys and not flags.FULL_REFRESH %}
{%- set id = ['workspace_id', 'project_id', 'journey_id'] %}

with

stg_session_events as (
    select * from {{ ref('stg_session_events') }}
    where journey_id is not null
),

stg_displaced_records as (
    select * from {{ ref('stg_displaced_records') }}
    where
        source_table = 'session_events'
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
),

numbered as (
    select
        *,
        {{ number_of(id) }} as journey_number,
        false as was_begun
    from changes
),

{%- if is_needed %}

displaced_days as (
    select distinct
        workspace_id,
        project_id,
        activity_date
    from stg_displaced_records
),

journeys_met as (
    select journey_number from numbered
    union
    select standing_journeys.journey_number
    from {{ standing_journeys }} as standing_journeys
    inner join displaced_days
        on
            standing_journeys.workspace_id = displaced_days.workspace_id
            and standing_journeys.project_id = displaced_days.project_id
            and standing_journeys.first_event_date <= displaced_days.activity_date
            and standing_journeys.last_event_date >= displaced_days.activity_date
    union
    select journey_number
    from {{ standing_journeys }}
    where user_id in (select former_surviving_user_id from int_users_changed)
),

standing_days as (
    select
        {{ id | join(', ') }},
        {{ days_from_to('first_event_date', 'last_event_date') }} as activity_date,
        journey_number,
        begun_date
    from {{ standing_journeys }}
    where journey_number in (select journey_number from journeys_met)
),

{%- endif %}

reached as (
    select * from numbered
    {%- if is_needed %}
    union all
    select
        {{ id | join(', ') }},
        activity_date,
        journey_number,
        activity_date is not distinct from begun_date as was_begun
    from standing_days
    {%- if standing_list %}
    union all
    select
        {{ id | join(', ') }},
        activity_date,
        journey_number,
        was_begun
    from {{ standing_list }}
    where _batch > {{ built_batch() }}
    {%- endif %}
    {%- endif %}
),

listed as (
    select
        {{ id | join(', ') }},
        activity_date,
        journey_number,
        bool_or(was_begun) as was_begun,
        {{ building_batch() }} as _batch
    from reached
    group by {{ id | join(', ') }}, activity_date, journey_number
)

select * from listed
