with

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

int_users_started as (
    select * from {{ ref('int_users_started') }}
    where scope = 'workspace'
),

stg_users as (
    select * from {{ ref('stg_users') }}
),

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
    where real_event_count > 0
),

named_by_events as (
    select distinct user_number
    from int_user_days_counted
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
        int_users_interned.user_key,
        int_users_interned.kind,
        int_users_interned.is_merged
    from int_users_interned
    left join named_by_events on int_users_interned.user_number = named_by_events.user_number
    left join named_by_entities on int_users_interned.user_id = named_by_entities.user_id
    where named_by_events.user_number is not null or named_by_entities.user_id is not null
),

survivors as (
    select
        surviving_user_id as user_id,
        user_key,
        kind,
        cast(count(*) filter (where is_merged) as bigint) as merged_user_count
    from known_users
    group by surviving_user_id, user_key, kind
),

-- only people are ever active, see int_active_user_days_counted
active_bounds as (
    select
        user_key,
        min(first_active_date) as first_active_date,
        max(last_active_date) as last_active_date
    from int_users_started
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
    left join active_bounds on survivors.user_key = active_bounds.user_key
    left join stg_users on survivors.user_id = stg_users.user_id
)

select * from described
