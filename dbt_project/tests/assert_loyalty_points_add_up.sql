-- What the days of a program moved is what its balances hold, and what its events say.

with

fct_loyalty_events as (
    select * from {{ ref('fct_loyalty_events') }}
    where not is_test
),

fct_loyalty_daily as (
    select * from {{ ref('fct_loyalty_daily') }}
),

fct_loyalty_balances as (
    select * from {{ ref('fct_loyalty_balances') }}
),

sums as (
    select
        workspace_id,
        project_id,
        program_id,
        case
            when type in ('points.earned', 'points.adjusted') then points
            when type in ('points.redeemed', 'points.expired') then -points
            else 0
        end as points_of_events,
        0 as points_of_days,
        0 as points_of_balances
    from fct_loyalty_events
    union all
    select
        workspace_id,
        project_id,
        program_id,
        0 as points_of_events,
        earned_points - redeemed_points - expired_points + adjusted_points as points_of_days,
        0 as points_of_balances
    from fct_loyalty_daily
    union all
    select
        workspace_id,
        project_id,
        program_id,
        0 as points_of_events,
        0 as points_of_days,
        balance as points_of_balances
    from fct_loyalty_balances
),

differing as (
    select
        workspace_id,
        project_id,
        program_id,
        sum(points_of_events) as points_of_events,
        sum(points_of_days) as points_of_days,
        sum(points_of_balances) as points_of_balances
    from sums
    group by workspace_id, project_id, program_id
    having points_of_events <> points_of_days or points_of_days <> points_of_balances
)

select * from differing
