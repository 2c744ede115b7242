{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_loyalty_accounts_reached',
        'by_key': true,
        'on': 'old.workspace_id = listed.workspace_id
            and old.project_id = listed.project_id
            and old.user_id is not distinct from listed.user_id',
    }},
) }}

with

int_loyalty_days_counted as (
    select * from {{ ref('int_loyalty_days_counted') }}
),

int_loyalty_accounts_reached as (
    select * from {{ listed_now(ref('int_loyalty_accounts_reached')) }} as listed
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

written_days as (
    select int_loyalty_days_counted.*
    from int_loyalty_days_counted
    {%- if is_incremental() %}
    inner join int_loyalty_accounts_reached
        on
            int_loyalty_days_counted.workspace_id = int_loyalty_accounts_reached.workspace_id
            and int_loyalty_days_counted.project_id = int_loyalty_accounts_reached.project_id
            and int_loyalty_days_counted.user_key
            is not distinct from int_loyalty_accounts_reached.user_key
    {%- endif %}
),

summed as (
    select
        workspace_id,
        project_id,
        program_id,
        user_key,
        cast(
            sum(earned_points - redeemed_points - expired_points + adjusted_points) as bigint
        ) as balance,
        {{ latest('tier', ['activity_date']) }} as last_named_tier,
        coalesce({{ latest(
            'case when tier_change_count > 0 then tier is not null end', ['activity_date']
        ) }}, false) as is_tier_named_last,
        max(last_event_at) as last_event_at
    from written_days
    group by workspace_id, project_id, program_id, user_key
),

balances as (
    select
        summed.workspace_id,
        summed.project_id,
        summed.program_id,
        int_users_interned.user_id,
        summed.balance,
        case when summed.is_tier_named_last then summed.last_named_tier end as tier,
        summed.last_event_at,
        '{{ target.name }}' as environment
    from summed
    left join int_users_interned on summed.user_key = int_users_interned.user_number
)

select * from balances
