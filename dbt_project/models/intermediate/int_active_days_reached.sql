-- The days of fct_active_users_daily that this build writes anew. An active user-day counts in the
-- widest window until as many days after it; beside those go the days whose completeness changed
-- and those that come or go at either end of a scope.

{%- set reach = (var('user_windows') | max) - 1 %}
{%- set mart = standing('fct_active_users_daily') %}

with

int_days_covered as (
    select * from {{ ref('int_days_covered') }}
),

changed_days as (
    select distinct activity_date
    from {{ listed_now(ref('int_days_changed')) }} as listed
    where source_table <> 'audit_events'
),

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
    where qualifying_count > 0 and activity_date in (select activity_date from changed_days)
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
    where kind = 'human'
),

{%- if mart %}

changed_user_days as (
    select distinct
        int_user_days_counted.workspace_id,
        int_user_days_counted.project_id,
        int_user_days_counted.service_id,
        int_user_days_counted.activity_date
    from int_user_days_counted
    inner join int_users_interned
        on int_user_days_counted.user_number = int_users_interned.user_number
),

actives as (
    {{ rows_by_scope('changed_user_days', ['activity_date']) }}
),

{{ spine_days_moved(mart, ['scope', 'workspace_id', 'project_id', 'service_id'], 'users_1d') }},

completeness_changed as (
    select distinct standing.activity_date
    from {{ mart }} as standing
    inner join int_days_covered on standing.activity_date = int_days_covered.activity_date
    where standing.is_complete <> int_days_covered.is_complete
),
{%- endif %}

reached_days as (
    select distinct
        {{ days_from_to('activity_date', add_days('activity_date', reach)) }} as activity_date
    from changed_days
),

reached as (
    select activity_date from reached_days
    where activity_date <= (select max(activity_date) from int_days_covered)
    {%- if mart %}
    union
    select activity_date from spine_days_moved
    union
    select activity_date from completeness_changed
    {%- endif %}
),

listed as (
    select
        activity_date,
        {{ building_batch() }} as _batch
    from reached
)

select * from listed
