{{ retention_by('month') }}
