{{ newest_versions('services', ['id'], [
    'id as service_id',
    'workspace_id',
    'project_id',
    'name',
    'created_at',
    'updated_at',
]) }}
