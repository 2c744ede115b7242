{{ auth_measures_by("date_trunc('hour', occurred_at)", 'activity_hour_at') }}
