-- The log of days on which rows that carry a looked-up membership changed: days whose own events
-- changed, and days on which a user has events after something changed in what is known of their
-- memberships. It reaches every id that counts as the same user, from the day of that change on.
{{ config(materialized='incremental', incremental_strategy='log') }}
-- depends_on: {{ ref('int_membership_histories_reached') }}
-- depends_on: {{ ref('int_users_interned') }}, {{ ref('int_user_days_counted') }}

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

int_membership_histories_reached as (
    select * from {{ listed_now(ref('int_membership_histories_reached')) }} as listed
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
    where
        source_table in (
            {%- for table_name in tables %}
            '{{ table_name }}'{{ "," if not loop.last }}
            {%- endfor %}
        )
),

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
    from int_membership_histories_reached
    inner join int_users_interned
        on int_membership_histories_reached.user_id = int_users_interned.surviving_user_id
    inner join int_user_days_counted
        on
            int_users_interned.user_number = int_user_days_counted.user_number
            and int_membership_histories_reached.workspace_id = int_user_days_counted.workspace_id
            and int_membership_histories_reached.project_id = int_user_days_counted.project_id
            and int_membership_histories_reached.from_date <= int_user_days_counted.activity_date
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
