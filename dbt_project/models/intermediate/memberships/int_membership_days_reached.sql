-- From which day on this build writes the rows of a project in fct_memberships_daily anew. Who is a
-- member on one day is one on all later days, until something else happens: a changed day reaches
-- all that follow in its project. A project changed on a day when it has changes there now, or had
-- some as the mart stands. Where only the environment's last day moved, it is the days that come or
-- go at the end.

{%- set mart = standing('fct_memberships_daily') %}

with

int_member_days_counted as (
    select * from {{ ref('int_member_days_counted') }}
),

int_days_covered as (
    select * from {{ ref('int_days_covered') }}
),

changed_days as (
    select activity_date
    from {{ listed_now(ref('int_days_changed')) }} as listed
    where source_table = 'membership_events'
),

{%- if mart %}

standing_days as (
    select
        workspace_id,
        project_id,
        activity_date,
        invited_count + added_count + removed_count + role_changed_count > 0 as is_eventful
    from {{ mart }}
),

last_days as (
    select max(activity_date) as last_date
    from int_days_covered
),

standing_last_days as (
    select
        workspace_id,
        project_id,
        max(activity_date) as last_date
    from standing_days
    group by workspace_id, project_id
),

{%- endif %}

reached_days as (
    select
        workspace_id,
        project_id,
        activity_date
    from int_member_days_counted
    where activity_date in (select activity_date from changed_days)
    {%- if mart %}
    union all
    select
        workspace_id,
        project_id,
        activity_date
    from standing_days
    where is_eventful and activity_date in (select activity_date from changed_days)
    union all
    select
        standing_last_days.workspace_id,
        standing_last_days.project_id,
        {{ add_days('least(standing_last_days.last_date, last_days.last_date)', 1) }}
            as activity_date
    from standing_last_days
    inner join last_days on standing_last_days.last_date <> last_days.last_date
    {%- endif %}
),

listed as (
    select
        workspace_id,
        project_id,
        min(activity_date) as from_date,
        {{ building_batch() }} as _batch
    from reached_days
    group by workspace_id, project_id
)

select * from listed
