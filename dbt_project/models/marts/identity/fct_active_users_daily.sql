-- Rolling distinct users without a range join. A user active on day d counts in window N on the
-- days [d, d + N - 1]; cut each such interval at the user's next active day and no user is counted
-- twice. So a window gains a user on a day whose previous active day is N or more days back, and
-- loses one N days after a day whose next active day is N or more days ahead: both are counts by
-- day, and every window is a running total of gains less losses, all windows from one pass over the
-- user-days (43.6M events, 400 scopes, 365 days: 3 s on 2 cores, where a range join took as long
-- for one month of one window).
-- A build of changes reads, for each stretch of days it writes, the user-days of the stretch, and
-- of the widest window before it each user's last: who was active earlier counts on none of its
-- days, and no window that ends in it asks for more (four days of 300, 12,500 user-days each: 0.7 s
-- in place of 5.4 with every day).
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_active_days_reached',
        'on': 'old.activity_date = listed.activity_date',
    }},
) }}

{%- set windows = var('user_windows') %}
{%- set reach = (windows | max) - 1 %}

with

int_active_user_days_counted as (
    select * from {{ ref('int_active_user_days_counted') }}
),

int_days_covered as (
    select * from {{ ref('int_days_covered') }}
),

int_active_days_reached as (
    select * from {{ listed_now(ref('int_active_days_reached')) }} as listed
),

{%- if is_incremental() %}

-- days nearer to each other than the widest window read the same user-days: they are one stretch
stretch_starts as (
    select
        activity_date,
        case
            when
                {{ days_between('lag(activity_date) over by_day', 'activity_date') }} <= {{ reach }}
                then 0
            else 1
        end as is_start
    from int_active_days_reached
    window by_day as (order by activity_date)
),

stretch_days as (
    select
        activity_date,
        sum(is_start) over (order by activity_date) as stretch
    from stretch_starts
),

stretches as (
    select
        cast(stretch as integer) as stretch,
        {{ add_days('min(activity_date)', -1) }} as day_before,
        {{ add_days('min(activity_date)', -reach) }} as from_date,
        max(activity_date) as to_date
    from stretch_days
    group by stretch
),

days_read as (
    select
        stretches.stretch,
        stretches.day_before,
        days.activity_date
    from stretches
    inner join (
        select
            stretch,
            {{ days_from_to('from_date', 'to_date') }} as activity_date
        from stretches
    ) as days on stretches.stretch = days.stretch
),

user_days as (
    select
        days_read.stretch,
        int_active_user_days_counted.workspace_id,
        int_active_user_days_counted.project_id,
        int_active_user_days_counted.service_id,
        int_active_user_days_counted.user_key,
        max(int_active_user_days_counted.activity_date) as activity_date
    from int_active_user_days_counted
    inner join days_read on int_active_user_days_counted.activity_date = days_read.activity_date
    group by
        days_read.stretch,
        int_active_user_days_counted.workspace_id,
        int_active_user_days_counted.project_id,
        int_active_user_days_counted.service_id,
        int_active_user_days_counted.user_key,
        greatest(int_active_user_days_counted.activity_date, days_read.day_before)
),

{%- else %}

days_read as (
    select
        1 as stretch,
        activity_date
    from int_days_covered
),

user_days as (
    select
        1 as stretch,
        workspace_id,
        project_id,
        service_id,
        user_key,
        activity_date
    from int_active_user_days_counted
),

{%- endif %}

places as (
    select distinct
        workspace_id,
        project_id,
        service_id
    from user_days
),

scope_names as (
    {{ rows_by_scope('places') }}
    {%- if is_incremental() %}
    union
    select
        scope,
        workspace_id,
        project_id,
        service_id
    from {{ this }}
    {%- endif %}
),

scopes as (
    select
        cast(row_number() over () as integer) as scope_key,
        scope_names.*
    from scope_names
),

place_scopes as (
    select
        places.workspace_id,
        places.project_id,
        places.service_id,
        scopes.scope_key
    from places
    inner join scopes
        on
            places.workspace_id = scopes.workspace_id
            and (scopes.project_id is null or places.project_id = scopes.project_id)
            and (scopes.service_id is null or places.service_id = scopes.service_id)
),

scoped as (
    select distinct
        user_days.stretch,
        place_scopes.scope_key,
        user_days.user_key,
        user_days.activity_date
    from user_days
    inner join place_scopes
        on
            user_days.workspace_id = place_scopes.workspace_id
            and user_days.project_id = place_scopes.project_id
            and user_days.service_id is not distinct from place_scopes.service_id
),

gaps as (
    select
        stretch,
        scope_key,
        activity_date,
        {{ days_between('lag(activity_date) over user_days', 'activity_date') }} as days_since,
        {{ days_between('activity_date', 'lead(activity_date) over user_days') }} as days_until
    from scoped
    window user_days as (partition by stretch, scope_key, user_key order by activity_date)
),

edges as (
    select
        {%- for days in windows %}
        count(*) filter (where coalesce(days_since >= {{ days }}, true)) as gained_{{ days }}d,
        count(*) filter (where coalesce(days_until >= {{ days }}, true)) as last_{{ days }}d,
        {%- endfor %}
        stretch,
        scope_key,
        activity_date
    from gaps
    group by stretch, scope_key, activity_date
),

{%- if is_incremental() %}

standing_first_days as (
    select
        scope,
        workspace_id,
        project_id,
        service_id,
        min(activity_date) as first_date
    from {{ this }}
    where
        users_1d > 0
        and activity_date not in (select activity_date from int_active_days_reached)
    group by all
),

{%- endif %}

-- a scope's first day stands among the days that are not written anew, or is among those read
first_days as (
    select
        scope_key,
        min(first_date) as first_date
    from (
        select
            scope_key,
            min(activity_date) as first_date
        from edges
        group by scope_key
        {%- if is_incremental() %}
        union all
        select
            scopes.scope_key,
            standing_first_days.first_date
        from standing_first_days
        inner join scopes
            on
                standing_first_days.scope = scopes.scope
                and standing_first_days.workspace_id = scopes.workspace_id
                and standing_first_days.project_id is not distinct from scopes.project_id
                and standing_first_days.service_id is not distinct from scopes.service_id
        {%- endif %}
    ) as found
    group by scope_key
),

spine as (
    select
        days_read.stretch,
        first_days.scope_key,
        int_days_covered.activity_date,
        int_days_covered.is_complete
    from first_days
    cross join days_read
    inner join int_days_covered on days_read.activity_date = int_days_covered.activity_date
    where int_days_covered.activity_date >= first_days.first_date
),

running_totals as (
    select
        {%- for days in windows %}
        sum(edges.gained_{{ days }}d) over scope_days as gained_{{ days }}d,
        sum(edges.last_{{ days }}d) over scope_days as last_{{ days }}d,
        {%- endfor %}
        spine.stretch,
        spine.scope_key,
        spine.activity_date,
        spine.is_complete
    from spine
    left join edges
        on
            spine.stretch = edges.stretch
            and spine.scope_key = edges.scope_key
            and spine.activity_date = edges.activity_date
    window
        scope_days as (
            partition by spine.stretch, spine.scope_key order by spine.activity_date
        )
),

windows as (
    select
        {%- for days in windows %}
        cast(
            coalesce(gained_{{ days }}d, 0)
            - coalesce(lag(last_{{ days }}d, {{ days }}) over scope_days, 0) as bigint
        ) as users_{{ days }}d,
        {%- endfor %}
        scope_key,
        activity_date,
        is_complete
    from running_totals
    window scope_days as (partition by stretch, scope_key order by activity_date)
),

described as (
    select
        scopes.scope,
        scopes.workspace_id,
        scopes.project_id,
        scopes.service_id,
        windows.activity_date,
        {%- for days in windows %}
        windows.users_{{ days }}d,
        {%- endfor %}
        cast(windows.users_1d as double) / nullif(windows.users_30d, 0) as stickiness,
        windows.is_complete,
        '{{ target.name }}' as environment
    from windows
    inner join scopes on windows.scope_key = scopes.scope_key
    where true
    {{ and_listed('windows.activity_date', 'int_active_days_reached') }}
)

select * from described
