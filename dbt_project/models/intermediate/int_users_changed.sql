-- Whose survivor or kind is another than at the last complete build: a merge, its undoing, a link
-- further along a chain, a person who turns out to be a service. Both survivors are told, because
-- what was counted under the one is now counted under the other. Versions of users are never
-- thrown away, so that what was known then is worked out again and not remembered.

with

int_users_resolved as (
    select * from {{ ref('int_users_resolved') }}
),

int_users_formerly_resolved as (
    select * from {{ ref('int_users_formerly_resolved') }}
),

compared as (
    select
        coalesce(int_users_resolved.user_id, int_users_formerly_resolved.user_id) as user_id,
        int_users_resolved.surviving_user_id as survivor_now,
        int_users_formerly_resolved.surviving_user_id as survivor_then,
        coalesce(int_users_resolved.kind, 'human') as kind_now,
        coalesce(int_users_formerly_resolved.kind, 'human') as kind_then,
        coalesce(int_users_resolved.is_in_merge_cycle, false) as is_in_merge_cycle_now,
        coalesce(int_users_formerly_resolved.is_in_merge_cycle, false) as is_in_merge_cycle_then
    from int_users_resolved
    full outer join int_users_formerly_resolved
        on int_users_resolved.user_id = int_users_formerly_resolved.user_id
),

changed as (
    select
        user_id,
        coalesce(survivor_now, user_id) as surviving_user_id,
        coalesce(survivor_then, user_id) as former_surviving_user_id,
        {{ building_batch() }} as _batch
    from compared
    where
        coalesce(survivor_now, user_id) <> coalesce(survivor_then, user_id)
        or kind_now <> kind_then
        or is_in_merge_cycle_now <> is_in_merge_cycle_then
)

select * from changed
