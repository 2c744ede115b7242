{#-
    Who survives whose merges, from users each in their newest version: one row a user that has a
    row or into whom somebody was merged; kind is the survivor's. Anybody else is human and their
    own survivor. A merge chain is walked until a user who is not merged; who is in a cycle stays
    unmerged, and a chain that leads into a cycle ends at the first user of that cycle it meets.
-#}

{% macro resolve_users(versions, condition='true') %}
with recursive

numbered as (
    select
        user_id,
        kind,
        merged_into,
        row_number() over (
            partition by user_id order by updated_at desc nulls last, _content_hash desc
        ) as version_number
    from {{ versions }}
    where {{ condition }}
),

users as (
    select
        user_id,
        kind,
        merged_into
    from numbered
    where version_number = 1
),

merges_walked as (
    select
        user_id,
        merged_into as reached_user_id,
        {{ list_of(['user_id', 'merged_into']) }} as path,
        user_id = merged_into as is_repeated
    from users
    where merged_into is not null
    union all
    select
        merges_walked.user_id,
        users.merged_into as reached_user_id,
        {{ list_with('merges_walked.path', 'users.merged_into') }} as path,
        {{ list_holds('merges_walked.path', 'users.merged_into') }} as is_repeated
    from merges_walked
    inner join users on merges_walked.reached_user_id = users.user_id
    where users.merged_into is not null and not merges_walked.is_repeated
),

longest_walks as (
    select
        user_id,
        {{ latest('reached_user_id', [list_length('path')]) }} as surviving_user_id,
        {{ latest('is_repeated', [list_length('path')]) }} as is_cycle_met
    from merges_walked
    group by user_id
),

named_users as (
    select user_id from users
    union
    select merged_into as user_id from users
    where merged_into is not null
),

walked as (
    select
        named_users.user_id,
        coalesce(longest_walks.surviving_user_id, named_users.user_id) as surviving_user_id,
        coalesce(
            longest_walks.is_cycle_met and longest_walks.surviving_user_id = named_users.user_id,
            false
        ) as is_in_merge_cycle
    from named_users
    left join longest_walks on named_users.user_id = longest_walks.user_id
),

resolved as (
    select
        walked.user_id,
        walked.surviving_user_id,
        coalesce(users.kind, 'human') as kind,
        walked.user_id <> walked.surviving_user_id as is_merged,
        walked.is_in_merge_cycle
    from walked
    left join users on walked.surviving_user_id = users.user_id
)

select * from resolved
{% endmacro %}
