-- The log of days on which rows that carry a looked-up membership changed: days whose own events
-- changed, and days on which a user has events after something changed in what is known of their
-- memberships. That is what a membership event that landed or was displaced tells, of the user it
-- names, and what somebody takes along who is merged or parted: it reaches every id that counts, or
-- counted, as the same user, from the day of the membership event on.
{{ config(materialized='incremental', incremental_strategy='log') }}

{%- set tables = [
    'membership_events', 'webhook_deliveries', 'campaign_events', 'loyalty_events',
    'notification_events',
] %}

with

int_days_changed as (
    select
        source_table,
        activity_date
    from {{ listed_now(ref('int_days_changed')) }} as listed
    where
        source_table in (
            {%- for table_name in tables %}
            '{{ table_name }}'{{ "," if not loop.last }}
            {%- endfor %}
        )
),

{%- if is_incremental() %}

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
    where
        source_table in (
            {%- for table_name in tables %}
            '{{ table_name }}'{{ "," if not loop.last }}
            {%- endfor %}
        )
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

int_users_changed as (
    select * from {{ ref('int_users_changed') }}
),

moments as (
    select
        workspace_id,
        project_id,
        user_id,
        activity_date
    from {{ ref('stg_membership_events') }}
    {{ where_landed_since() }}
    union
    select
        workspace_id,
        project_id,
        user_id,
        activity_date
    from {{ ref('stg_displaced_records') }}
    where source_table = 'membership_events' and _batch > {{ built_batch() }}
    union
    select
        int_user_days_counted.workspace_id,
        int_user_days_counted.project_id,
        int_users_changed.user_id,
        int_user_days_counted.activity_date
    from int_users_changed
    inner join int_users_interned on int_users_changed.user_id = int_users_interned.user_id
    inner join int_user_days_counted
        on int_users_interned.user_number = int_user_days_counted.user_number
    where int_user_days_counted.source_table = 'membership_events'
),

-- a user under who they are counted as, and a changed one under who they were counted as too
survivors_of_users as (
    select
        user_id,
        user_key
    from int_users_interned
    where user_id in (select user_id from moments)
    union
    select
        int_users_changed.user_id,
        survivors.user_key
    from int_users_changed
    inner join int_users_interned as survivors
        on int_users_changed.former_surviving_user_id = survivors.user_id
),

histories_changed as (
    select
        moments.workspace_id,
        moments.project_id,
        survivors_of_users.user_key,
        min(moments.activity_date) as from_date
    from moments
    inner join survivors_of_users on moments.user_id = survivors_of_users.user_id
    group by moments.workspace_id, moments.project_id, survivors_of_users.user_key
),

{%- endif %}

changes as (
    select
        source_table,
        activity_date
    from int_days_changed
    {%- if is_incremental() %}
    union
    select
        int_user_days_counted.source_table,
        int_user_days_counted.activity_date
    from histories_changed
    inner join int_users_interned on histories_changed.user_key = int_users_interned.user_key
    inner join int_user_days_counted
        on
            int_users_interned.user_number = int_user_days_counted.user_number
            and histories_changed.workspace_id = int_user_days_counted.workspace_id
            and histories_changed.project_id = int_user_days_counted.project_id
            and histories_changed.from_date <= int_user_days_counted.activity_date
    {%- endif %}
),

changed as (
    select
        source_table,
        activity_date,
        {{ building_batch() }} as _batch
    from changes
)

select * from changed
