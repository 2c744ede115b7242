{#-
    fct_requests_hourly and fct_requests_daily: the same measures over another length of time.
    Percentiles don't add up over hours, nor over keys, so that the day and the row of all keys are
    counted from requests again. Grouping sets took as long (3 million requests, 2 cores: 3.9 s by
    hour, by day 2.6 instead of 2.1).
-#}

{% macro request_measures_by(bucket, name) %}
{%- set shares = [0.5, 0.95, 0.99] %}
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
    where type = 'api.request' and not is_test
    {{ and_day_changed('activity_date', 'platform_events') }}
),

counted as (
    {%- for is_all_keys in [false, true] %}
    {%- set api_key_id = 'cast(null as ' ~ dbt.type_string() ~ ')' if is_all_keys else 'api_key_id' %}
    select
        workspace_id,
        project_id,
        {{ api_key_id }} as api_key_id,
        {{ is_all_keys | lower }} as is_all_keys,
        {{ name }},
        count(*) as request_count,
        count(*) filter (where status_code >= 400) as error_count,
        count(*) filter (where status_code between 400 and 499) as client_error_count,
        count(*) filter (where status_code >= 500) as server_error_count,
        {{ fine_mean('latency_ms') }} as latency_avg_ms,
        {{ percentiles_of('latency_ms', shares) }} as latency_percentiles,
        count(*) filter (where safety_flagged) as safety_flagged_count
    from stg_platform_events
    group by
        workspace_id,
        project_id,
        {%- if not is_all_keys %}
        api_key_id,
        {%- endif %}
        {{ name }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
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
