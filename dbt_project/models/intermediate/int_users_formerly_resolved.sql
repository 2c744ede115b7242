{{ resolve_users(ref('stg_user_versions'), '_batch <= ' ~ built_batch()) }}
