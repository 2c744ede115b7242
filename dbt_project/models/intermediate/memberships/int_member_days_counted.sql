-- The days on which something changed about a member, of real events only: how often each change
-- was made, and whether the user is a member when the day ends, which is told by the latest event
-- of the day (at the same instant by the greatest event_id). Changes that name no user are counted
-- and make nobody a member.
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
    where not is_test
    {{ and_day_changed('activity_date', 'membership_events') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

counted as (
    select
        stg_membership_events.workspace_id,
        stg_membership_events.project_id,
        int_users_interned.user_key,
        stg_membership_events.activity_date,
        count(*) filter (where stg_membership_events.type = 'membership.invited') as invited_count,
        count(*) filter (where stg_membership_events.type = 'membership.added') as added_count,
        count(*) filter (where stg_membership_events.type = 'membership.removed') as removed_count,
        count(*) filter (where stg_membership_events.type = 'membership.role_changed')
            as role_changed_count,
        int_users_interned.user_key is not null
        and {{ latest(
            'stg_membership_events.type',
            ['stg_membership_events.occurred_at', 'stg_membership_events.event_id']
        ) }} in ('membership.added', 'membership.role_changed') as is_member
    from stg_membership_events
    left join int_users_interned on stg_membership_events.user_id = int_users_interned.user_id
    group by
        stg_membership_events.workspace_id,
        stg_membership_events.project_id,
        int_users_interned.user_key,
        stg_membership_events.activity_date
)

select * from counted
