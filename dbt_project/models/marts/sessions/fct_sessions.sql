{{ config(
    materialized='view',
    meta={'published_by_day': {
        'day': 'session_date',
        'changed_in': 'int_session_days_changed',
    }},
) }}
-- depends_on: {{ ref('int_session_days_changed') }}

with

int_sessions_identified as (
    select * from {{ ref('int_sessions_identified') }}
),

int_sessions_inferred as (
    select * from {{ ref('int_sessions_inferred') }}
),

unioned as (
    {%- for model, session_id, revoked_at, active_dates in [
        ('int_sessions_identified', 'session_id', 'first_revoked_at', 'activity_dates'),
        (
            'int_sessions_inferred',
            'cast(null as ' ~ dbt.type_string() ~ ')',
            'ended_at',
            list_of_days('started_date', 'last_event_date'),
        ),
    ] %}
    select
        session_key,
        workspace_id,
        project_id,
        {{ session_id }} as session_id,
        user_id,
        anonymous_id,
        started_at,
        ended_at,
        started_date as session_date,
        ended_date,
        {{ active_dates }} as active_dates,
        {{ seconds_between('started_at', 'ended_at') }} as duration_seconds,
        cast(event_count as bigint) as event_count,
        cast(action_run_count as bigint) as action_run_count,
        device_class,
        engagement_count,
        journey_completion_count,
        is_ended,
        is_revoked,
        case when is_revoked then {{ revoked_at }} end as revoked_at,
        case when is_revoked then revoke_reason end as revoke_reason,
        case when is_revoked then revoked_by_kind end as revoked_by_kind,
        case when is_revoked then coalesce(revoke_trace_id, trace_id) else trace_id end as trace_id,
        is_test,
        is_impersonated
    from {{ model }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

judged as (
    select
        session_key,
        workspace_id,
        project_id,
        session_id,
        user_id,
        anonymous_id,
        started_at,
        ended_at,
        session_date,
        ended_date,
        duration_seconds,
        event_count,
        action_run_count,
        device_class,
        duration_seconds > 10
        or engagement_count >= 2
        or journey_completion_count >= 1 as is_engaged,
        duration_seconds > 24 * 60 * 60 as is_overlong,
        is_ended,
        is_revoked,
        revoked_at,
        revoke_reason,
        revoked_by_kind,
        trace_id,
        is_test,
        is_impersonated,
        active_dates,
        '{{ target.name }}' as environment
    from unioned
)

select * from judged
