-- Sign-in events as the marts need them: surviving users, device class, what counts as an attempt.

with

stg_auth_events as (
    select * from {{ ref('stg_auth_events') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

stg_user_agents as (
    select * from {{ ref('stg_user_agents') }}
),

resolved as (
    select
        stg_auth_events.event_id,
        stg_auth_events.workspace_id,
        stg_auth_events.project_id,
        stg_auth_events.type,
        stg_auth_events.occurred_at,
        stg_auth_events.activity_date,
        int_users_interned.surviving_user_id as user_id,
        coalesce(int_users_interned.kind = 'human', false)
        and not stg_auth_events.is_impersonated as is_counted_user,
        stg_auth_events.service_id,
        stg_auth_events.session_id,
        stg_auth_events.provider,
        stg_auth_events.method,
        stg_auth_events.outcome,
        stg_auth_events.failure_reason,
        stg_auth_events.trace_id,
        stg_user_agents.device_class,
        stg_auth_events.type in ('login', 'signup', 'mfa_verification', 'password_reset')
            as is_attempt,
        stg_auth_events.is_test,
        stg_auth_events.is_impersonated,
        stg_auth_events.is_clock_skewed
    from stg_auth_events
    left join int_users_interned on stg_auth_events.user_id = int_users_interned.user_id
    left join stg_user_agents on stg_auth_events.user_agent = stg_user_agents.user_agent
)

select * from resolved
