{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={
        'replaces': {
            'listed_in': 'int_days_changed',
            'on': "old.activity_date = listed.activity_date and listed.source_table = 'auth_events'",
        },
        'tested_by_day': {
            'day': 'activity_date',
            'changed_in': 'int_days_changed',
            'source_table': 'auth_events',
        },
    },
) }}
{{ auth_measures_by('cast(occurred_at as date)', 'activity_date') }}
