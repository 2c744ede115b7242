-- Whether an event qualifies as activity of its user: see `active user` in the README. Whether the
-- user is human is asked of the survivor, later.

with

int_events_unioned as (
    select * from {{ ref('int_events_unioned') }}
    where user_id is not null
),

int_event_types_classified as (
    select * from {{ ref('int_event_types_classified') }}
),

judged as (
    select
        int_events_unioned.source_table,
        int_events_unioned.workspace_id,
        int_events_unioned.event_id,
        int_events_unioned.project_id,
        int_events_unioned.service_id,
        int_events_unioned.user_id,
        int_events_unioned.activity_date,
        int_events_unioned.is_test,
        int_event_types_classified.counts_as_active
        and not int_events_unioned.is_test
        and not int_events_unioned.is_impersonated
        and coalesce(int_events_unioned.outcome, '') <> 'failure' as is_qualifying,
        int_events_unioned._batch
    from int_events_unioned
    inner join int_event_types_classified
        on
            int_events_unioned.source_table = int_event_types_classified.source_table
            and int_events_unioned.type = int_event_types_classified.type
)

select * from judged
