-- What the days of a program moved is what its balances hold, and each day what its events say.

with

fct_loyalty_events as (
    select * from {{ ref('fct_loyalty_events') }}
    {{ where_not_checked('activity_date') }}
),

fct_loyalty_daily as (
    select
        *,
        earned_points - redeemed_points - expired_points + adjusted_points as points
    from {{ ref('fct_loyalty_daily') }}
),

fct_loyalty_balances as (
    select * from {{ ref('fct_loyalty_balances') }}
),

sums as (
    select
        workspace_id,
        project_id,
        program_id,
        activity_date,
        case
            when type in ('points.earned', 'points.adjusted') then points
            when type in ('points.redeemed', 'points.expired') then -points
            else 0
        end as points_expected,
        0 as points_of_days
    from fct_loyalty_events
    where not is_test
    union all
    select
        workspace_id,
        project_id,
        program_id,
        activity_date,
        0 as points_expected,
        points as points_of_days
    from fct_loyalty_daily
    {{ where_not_checked('activity_date') }}
    union all
    select
        workspace_id,
        project_id,
        program_id,
        cast(null as date) as activity_date,
        0 as points_expected,
        points as points_of_days
    from fct_loyalty_daily
    union all
    select
        workspace_id,
        project_id,
        program_id,
        cast(null as date) as activity_date,
        balance as points_expected,
        0 as points_of_days
    from fct_loyalty_balances
),

differing as (
    select
        workspace_id,
        project_id,
        program_id,
        activity_date,
        sum(points_expected) as points_expected,
        sum(points_of_days) as points_of_days
    from sums
    group by workspace_id, project_id, program_id, activity_date
    having points_expected <> points_of_days
)

select * from differing
