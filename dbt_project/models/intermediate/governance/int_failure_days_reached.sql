-- The days of fct_failure_signals that this build writes anew: an hour is in the baseline of the
-- 168 hours after it, so that a changed day reaches seven days forward.

with

changed_days as (
    select distinct activity_date
    from {{ listed_now(ref('int_days_changed')) }} as listed
    where source_table in ('auth_events', 'platform_events', 'webhook_deliveries')
),

reached as (
    select distinct
        {{ days_from_to('activity_date', add_days('activity_date', 7)) }} as activity_date
    from changed_days
),

listed as (
    select
        activity_date,
        {{ building_batch() }} as _batch
    from reached
)

select * from listed
