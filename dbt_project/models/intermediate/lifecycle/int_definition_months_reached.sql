-- The calendar months of fct_active_user_definitions_daily that this build writes anew. A day on
-- which somebody was active, or first active, otherwise counts in the 30 days from it on and up to
-- the end of its month; beside those go the months in which rows come or go or are complete
-- otherwise, told by the mart as it stands.

{%- set mart = standing('fct_active_user_definitions_daily') %}

with

int_active_user_days_changed as (
    select * from {{ listed_now(ref('int_active_user_days_changed')) }} as listed
),

int_users_started as (
    select * from {{ ref('int_users_started') }}
    where scope = 'workspace'
),

int_days_covered as (
    select * from {{ ref('int_days_covered') }}
),

-- from the last day of January that is as far as March
days as (
    select distinct
        {{ days_from_to('activity_date', add_days('activity_date', 29)) }} as activity_date
    from int_active_user_days_changed
),

{%- if mart %}

workspaces_started as (
    select
        workspace_id,
        min(first_active_date) as first_active_date
    from int_users_started
    group by workspace_id
),

expected as (
    select
        workspaces_started.workspace_id,
        int_days_covered.activity_date,
        int_days_covered.is_complete
    from workspaces_started
    inner join int_days_covered
        on workspaces_started.first_active_date <= int_days_covered.activity_date
),

standing as (
    select
        workspace_id,
        activity_date,
        is_complete
    from {{ mart }}
),

moved as (
    (
        select * from expected
        except
        select * from standing
    )
    union all
    (
        select * from standing
        except
        select * from expected
    )
),

{%- endif %}

reached as (
    select {{ month_of('activity_date') }} as month_start_date from days
    {%- if mart %}
    union
    select {{ month_of('activity_date') }} as month_start_date from moved
    {%- endif %}
),

listed as (
    select distinct
        month_start_date,
        {{ building_batch() }} as _batch
    from reached
)

select * from listed
