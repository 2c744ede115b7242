-- A type's row of the catalogue: the exact one, else the row of its prefix (`custom.*`, `app.*`).
-- Worked out once for each distinct type, so that no event is matched by prefix; a type once seen
-- stays, and other rows of the catalogue mean a full refresh.
{{ config(materialized='incremental', incremental_strategy='append') }}

with

int_events_unioned as (
    select * from {{ ref('int_events_unioned') }}
    {{ where_landed_since() }}
),

event_catalog as (
    select * from {{ ref('event_catalog') }}
),

distinct_types as (
    select
        source_table,
        type
    from int_events_unioned
    {%- if is_incremental() %}
    except
    select
        source_table,
        type
    from {{ this }}
    {%- else %}
    group by source_table, type
    {%- endif %}
),

matched as (
    select
        distinct_types.source_table,
        distinct_types.type,
        coalesce(by_type.category, by_prefix.category) as category,
        coalesce(by_type.origin, by_prefix.origin) as origin,
        coalesce(by_type.counts_as_active, by_prefix.counts_as_active, false) as counts_as_active
    from distinct_types
    left join event_catalog as by_type
        on
            distinct_types.source_table = by_type.table_name
            and distinct_types.type = by_type.type
    left join event_catalog as by_prefix
        on
            distinct_types.source_table = by_prefix.table_name
            and split_part(distinct_types.type, '.', 1) || '.*' = by_prefix.type
)

select * from matched
