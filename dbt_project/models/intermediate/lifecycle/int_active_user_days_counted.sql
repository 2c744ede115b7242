-- Active user-days by the user who survives: what windows, lifecycle and retention are counted
-- from. The id of the event is given up for the survivor's number, because every day of a user
-- whose survivor or kind changed is among the changed days and is written anew; source tables are
-- given up too, save for how many of the qualifying events were successful logins.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_days_changed',
        'on': "old.activity_date = listed.activity_date
            and listed.source_table <> 'audit_events'",
    }},
) }}

with

int_days_changed as (
    select activity_date from {{ listed_now(ref('int_days_changed')) }} as listed
    where source_table <> 'audit_events'
),

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
    where qualifying_count > 0
    {{ and_listed('activity_date', 'int_days_changed') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
    where kind = 'human'
),

stg_auth_events as (
    select * from {{ ref('stg_auth_events') }}
    where type = 'login' and outcome = 'success' and not is_test and not is_impersonated
    {{ and_listed('activity_date', 'int_days_changed') }}
),

counted_apart as (
    select
        int_user_days_counted.workspace_id,
        int_user_days_counted.project_id,
        int_user_days_counted.service_id,
        int_users_interned.user_key,
        int_user_days_counted.activity_date,
        int_user_days_counted.qualifying_count,
        0 as login_count
    from int_user_days_counted
    inner join int_users_interned
        on int_user_days_counted.user_number = int_users_interned.user_number
    union all
    select
        stg_auth_events.workspace_id,
        stg_auth_events.project_id,
        stg_auth_events.service_id,
        int_users_interned.user_key,
        stg_auth_events.activity_date,
        0 as qualifying_count,
        1 as login_count
    from stg_auth_events
    inner join int_users_interned on stg_auth_events.user_id = int_users_interned.user_id
),

counted as (
    select
        workspace_id,
        project_id,
        service_id,
        user_key,
        activity_date,
        cast(sum(qualifying_count) as bigint) as qualifying_count,
        cast(sum(login_count) as bigint) as login_count
    from counted_apart
    group by workspace_id, project_id, service_id, user_key, activity_date
    -- where the catalogue says that a login is no activity, a login makes no user-day
    having sum(qualifying_count) > 0
)

select * from counted
