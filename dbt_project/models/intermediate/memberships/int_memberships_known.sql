-- What memberships are looked up in: the membership that a user's events in a project named, from
-- when on. Test traffic must not tell real rows which membership they belong to, while a test row
-- may see both: is_test says which of the two a row is for, and those who look up compare theirs.
-- Of events at the same instant the greatest event_id tells. An event that names no membership says
-- nothing about which one it is and is looked past.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_days_changed',
        'on': "old.activity_date = listed.activity_date
            and listed.source_table = 'membership_events'",
    }},
) }}

with

stg_membership_events as (
    select * from {{ ref('stg_membership_events') }}
    where user_id is not null and membership_id is not null
    {{ and_day_changed('activity_date', 'membership_events') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

seen as (
    select
        *,
        false as is_for_test
    from stg_membership_events
    where not is_test
    union all
    select
        *,
        true as is_for_test
    from stg_membership_events
),

known as (
    select
        seen.workspace_id,
        seen.project_id,
        int_users_interned.surviving_user_id as user_id,
        seen.is_for_test as is_test,
        seen.occurred_at,
        {{ latest('seen.membership_id', ['seen.event_id']) }} as membership_id,
        max(seen.event_id) as event_id,
        seen.activity_date
    from seen
    inner join int_users_interned on seen.user_id = int_users_interned.user_id
    group by
        seen.workspace_id,
        seen.project_id,
        int_users_interned.surviving_user_id,
        seen.is_for_test,
        seen.occurred_at,
        seen.activity_date
)

select * from known
