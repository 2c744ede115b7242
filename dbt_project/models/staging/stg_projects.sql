{{ newest_versions('projects', ['id'], [
    'id as project_id',
    'workspace_id',
    'name',
    'created_at',
    'updated_at',
    'deleted_at',
]) }}
