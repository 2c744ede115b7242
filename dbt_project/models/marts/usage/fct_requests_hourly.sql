{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={
        'replaces': {
            'listed_in': 'int_days_changed',
            'on': "cast(old.activity_hour_at as date) = listed.activity_date
                and listed.source_table = 'platform_events'",
        },
        'tested_by_day': {
            'day': 'cast(activity_hour_at as date)',
            'changed_in': 'int_days_changed',
            'source_table': 'platform_events',
        },
    },
) }}
{{ request_measures_by("date_trunc('hour', occurred_at)", 'activity_hour_at') }}
