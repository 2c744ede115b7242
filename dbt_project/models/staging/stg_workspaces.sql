{{ newest_versions('workspaces', ['id'], [
    'id as workspace_id',
    'slug',
    'name',
    'plan_id',
    'created_at',
    'updated_at',
    'deleted_at',
]) }}
