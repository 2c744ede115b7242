with

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

stg_users as (
    select * from {{ ref('stg_users') }}
),

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
    where real_event_count > 0
),

active_bounds as (
    select
        user_number,
        min(case when qualifying_count > 0 then activity_date end) as first_active_date,
        max(case when qualifying_count > 0 then activity_date end) as last_active_date
    from int_user_days_counted
    group by user_number
),

named_by_entities as (
    select user_id from stg_users
    union
    select merged_into as user_id from stg_users
    where merged_into is not null
),

-- test traffic names users too: it must not bring a user into being
known_users as (
    select
        int_users_interned.surviving_user_id,
        int_users_interned.kind,
        int_users_interned.is_merged,
        active_bounds.first_active_date,
        active_bounds.last_active_date
    from int_users_interned
    left join active_bounds on int_users_interned.user_number = active_bounds.user_number
    left join named_by_entities on int_users_interned.user_id = named_by_entities.user_id
    where active_bounds.user_number is not null or named_by_entities.user_id is not null
),

survivors as (
    select
        surviving_user_id as user_id,
        kind,
        cast(count(*) filter (where is_merged) as bigint) as merged_user_count,
        min(case when kind = 'human' then first_active_date end) as first_active_date,
        max(case when kind = 'human' then last_active_date end) as last_active_date
    from known_users
    group by surviving_user_id, kind
),

described as (
    select
        survivors.user_id,
        stg_users.workspace_id,
        survivors.kind,
        survivors.first_active_date,
        survivors.last_active_date,
        survivors.merged_user_count,
        stg_users.created_at,
        stg_users.deleted_at,
        '{{ target.name }}' as environment
    from survivors
    left join stg_users on survivors.user_id = stg_users.user_id
)

select * from described
