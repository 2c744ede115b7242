{{ config(
    enabled=target.name == 'production',
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

counted as (
    select
        workspace_id,
        month_start_date,
        cast(count(distinct user_key) as bigint) as mau
    from int_month_users_identified
    group by workspace_id, month_start_date
)

select * from counted
