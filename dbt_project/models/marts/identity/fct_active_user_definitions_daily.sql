-- The same days under several counting rules. A rule makes user-days of its own; a user counts from
-- a day of theirs until 30 days after it or their next such day (fct_active_users_daily.sql tells
-- why), in the calendar month from their first day in it. So each rule is a running total of users
-- who come and go. It is made month by month, each from its own days and the 29 before them, so
-- that a build of changes does what a full one does, of fewer months.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_definition_months_reached',
        'on': month_of('old.activity_date') ~ ' = listed.month_start_date',
    }},
) }}

with

fct_active_users_daily as (
    select * from {{ ref('fct_active_users_daily') }}
    where scope = 'workspace'
),

int_active_user_days_counted as (
    select * from {{ ref('int_active_user_days_counted') }}
),

int_users_started as (
    select * from {{ ref('int_users_started') }}
    where scope = 'workspace'
),

int_intervals_covered as (
    select * from {{ ref('int_intervals_covered') }}
    where grain = 'month'
),

int_definition_months_reached as (
    select * from {{ listed_now(ref('int_definition_months_reached')) }} as listed
),

months as (
    select interval_start_date as month_start_date
    from int_intervals_covered
    where true
    {{ and_listed(
        'interval_start_date', 'int_definition_months_reached', 'month_start_date'
    ) }}
),

month_days as (
    select
        month_start_date,
        {{ days_from_to(
            add_days('month_start_date', -29), last_day_of_month('month_start_date')
        ) }} as activity_date
    from months
),

user_days as (
    select
        int_active_user_days_counted.workspace_id,
        int_active_user_days_counted.user_key,
        int_active_user_days_counted.activity_date,
        bool_or(int_active_user_days_counted.login_count > 0) as is_signed_in,
        int_active_user_days_counted.activity_date > min(int_users_started.first_active_date)
            as is_back
    from int_active_user_days_counted
    inner join int_users_started
        on
            int_active_user_days_counted.workspace_id = int_users_started.workspace_id
            and int_active_user_days_counted.user_key = int_users_started.user_key
    where true
    {{ and_listed('int_active_user_days_counted.activity_date', 'month_days') }}
    group by
        int_active_user_days_counted.workspace_id,
        int_active_user_days_counted.user_key,
        int_active_user_days_counted.activity_date
),

rule_days as (
    {%- for rule, condition in [('sign_in', 'is_signed_in'), ('returning', 'is_back')] %}
    select
        '{{ rule }}' as counting_rule,
        month_days.month_start_date,
        user_days.workspace_id,
        user_days.user_key,
        user_days.activity_date
    from user_days
    inner join month_days on user_days.activity_date = month_days.activity_date
    where user_days.{{ condition }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

gaps as (
    select
        counting_rule,
        month_start_date,
        workspace_id,
        activity_date,
        coalesce(
            {{ days_between('lag(activity_date) over user_days', 'activity_date') }} >= 30, true
        ) as is_gained,
        coalesce(
            {{ days_between('activity_date', 'lead(activity_date) over user_days') }} >= 30, true
        ) as is_lost
    from rule_days
    window
        user_days as (
            partition by counting_rule, month_start_date, workspace_id, user_key
            order by activity_date
        )
),

changes as (
    select
        counting_rule,
        month_start_date,
        workspace_id,
        activity_date,
        count(*) as change_count
    from gaps
    where is_gained
    group by counting_rule, month_start_date, workspace_id, activity_date
    union all
    select
        counting_rule,
        month_start_date,
        workspace_id,
        {{ add_days('activity_date', 30) }} as activity_date,
        -count(*) as change_count
    from gaps
    where is_lost
    group by counting_rule, month_start_date, workspace_id, activity_date
    union all
    select
        'calendar_month' as counting_rule,
        month_start_date,
        workspace_id,
        first_date as activity_date,
        count(*) as change_count
    from (
        select
            {{ month_of('activity_date') }} as month_start_date,
            workspace_id,
            min(activity_date) as first_date
        from user_days
        group by {{ month_of('activity_date') }}, workspace_id, user_key
    ) as first_days
    group by month_start_date, workspace_id, first_date
),

changes_by_day as (
    select
        month_start_date,
        workspace_id,
        activity_date,
        sum(case when counting_rule = 'sign_in' then change_count end) as sign_in_change,
        sum(case when counting_rule = 'returning' then change_count end) as returning_change,
        sum(case when counting_rule = 'calendar_month' then change_count end)
            as calendar_month_change
    from changes
    group by month_start_date, workspace_id, activity_date
),

workspaces as (
    select distinct workspace_id
    from fct_active_users_daily
),

running_totals as (
    select
        month_days.month_start_date,
        workspaces.workspace_id,
        month_days.activity_date,
        sum(changes_by_day.sign_in_change) over workspace_days as sign_in_count,
        sum(changes_by_day.returning_change) over workspace_days as returning_count,
        sum(changes_by_day.calendar_month_change) over workspace_days as calendar_month_count,
        sum(fct_active_users_daily.users_1d) over (
            partition by month_days.month_start_date, workspaces.workspace_id
            order by month_days.activity_date
            rows between 29 preceding and current row
        ) as user_day_count,
        fct_active_users_daily.users_30d,
        fct_active_users_daily.is_complete
    from month_days
    cross join workspaces
    left join changes_by_day
        on
            month_days.month_start_date = changes_by_day.month_start_date
            and month_days.activity_date = changes_by_day.activity_date
            and workspaces.workspace_id = changes_by_day.workspace_id
    left join fct_active_users_daily
        on
            month_days.activity_date = fct_active_users_daily.activity_date
            and workspaces.workspace_id = fct_active_users_daily.workspace_id
    window
        workspace_days as (
            partition by month_days.month_start_date, workspaces.workspace_id
            order by month_days.activity_date
        )
),

described as (
    select
        workspace_id,
        activity_date,
        users_30d as mau_rolling_30d,
        cast(coalesce(calendar_month_count, 0) as bigint) as active_users_calendar_month,
        cast(coalesce(sign_in_count, 0) as bigint) as mau_sign_in_only,
        cast(coalesce(returning_count, 0) as bigint) as mau_returning_only,
        cast(user_day_count as double) / 30 as mean_dau_30d,
        is_complete,
        '{{ target.name }}' as environment
    from running_totals
    -- a workspace has a row from its first active day to the environment's last
    where activity_date >= month_start_date and users_30d is not null
)

select * from described
