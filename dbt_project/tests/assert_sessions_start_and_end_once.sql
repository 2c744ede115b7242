-- Every session that counts is started on exactly one day of fct_sessions_daily, ended on one, and
-- revoked on one if it was revoked.

with

fct_sessions as (
    select * from {{ ref('fct_sessions') }}
    where not is_test
),

fct_sessions_daily as (
    select * from {{ ref('fct_sessions_daily') }}
),

sessions as (
    select
        count(*) as started_count,
        count(*) filter (where is_engaged) as engaged_count,
        count(*) filter (where is_revoked) as revoked_count
    from fct_sessions
),

days as (
    select
        coalesce(sum(started_count), 0) as started_count,
        coalesce(sum(engaged_count), 0) as engaged_count,
        coalesce(sum(ended_count), 0) as ended_count,
        coalesce(sum(revoked_count), 0) as revoked_count
    from fct_sessions_daily
),

differing as (
    select days.*
    from days
    cross join sessions
    where
        days.started_count <> sessions.started_count
        or days.engaged_count <> sessions.engaged_count
        or days.ended_count <> sessions.started_count
        or days.revoked_count <> sessions.revoked_count
)

select * from differing
