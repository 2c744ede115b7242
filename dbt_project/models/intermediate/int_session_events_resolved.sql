-- Session events with what sessionization asks of each: whose it is, whether it closes, whether it
-- shows engagement.

with

stg_session_events as (
    select * from {{ ref('stg_session_events') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

stg_user_agents as (
    select * from {{ ref('stg_user_agents') }}
),

resolved as (
    select
        stg_session_events.event_id,
        stg_session_events.workspace_id,
        stg_session_events.project_id,
        stg_session_events.session_id,
        stg_session_events.anonymous_id,
        int_users_interned.user_key,
        int_users_interned.surviving_user_id as user_id,
        stg_session_events.occurred_at,
        stg_session_events.activity_date,
        stg_session_events.type,
        stg_session_events.type in ('session.ended', 'session.revoked') as is_closing,
        stg_session_events.type = 'journey.completed' as is_journey_completion,
        stg_session_events.type = 'action.run' as is_action_run,
        stg_session_events.type in ('session.activity', 'action.run', 'metric.logged')
        or stg_session_events.type like 'journey.%'
        or stg_session_events.type like 'custom.%' as is_engagement,
        stg_session_events.reason as revoke_reason,
        stg_session_events.revoked_by_kind,
        stg_session_events.trace_id,
        stg_user_agents.device_class,
        stg_session_events.is_test,
        stg_session_events.is_impersonated,
        stg_session_events._batch
    from stg_session_events
    left join int_users_interned on stg_session_events.user_id = int_users_interned.user_id
    left join stg_user_agents on stg_session_events.user_agent = stg_user_agents.user_agent
)

select * from resolved
