-- Who was active in which calendar month, by the id that the events named: the job that seals
-- months puts the identities of then on top, int_mau_months_counted those of now.
{{ config(enabled=target.name == 'production') }}

with

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
    where qualifying_count > 0
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

identified as (
    select
        int_user_days_counted.source_table,
        int_user_days_counted.workspace_id,
        int_user_days_counted.project_id,
        int_user_days_counted.service_id,
        {{ month_of('int_user_days_counted.activity_date') }} as month_start_date,
        int_user_days_counted.activity_date,
        int_users_interned.user_id,
        int_users_interned.surviving_user_id,
        int_users_interned.user_key,
        int_users_interned.kind
    from int_user_days_counted
    inner join int_users_interned
        on int_user_days_counted.user_number = int_users_interned.user_number
)

select * from identified
