{{ retention_by('week') }}
