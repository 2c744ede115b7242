{#-
    fct_requests_hourly and fct_requests_daily: the same measures over another length of time.
    Percentiles don't add up over hours, so that the day is counted from requests again. Requests
    are read once: grouping sets put each into the row of its key and into that of all keys.
-#}

{% macro request_measures_by(bucket, name) %}
with

stg_platform_events as (
    select
        workspace_id,
        project_id,
        api_key_id,
        {{ bucket }} as {{ name }},
        status_code,
        latency_ms,
        safety_flagged
    from {{ ref('stg_platform_events') }}
    where
        type = 'api.request' and not is_test
        {{ and_day_changed('activity_date', 'platform_events') }}
),

counted as (
    select
        workspace_id,
        project_id,
        api_key_id,
        grouping(api_key_id) = 1 as is_all_keys,
        {{ name }},
        count(*) as request_count,
        count(*) filter (where status_code >= 400) as error_count,
        count(*) filter (where status_code between 400 and 499) as client_error_count,
        count(*) filter (where status_code >= 500) as server_error_count,
        {{ fine_mean('latency_ms') }} as latency_avg_ms,
        {{ percentiles_of('latency_ms', [0.5, 0.95, 0.99]) }} as latency_percentiles,
        count(*) filter (where safety_flagged) as safety_flagged_count
    from stg_platform_events
    group by
        grouping sets (
            (workspace_id, project_id, api_key_id, {{ name }}),
            (workspace_id, project_id, {{ name }})
        )
),

rated as (
    select
        workspace_id,
        project_id,
        api_key_id,
        is_all_keys,
        {{ name }},
        request_count,
        error_count,
        client_error_count,
        server_error_count,
        latency_avg_ms,
        {{ percentile_at('latency_percentiles', 1) }} as latency_p50_ms,
        {{ percentile_at('latency_percentiles', 2) }} as latency_p95_ms,
        {{ percentile_at('latency_percentiles', 3) }} as latency_p99_ms,
        safety_flagged_count,
        cast(safety_flagged_count as double) / request_count as safety_flagged_rate,
        '{{ target.name }}' as environment
    from counted
)

select * from rated
{% endmacro %}
