-- The log that drives every model of whole days: which days of which event table have other rows,
-- or the same rows of people counted otherwise, since the last complete build. A day changes by
-- an event that landed, however late, also one that took the place of another,   the displaced
-- event, on the day it had stood on,   a user whose survivor or kind changed, on every day they
-- had an event or were the actor of an audit event,   a service with another name, on every day it
-- was named. Rows stay: what was published at batch B is behind on the days with _batch > B.
{{ config(materialized='incremental', incremental_strategy='log') }}

{%- set standing_user_days = standing('int_user_days_counted') %}
{%- set standing_event_days = standing('int_event_days_counted') %}
{%- set standing_actor_days = standing('int_actor_days_counted') %}

with

int_events_unioned as (
    select
        source_table,
        activity_date
    from {{ ref('int_events_unioned') }}
    {{ where_landed_since() }}
    union all
    select
        'audit_events' as source_table,
        activity_date
    from {{ ref('stg_audit_events') }}
    {{ where_landed_since() }}
),

stg_displaced_records as (
    select * from {{ ref('stg_displaced_records') }}
    {{ where_landed_since() }}
),

int_users_changed as (
    select * from {{ ref('int_users_changed') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

stg_service_versions as (
    select
        *,
        _batch <= {{ built_batch() }} as is_known_before
    from {{ ref('stg_service_versions') }}
),

services_renamed as (
    select
        service_id,
        -- a name that is taken away is another name: `latest` looks past nulls
        {{ latest("coalesce(name, '')", ['updated_at', '_content_hash']) }} as name_now,
        {{ latest(
            "case when is_known_before then coalesce(name, '') end",
            ['updated_at', '_content_hash']
        ) }} as name_then
    from stg_service_versions
    group by service_id
    having name_now is distinct from name_then
),

changes as (
    select
        source_table,
        activity_date
    from int_events_unioned
    union
    select
        source_table,
        activity_date
    from stg_displaced_records
    {%- if is_incremental() and standing_user_days %}
    union
    select
        user_days.source_table,
        user_days.activity_date
    from {{ standing_user_days }} as user_days
    inner join int_users_interned on user_days.user_number = int_users_interned.user_number
    inner join int_users_changed on int_users_interned.user_id = int_users_changed.user_id
    {%- endif %}
    {%- if is_incremental() and standing_actor_days %}
    union
    select
        'audit_events' as source_table,
        actor_days.activity_date
    from {{ standing_actor_days }} as actor_days
    inner join int_users_changed on actor_days.actor_id = int_users_changed.user_id
    {%- endif %}
    {%- if is_incremental() and standing_event_days %}
    union
    select
        event_days.source_table,
        event_days.activity_date
    from {{ standing_event_days }} as event_days
    inner join services_renamed on event_days.service_id = services_renamed.service_id
    {%- endif %}
),

changed as (
    select
        source_table,
        activity_date,
        {{ building_batch() }} as _batch
    from changes
)

select * from changed
