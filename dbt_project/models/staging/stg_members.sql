{{ newest_versions('members', ['workspace_id', 'user_id'], [
    'workspace_id',
    'user_id',
    'role',
    'created_at',
    'updated_at',
    'removed_at',
]) }}
