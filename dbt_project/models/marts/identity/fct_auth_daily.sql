{{ auth_measures_by('cast(occurred_at as date)', 'activity_date') }}
