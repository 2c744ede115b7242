-- Attempts of each project by hour: sign-in attempts, API requests and webhook attempts, how many
-- failed, and the traces of the earliest failures. A request failed when the server says so (status
-- 500 and above): what it refuses to a client is an answer.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={
        'replaces': {
            'listed_in': 'int_days_changed',
            'on': 'old.source_table = listed.source_table
                and old.activity_date = listed.activity_date',
        },
        'tested_by_day': {
            'day': 'activity_date',
            'changed_in': 'int_days_changed',
        },
    },
) }}

{%- set traces_kept = 20 %}

with

int_auth_events_resolved as (
    select * from {{ ref('int_auth_events_resolved') }}
    where is_attempt and not is_test
    {{ and_day_changed('activity_date', 'auth_events') }}
),

stg_platform_events as (
    select * from {{ ref('stg_platform_events') }}
    where type = 'api.request' and not is_test
    {{ and_day_changed('activity_date', 'platform_events') }}
),

stg_webhook_deliveries as (
    select * from {{ ref('stg_webhook_deliveries') }}
    where type = 'webhook.attempted' and not is_test
    {{ and_day_changed('activity_date', 'webhook_deliveries') }}
),

attempts as (
    {%- for table_name, relation, kind, is_failure in [
        ('auth_events', 'int_auth_events_resolved', 'auth', "outcome = 'failure'"),
        ('platform_events', 'stg_platform_events', 'api_request', 'status_code >= 500'),
        ('webhook_deliveries', 'stg_webhook_deliveries', 'webhook', "outcome = 'failed'"),
    ] %}
    select
        '{{ table_name }}' as source_table,
        '{{ kind }}' as kind,
        workspace_id,
        project_id,
        activity_date,
        date_trunc('hour', occurred_at) as activity_hour_at,
        occurred_at,
        coalesce({{ is_failure }}, false) as is_failure,
        trace_id
    from {{ relation }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

counted as (
    select
        source_table,
        kind,
        workspace_id,
        project_id,
        activity_date,
        activity_hour_at,
        cast(count(*) as bigint) as attempt_count,
        cast(count(*) filter (where is_failure) as bigint) as failure_count,
        cast(count(*) filter (where is_failure and trace_id is not null) as bigint)
            as traced_failure_count
    from attempts
    group by all
),

traces as (
    select
        kind,
        workspace_id,
        project_id,
        activity_hour_at,
        trace_id,
        min(occurred_at) as first_failed_at
    from attempts
    where is_failure and trace_id is not null
    group by all
),

traces_numbered as (
    select
        *,
        row_number() over (
            partition by kind, workspace_id, project_id, activity_hour_at
            order by first_failed_at, trace_id
        ) as trace_number
    from traces
),

traces_listed as (
    select
        kind,
        workspace_id,
        project_id,
        activity_hour_at,
        {{ distinct_list('trace_id') }} as trace_ids
    from traces_numbered
    where trace_number <= {{ traces_kept }}
    group by kind, workspace_id, project_id, activity_hour_at
),

traced as (
    select
        counted.*,
        traces_listed.trace_ids
    from counted
    left join traces_listed
        on
            counted.kind = traces_listed.kind
            and counted.workspace_id = traces_listed.workspace_id
            and counted.project_id = traces_listed.project_id
            and counted.activity_hour_at = traces_listed.activity_hour_at
)

select * from traced
