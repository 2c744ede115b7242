{{ resolve_users(ref('stg_user_versions')) }}
