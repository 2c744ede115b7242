-- A type's row of the catalogue: the exact one, else the row of its prefix (`custom.*`, `app.*`).
-- Worked out once for each distinct type, so that no event is matched by prefix.

with

int_events_unioned as (
    select * from {{ ref('int_events_unioned') }}
),

event_catalog as (
    select * from {{ ref('event_catalog') }}
),

distinct_types as (
    select distinct
        source_table,
        type
    from int_events_unioned
),

matched as (
    select
        distinct_types.source_table,
        distinct_types.type,
        coalesce(exact.category, prefix.category) as category,
        coalesce(exact.origin, prefix.origin) as origin,
        coalesce(exact.counts_as_active, prefix.counts_as_active, false) as counts_as_active
    from distinct_types
    left join event_catalog as exact
        on
            distinct_types.source_table = exact.table_name
            and distinct_types.type = exact.type
    left join event_catalog as prefix
        on
            distinct_types.source_table = prefix.table_name
            and split_part(distinct_types.type, '.', 1) || '.*' = prefix.type
)

select * from matched
