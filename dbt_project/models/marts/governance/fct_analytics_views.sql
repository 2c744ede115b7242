with

stg_audit_events as (
    select
        *,
        coalesce(view_interval, '') as series_interval,
        -- an hour up to 7 x 24 hours to the millisecond, so that seven whole days, which end a
        -- millisecond before midnight, are hours and eight are days
        case
            when {{ seconds_between('range_start_at', 'range_end_at') }} <= 7 * 24 * 3600
                then 'hour'
            when range_start_at is not null and range_end_at is not null then 'day'
        end as range_interval
    from {{ ref('stg_audit_events') }}
    where type = 'analytics.view'
),

int_page_views_assembled as (
    select * from {{ ref('int_page_views_assembled') }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

grouped as (
    select
        int_page_views_assembled.workspace_id,
        int_page_views_assembled.view_event_id,
        -- equal in all events of a view
        min(stg_audit_events.project_id) as project_id,
        min(stg_audit_events.actor_id) as actor_id,
        min(stg_audit_events.actor_type) as actor_type,
        bool_or(stg_audit_events.is_impersonated) as is_impersonated,
        min(stg_audit_events.impersonator_hash) as impersonator_hash,
        min(stg_audit_events.source) as source,
        min(stg_audit_events.occurred_at) as viewed_at,
        min(stg_audit_events.range_start_at) as range_start_at,
        min(stg_audit_events.range_end_at) as range_end_at,
        min(stg_audit_events.range_interval) as range_interval,
        bool_and(
            stg_audit_events.series_interval = ''
            -- no interval is that of a series without a range
            or coalesce(stg_audit_events.series_interval = stg_audit_events.range_interval, false)
        ) as is_interval_of_range,
        {{ earliest(
            "nullif(stg_audit_events.series_interval, '')",
            ['stg_audit_events.occurred_at', 'stg_audit_events.event_id']
        ) }} as series_interval,
        count(*) as event_count,
        {{ distinct_list('stg_audit_events.event_id') }} as event_ids
    from int_page_views_assembled
    inner join stg_audit_events
        on
            int_page_views_assembled.workspace_id = stg_audit_events.workspace_id
            and int_page_views_assembled.event_id = stg_audit_events.event_id
    group by int_page_views_assembled.workspace_id, int_page_views_assembled.view_event_id
),

views as (
    select
        {{ key_of(['grouped.workspace_id', 'grouped.view_event_id']) }} as view_key,
        grouped.workspace_id,
        grouped.project_id,
        coalesce(int_users_interned.surviving_user_id, grouped.actor_id) as viewer_id,
        case
            when coalesce(grouped.actor_type, 'user') <> 'user' then grouped.actor_type
            when grouped.actor_id is not null then coalesce(int_users_interned.kind, 'human')
        end as viewer_kind,
        grouped.is_impersonated,
        grouped.impersonator_hash,
        grouped.source,
        grouped.viewed_at,
        grouped.range_start_at,
        grouped.range_end_at,
        coalesce(grouped.series_interval, '') as "interval",  -- noqa: RF06
        cast(grouped.event_count as bigint) as event_count,
        -- a page asks for three, the API for what it is asked
        grouped.event_count < 3 and coalesce(grouped.source, '') not like '/api/%'
            as is_incomplete_triple,
        cast(grouped.viewed_at as date) as activity_date,
        grouped.event_ids,
        grouped.range_interval,
        grouped.is_interval_of_range,
        -- 30 days and the closing one
        coalesce(
            {{ seconds_between('grouped.range_start_at', 'grouped.range_end_at') }}
            < 31 * 24 * 3600,
            true
        ) as is_range_allowed,
        '{{ target.name }}' as environment
    from grouped
    left join int_users_interned on grouped.actor_id = int_users_interned.user_id
)

select * from views
