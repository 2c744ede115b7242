{#-
    fct_auth_hourly and fct_auth_daily: the same measures over another length of time. Distinct
    users don't add up over hours, so that the day is counted from events again.
-#}

{% macro auth_measures_by(bucket, name) %}
with

int_auth_events_resolved as (
    select * from {{ ref('int_auth_events_resolved') }}
    where not is_test and type <> 'logout'
    {{ and_day_changed('activity_date', 'auth_events') }}
),

counted as (
    select
        workspace_id,
        project_id,
        service_id,
        provider,
        method,
        {{ bucket }} as {{ name }},
        count(*) filter (where is_attempt) as attempt_count,
        count(*) filter (where is_attempt and outcome = 'success') as success_count,
        count(*) filter (where is_attempt and outcome = 'failure') as failure_count,
        count(*) filter (where type = 'login') as login_count,
        count(*) filter (where type = 'login' and outcome = 'success') as login_success_count,
        count(*) filter (where type = 'token_refresh') as token_refresh_count,
        count(*) filter (where type = 'token_exchange') as token_exchange_count,
        count(*) filter (where type = 'mfa_challenge') as mfa_challenge_count,
        count(*) filter (where type = 'mfa_verification' and outcome = 'success')
            as mfa_pass_count,
        count(distinct case when is_counted_user then user_id end) as user_count,
        count(*) filter (where is_attempt and outcome = 'failure' and trace_id is not null)
            as failures_with_trace_count
    from int_auth_events_resolved
    group by workspace_id, project_id, service_id, provider, method, {{ bucket }}
),

rated as (
    select
        workspace_id,
        project_id,
        service_id,
        provider,
        method,
        {{ name }},
        attempt_count,
        success_count,
        failure_count,
        cast(success_count as double) / nullif(success_count + failure_count, 0) as success_rate,
        login_count,
        login_success_count,
        token_refresh_count,
        token_exchange_count,
        mfa_challenge_count,
        mfa_pass_count,
        cast(mfa_challenge_count as double) / nullif(login_success_count, 0) as mfa_challenge_rate,
        cast(mfa_pass_count as double) / nullif(mfa_challenge_count, 0) as mfa_pass_rate,
        user_count,
        failures_with_trace_count,
        '{{ target.name }}' as environment
    from counted
)

select * from rated
{% endmacro %}
