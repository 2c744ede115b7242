-- fct_mau_monthly.mau is the number of users that fct_mau_month_users lists.
{{ config(enabled=target.name == 'production') }}

with

fct_mau_monthly as (
    select * from {{ ref('fct_mau_monthly') }}
),

fct_mau_month_users as (
    select * from {{ ref('fct_mau_month_users') }}
),

listed as (
    select
        workspace_id,
        month_start_date,
        count(*) as user_count
    from fct_mau_month_users
    group by workspace_id, month_start_date
),

differing as (
    select
        fct_mau_monthly.workspace_id,
        fct_mau_monthly.month_start_date,
        fct_mau_monthly.mau,
        listed.user_count
    from fct_mau_monthly
    full outer join listed
        on
            fct_mau_monthly.workspace_id = listed.workspace_id
            and fct_mau_monthly.month_start_date = listed.month_start_date
    where coalesce(fct_mau_monthly.mau, 0) <> coalesce(listed.user_count, 0)
)

select * from differing
