{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={
        'replaces': {
            'listed_in': 'int_days_changed',
            'on': "old.activity_date = listed.activity_date
                and listed.source_table = 'platform_events'",
        },
        'tested_by_day': {
            'day': 'activity_date',
            'changed_in': 'int_days_changed',
            'source_table': 'platform_events',
        },
    },
) }}
{{ request_measures_by('activity_date', 'activity_date') }}
