{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_days_changed',
        'on': "old.activity_date = listed.activity_date and listed.source_table = 'session_events'",
    }},
) }}

{%- set shares = [0.5, 0.95] %}

with

fct_session_metrics as (
    select
        workspace_id,
        project_id,
        metric_name,
        activity_date,
        numeric_value,
        text_value
    from {{ ref('fct_session_metrics') }}
    where not is_test
    {{ and_day_changed('activity_date', 'session_events') }}
),

counted as (
    select
        workspace_id,
        project_id,
        metric_name,
        activity_date,
        count(*) as sample_count,
        count(numeric_value) as numeric_count,
        count(text_value) as text_count,
        {{ ordered_mean('numeric_value') }} as mean_value,
        {{ percentiles_of('numeric_value', shares) }} as percentiles
    from fct_session_metrics
    group by workspace_id, project_id, metric_name, activity_date
),

described as (
    select
        workspace_id,
        project_id,
        metric_name,
        activity_date,
        sample_count,
        numeric_count,
        text_count,
        mean_value,
        {{ percentile_at('percentiles', 1) }} as p50_value,
        {{ percentile_at('percentiles', 2) }} as p95_value,
        '{{ target.name }}' as environment
    from counted
)

select * from described
