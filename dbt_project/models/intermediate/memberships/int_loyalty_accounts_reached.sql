-- Whose loyalty balances this build writes anew, in which project: of users whom an event that
-- landed or was displaced names, and of users who were merged or parted, under who they count as
-- now and who they counted as. Events that name no user have a balance of their own.

with

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
    where source_table = 'loyalty_events'
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

int_users_changed as (
    select * from {{ ref('int_users_changed') }}
),

users_named as (
    select
        workspace_id,
        project_id,
        user_id
    from {{ ref('stg_loyalty_events') }}
    where _batch > {{ built_batch() }}
    union
    select
        workspace_id,
        project_id,
        user_id
    from {{ ref('stg_displaced_records') }}
    where source_table = 'loyalty_events' and _batch > {{ built_batch() }}
    union
    select
        int_user_days_counted.workspace_id,
        int_user_days_counted.project_id,
        int_users_changed.user_id
    from int_users_changed
    inner join int_users_interned on int_users_changed.user_id = int_users_interned.user_id
    inner join int_user_days_counted
        on int_users_interned.user_number = int_user_days_counted.user_number
),

reached as (
    select
        users_named.workspace_id,
        users_named.project_id,
        int_users_interned.surviving_user_id as user_id,
        int_users_interned.user_key
    from users_named
    left join int_users_interned on users_named.user_id = int_users_interned.user_id
    union
    select
        users_named.workspace_id,
        users_named.project_id,
        survivors.user_id,
        survivors.user_number as user_key
    from users_named
    inner join int_users_changed on users_named.user_id = int_users_changed.user_id
    inner join int_users_interned as survivors
        on int_users_changed.former_surviving_user_id = survivors.user_id
),

listed as (
    select
        *,
        {{ building_batch() }} as _batch
    from reached
)

select * from listed
