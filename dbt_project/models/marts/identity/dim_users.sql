with

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

stg_users as (
    select * from {{ ref('stg_users') }}
),

int_events_unioned as (
    select * from {{ ref('int_events_unioned') }}
    where not is_test and user_id is not null
),

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
),

-- test traffic names users too: it must not bring a user into being
known_users as (
    select user_id from stg_users
    union
    select merged_into as user_id from stg_users
    where merged_into is not null
    union
    select user_id from int_events_unioned
),

survivors as (
    select
        int_users_interned.surviving_user_id as user_id,
        int_users_interned.user_key,
        int_users_interned.kind,
        cast(count(*) filter (where int_users_interned.is_merged) as bigint) as merged_user_count
    from int_users_interned
    inner join known_users on int_users_interned.user_id = known_users.user_id
    group by
        int_users_interned.surviving_user_id,
        int_users_interned.user_key,
        int_users_interned.kind
),

active_bounds as (
    select
        user_key,
        min(activity_date) as first_active_date,
        max(activity_date) as last_active_date
    from int_user_days_counted
    group by user_key
),

described as (
    select
        survivors.user_id,
        stg_users.workspace_id,
        survivors.kind,
        active_bounds.first_active_date,
        active_bounds.last_active_date,
        survivors.merged_user_count,
        stg_users.created_at,
        stg_users.deleted_at,
        '{{ target.name }}' as environment
    from survivors
    left join stg_users on survivors.user_id = stg_users.user_id
    left join active_bounds on survivors.user_key = active_bounds.user_key
)

select * from described
