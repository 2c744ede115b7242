{{ newest_versions('users', ['id'], [
    'id as user_id',
    'workspace_id',
    'kind',
    'merged_into',
    'created_at',
    'updated_at',
    'deleted_at',
]) }}
