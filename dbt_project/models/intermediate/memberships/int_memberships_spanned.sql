-- What memberships are looked up in: which membership a user's events in a project named, from when
-- on and until when. Test traffic must not tell real rows which membership they belong to, while a
-- test row may see both: is_test says which of the two a span is for, and who looks up compares it
-- with their own. Of events at the same instant the greatest event_id tells. An event that names no
-- membership says nothing about which one it is and is looked past.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={
        'replaces': {
            'listed_in': 'int_membership_histories_reached',
            'by_key': true,
            'on': 'old.workspace_id = listed.workspace_id
                and old.project_id = listed.project_id
                and old.user_id = listed.user_id',
        },
        'tested_where_replaced': true,
    },
) }}

with

int_membership_histories_reached as (
    select * from {{ listed_now(ref('int_membership_histories_reached')) }} as listed
),

stg_membership_events as (
    select * from {{ ref('stg_membership_events') }}
    where membership_id is not null
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

named as (
    select
        stg_membership_events.workspace_id,
        stg_membership_events.project_id,
        int_users_interned.surviving_user_id as user_id,
        stg_membership_events.event_id,
        stg_membership_events.membership_id,
        stg_membership_events.occurred_at,
        stg_membership_events.is_test
    from stg_membership_events
    inner join int_users_interned on stg_membership_events.user_id = int_users_interned.user_id
    {%- if is_incremental() %}
    inner join int_membership_histories_reached
        on
            stg_membership_events.workspace_id = int_membership_histories_reached.workspace_id
            and stg_membership_events.project_id = int_membership_histories_reached.project_id
            and int_users_interned.surviving_user_id = int_membership_histories_reached.user_id
    {%- endif %}
),

seen as (
    select
        *,
        false as is_for_test
    from named
    where not is_test
    union all
    select
        *,
        true as is_for_test
    from named
),

instants as (
    select
        workspace_id,
        project_id,
        user_id,
        is_for_test as is_test,
        occurred_at,
        {{ latest('membership_id', ['event_id']) }} as membership_id,
        max(event_id) as event_id
    from seen
    group by workspace_id, project_id, user_id, is_for_test, occurred_at
),

spans as (
    select
        workspace_id,
        project_id,
        user_id,
        is_test,
        occurred_at,
        -- the last one is open
        coalesce(
            lead(occurred_at) over (
                partition by workspace_id, project_id, user_id, is_test order by occurred_at
            ),
            cast('9999-12-31' as timestamp)
        ) as until_at,
        membership_id,
        event_id
    from instants
)

select * from spans
