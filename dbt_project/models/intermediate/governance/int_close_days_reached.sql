-- Days on which session closes without an id may have found or lost the session they close.

with

changed_days as (
    select activity_date from {{ listed_now(ref('int_session_days_changed')) }} as listed
    union
    select activity_date from {{ listed_now(ref('int_days_changed')) }} as listed
    where source_table = 'session_events'
),

listed as (
    select
        activity_date,
        {{ building_batch() }} as _batch
    from changed_days
)

select * from listed
