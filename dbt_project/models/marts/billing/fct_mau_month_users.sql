-- Who is behind each figure of fct_mau_monthly. What a seal counted is kept beside it; an open
-- month is listed by the same rule that counts it. Sealing changes no row here, because it seals
-- what the last complete build counted.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_months_changed',
        'on': 'old.month_start_date = listed.month_start_date',
    }},
) }}

with

int_months_changed as (
    select * from {{ listed_now(ref('int_months_changed')) }} as listed
),

int_month_users_identified as (
    select * from {{ ref('int_month_users_identified') }}
    where kind = 'human'
    {{ and_listed('activity_date', 'int_months_changed') }}
),

stg_mau_seals as (
    select * from {{ ref('stg_mau_seals') }}
),

stg_mau_sealed_users as (
    select * from {{ ref('stg_mau_sealed_users') }}
    where since_correction = 0
    {{ and_listed('month_start_date', 'int_months_changed', 'month_start_date') }}
),

users_of_open_months as (
    select distinct
        int_month_users_identified.workspace_id,
        int_month_users_identified.month_start_date,
        int_month_users_identified.surviving_user_id as user_id
    from int_month_users_identified
    left join stg_mau_seals
        on
            int_month_users_identified.workspace_id = stg_mau_seals.workspace_id
            and int_month_users_identified.month_start_date = stg_mau_seals.month_start_date
    where stg_mau_seals.workspace_id is null
),

counted as (
    select
        workspace_id,
        month_start_date,
        user_id,
        '{{ target.name }}' as environment
    from users_of_open_months
    union all
    select
        workspace_id,
        month_start_date,
        user_id,
        '{{ target.name }}' as environment
    from stg_mau_sealed_users
)

select * from counted
