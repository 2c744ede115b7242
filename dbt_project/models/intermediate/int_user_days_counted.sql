-- Qualifying events (see `active user` in the README), reduced at once to the days of each user: an
-- active user-day is all that counting users needs, and there are far fewer of them than events.

with

int_events_unioned as (
    select * from {{ ref('int_events_unioned') }}
    where
        not is_test
        and not is_impersonated
        and user_id is not null
        and outcome is distinct from 'failure'
),

int_event_types_classified as (
    select * from {{ ref('int_event_types_classified') }}
    where counts_as_active
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
    where kind = 'human'
),

user_days as (
    select
        int_events_unioned.workspace_id,
        int_events_unioned.project_id,
        int_events_unioned.service_id,
        int_users_interned.user_key,
        cast(int_events_unioned.occurred_at as date) as activity_date,
        cast(count(*) as bigint) as event_count
    from int_events_unioned
    inner join int_event_types_classified
        on
            int_events_unioned.source_table = int_event_types_classified.source_table
            and int_events_unioned.type = int_event_types_classified.type
    inner join int_users_interned
        on int_events_unioned.user_id = int_users_interned.user_id
    group by all
)

select * from user_days
