{{ config(
    materialized='view',
    meta={'published_by_day': {
        'day': 'activity_date',
        'changed_in': 'int_days_changed',
        'source_table': 'session_events',
    }},
) }}
-- depends_on: {{ ref('int_days_changed') }}

with

stg_session_events as (
    select * from {{ ref('stg_session_events') }}
    where type = 'metric.logged'
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

metrics as (
    select
        stg_session_events.workspace_id,
        stg_session_events.event_id,
        stg_session_events.project_id,
        {{ session_key_of('stg_session_events') }} as session_key,
        int_users_interned.surviving_user_id as user_id,
        stg_session_events.name as metric_name,
        stg_session_events.numeric_value,
        stg_session_events.text_value,
        stg_session_events.unit,
        stg_session_events.occurred_at,
        stg_session_events.trace_id,
        stg_session_events.is_test,
        stg_session_events.activity_date,
        '{{ target.name }}' as environment
    from stg_session_events
    left join int_users_interned on stg_session_events.user_id = int_users_interned.user_id
)

select * from metrics
