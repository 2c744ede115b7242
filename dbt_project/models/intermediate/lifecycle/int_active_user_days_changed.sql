-- The log of days on which somebody was active, or was active for the first time, otherwise than at
-- the last complete build. Beside the changed days that are the days on which a user was first
-- active before or is now: a first day that moved did so from or to a changed day, and the other
-- end, if it did not change itself, is the user's first active day among those that did not. No
-- former first day has to be remembered for it, so that a build that failed half-way loses nothing.
{{ config(materialized='incremental', incremental_strategy='log') }}

with

int_days_changed as (
    select activity_date from {{ listed_now(ref('int_days_changed')) }} as listed
    where source_table <> 'audit_events'
),

int_events_judged as (
    select * from {{ ref('int_events_judged') }}
    where is_qualifying and _batch > {{ built_batch() }}
),

stg_displaced_records as (
    select * from {{ ref('stg_displaced_records') }}
    where _batch > {{ built_batch() }}
),

int_users_changed as (
    select * from {{ ref('int_users_changed') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

int_active_user_days_counted as (
    select * from {{ ref('int_active_user_days_counted') }}
    where activity_date not in (select activity_date from int_days_changed)
),

{%- if is_incremental() %}

-- Whose days came or went, and the earliest of those. Of a user whose survivor or kind changed any
-- day may have, under who they were counted as and under who they are counted as now.
touched as (
    select
        user_id,
        activity_date
    from int_events_judged
    union all
    select
        user_id,
        activity_date
    from stg_displaced_records
    union all
    select
        surviving_user_id as user_id,
        date '0001-01-01' as activity_date
    from int_users_changed
    union all
    select
        former_surviving_user_id as user_id,
        date '0001-01-01' as activity_date
    from int_users_changed
),

touched_users as (
    select
        int_users_interned.user_key,
        min(touched.activity_date) as touched_date
    from touched
    inner join int_users_interned on touched.user_id = int_users_interned.user_id
    group by int_users_interned.user_key
),

first_unchanged_days as (
    select
        touched_users.user_key,
        touched_users.touched_date,
        min(int_active_user_days_counted.activity_date) as first_date
    from touched_users
    inner join int_active_user_days_counted
        on touched_users.user_key = int_active_user_days_counted.user_key
    group by
        touched_users.user_key,
        touched_users.touched_date,
        int_active_user_days_counted.workspace_id,
        int_active_user_days_counted.project_id
),

days as (
    select activity_date from int_days_changed
    union
    select first_date as activity_date from first_unchanged_days
    where touched_date < first_date
),

{%- else %}

days as (
    select distinct activity_date from int_days_changed
),

{%- endif %}

changed as (
    select
        activity_date,
        {{ building_batch() }} as _batch
    from days
)

select * from changed
