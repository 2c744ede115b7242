{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_intervals_reached',
        'on': "listed.grain = 'week' and old.interval_start_date = listed.interval_start_date",
    }},
) }}
{{ lifecycle_by('week') }}
