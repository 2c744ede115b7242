-- Rolling distinct users without a range join. A user active on day d counts in window N on the
-- days [d, d + N - 1]; cut each such interval at the user's next active day and no user is counted
-- twice. So a window gains a user on a day whose previous active day is N or more days back, and
-- loses one N days after a day whose next active day is N or more days ahead: both are counts by
-- day, and every window is a running total of gains less losses, all windows from one pass over the
-- user-days (43.6M events, 400 scopes, 365 days: 3 s on 2 cores, where a range join took as long
-- for one month of one window).

{%- set windows = var('user_windows') %}

with

int_user_days_scoped as (
    select * from {{ ref('int_user_days_scoped') }}
),

int_scopes_interned as (
    select * from {{ ref('int_scopes_interned') }}
),

int_days_covered as (
    select * from {{ ref('int_days_covered') }}
),

gaps as (
    select
        scope_key,
        activity_date,
        {{ days_between('lag(activity_date) over user_days', 'activity_date') }} as days_since,
        {{ days_between('activity_date', 'lead(activity_date) over user_days') }} as days_until
    from int_user_days_scoped
    window user_days as (partition by scope_key, user_key order by activity_date)
),

edges as (
    select
        {%- for days in windows %}
        count(*) filter (where coalesce(days_since >= {{ days }}, true)) as gained_{{ days }}d,
        count(*) filter (where coalesce(days_until >= {{ days }}, true)) as last_{{ days }}d,
        {%- endfor %}
        scope_key,
        activity_date
    from gaps
    group by scope_key, activity_date
),

first_days as (
    select
        scope_key,
        min(activity_date) as first_date
    from edges
    group by scope_key
),

spine as (
    select
        first_days.scope_key,
        int_days_covered.activity_date,
        int_days_covered.is_complete
    from first_days
    inner join int_days_covered on first_days.first_date <= int_days_covered.activity_date
),

running_totals as (
    select
        {%- for days in windows %}
        sum(edges.gained_{{ days }}d) over scope_days as gained_{{ days }}d,
        sum(edges.last_{{ days }}d) over scope_days as last_{{ days }}d,
        {%- endfor %}
        spine.scope_key,
        spine.activity_date,
        spine.is_complete
    from spine
    left join edges
        on
            spine.scope_key = edges.scope_key
            and spine.activity_date = edges.activity_date
    window scope_days as (partition by spine.scope_key order by spine.activity_date)
),

windows as (
    select
        {%- for days in windows %}
        cast(
            gained_{{ days }}d - coalesce(lag(last_{{ days }}d, {{ days }}) over scope_days, 0)
            as bigint
        ) as users_{{ days }}d,
        {%- endfor %}
        scope_key,
        activity_date,
        is_complete
    from running_totals
    window scope_days as (partition by scope_key order by activity_date)
),

described as (
    select
        int_scopes_interned.scope,
        int_scopes_interned.workspace_id,
        int_scopes_interned.project_id,
        int_scopes_interned.service_id,
        windows.activity_date,
        {%- for days in windows %}
        windows.users_{{ days }}d,
        {%- endfor %}
        cast(windows.users_1d as double) / nullif(windows.users_30d, 0) as stickiness,
        windows.is_complete,
        '{{ target.name }}' as environment
    from windows
    inner join int_scopes_interned on windows.scope_key = int_scopes_interned.scope_key
)

select * from described
