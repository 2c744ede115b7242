-- Whose survivor or kind is another than at the last complete build: a merge, its undoing, a link
-- further along a chain, a person who turns out to be a service. Both survivors are told, because
-- what was counted under the one is now counted under the other. Versions of users are never
-- thrown away, so that what was known then is worked out again and not remembered.
-- A build that did not come to its end may have counted them under yet another survivor, who is
-- told too: from where it left them, and from what it found changed itself.

{%- set standing_users = standing('int_users_interned') %}
{%- set standing_changes = standing('int_users_changed') %}

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
        int_users_formerly_resolved.surviving_user_id as survivor_then,
        int_users_resolved.surviving_user_id as survivor_now,
        coalesce(int_users_resolved.kind, 'human') as kind_now,
        coalesce(int_users_formerly_resolved.kind, 'human') as kind_then,
        coalesce(int_users_resolved.is_in_merge_cycle, false) as is_in_merge_cycle_now,
        coalesce(int_users_formerly_resolved.is_in_merge_cycle, false) as is_in_merge_cycle_then
    from int_users_resolved
    full outer join int_users_formerly_resolved
        on int_users_resolved.user_id = int_users_formerly_resolved.user_id
    {%- if standing_users %}
    union all
    select
        standing_users.user_id,
        standing_users.surviving_user_id as survivor_then,
        int_users_resolved.surviving_user_id as survivor_now,
        coalesce(int_users_resolved.kind, 'human') as kind_now,
        standing_users.kind as kind_then,
        coalesce(int_users_resolved.is_in_merge_cycle, false) as is_in_merge_cycle_now,
        standing_users.is_in_merge_cycle as is_in_merge_cycle_then
    from {{ standing_users }} as standing_users
    left join int_users_resolved on standing_users.user_id = int_users_resolved.user_id
    {%- endif %}
),

found as (
    select
        user_id,
        coalesce(survivor_then, user_id) as former_surviving_user_id
    from compared
    where
        coalesce(survivor_now, user_id) <> coalesce(survivor_then, user_id)
        or kind_now <> kind_then
        or is_in_merge_cycle_now <> is_in_merge_cycle_then
    {%- if standing_changes %}
    {%- for survivor in ['surviving_user_id', 'former_surviving_user_id'] %}
    union
    select
        user_id,
        {{ survivor }} as former_surviving_user_id
    from {{ standing_changes }}
    where _batch > {{ built_batch() }}
    {%- endfor %}
    {%- endif %}
),

changed as (
    select
        found.user_id,
        coalesce(int_users_resolved.surviving_user_id, found.user_id) as surviving_user_id,
        found.former_surviving_user_id,
        {{ building_batch() }} as _batch
    from found
    left join int_users_resolved on found.user_id = int_users_resolved.user_id
)

select * from changed
