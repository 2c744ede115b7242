-- A table, made anew each build from small ones: as many rows as there are files and days.
-- Everything follows from the set of lines that landed, whatever their order: landed and rejected
-- lines from what each file held, accepted rows and conflicts from how they stand now, and what is
-- neither is a copy. A ledger row tells of its own file at landing; later files can change which
-- record of an id is accepted, so that only landed and rejected lines add up to the ledger's.

{%- set event_table_names = event_tables() + ['audit_events'] %}

with

stg_received_lines as (
    select * from {{ ref('stg_received_lines') }}
),

int_received_batches_counted as (
    select * from {{ ref('int_received_batches_counted') }}
),

stg_id_conflicts as (
    select * from {{ ref('stg_id_conflicts') }}
),

-- what passed its retention was accepted all the same
stg_purged_records as (
    select * from {{ ref('stg_purged_records') }}
),

int_unmatched_closes_counted as (
    select * from {{ ref('int_unmatched_closes_counted') }}
),

stg_landed_files as (
    select * from {{ ref('stg_landed_files') }}
    where
        status in ('landed', 'same_content')
        and covers_from_date is not null
        and table_name in (
            {%- for table_name in event_table_names %}
            '{{ table_name }}'{{ "," if not loop.last }}
            {%- endfor %}
        )
),

covered_ranges as (
    select distinct
        table_name,
        covers_from_date,
        covers_to_date
    from stg_landed_files
),

covered_days as (
    select distinct
        table_name as source_table,
        {{ days_from_to('covers_from_date', 'covers_to_date') }} as activity_date
    from covered_ranges
),

last_days as (
    select max(received_date) as last_date
    from int_received_batches_counted
),

asked_ranges as (
    select
        covered_days.source_table,
        min(covered_days.activity_date) as first_date,
        last_days.last_date
    from covered_days
    cross join last_days
    group by covered_days.source_table, last_days.last_date
),

days as (
    select
        source_table,
        {{ days_from_to('first_date', 'last_date') }} as activity_date
    from asked_ranges
    where first_date <= last_date
    union
    select
        source_table,
        received_date as activity_date
    from stg_received_lines
),

lines_counted as (
    select
        source_table,
        received_date,
        sum(line_count) as landed_count,
        sum(rejected_count) as rejected_count,
        sum(case when is_of_unknown_environment then rejected_count else 0 end)
            as rejected_of_unknown_environment_count
    from stg_received_lines
    group by source_table, received_date
),

accepted_counted as (
    select
        source_table,
        received_date,
        sum(accepted_count) as accepted_count,
        sum(late_count) as late_count,
        max(max_lateness_seconds) as max_lateness_seconds
    from (
        select
            source_table,
            received_date,
            accepted_count,
            late_count,
            max_lateness_seconds
        from int_received_batches_counted
        union all
        select
            source_table,
            received_date,
            accepted_count,
            late_count,
            max_lateness_seconds
        from stg_purged_records
    ) as accepted
    group by source_table, received_date
),

conflicts_counted as (
    select
        source_table,
        received_date,
        sum(conflict_count) as conflict_count
    from (
        select
            source_table,
            received_date,
            1 as conflict_count
        from stg_id_conflicts
        union all
        select
            source_table,
            received_date,
            conflict_count
        from stg_purged_records
    ) as conflicts
    group by source_table, received_date
),

closes_counted as (
    select
        received_date,
        sum(unmatched_close_count) as unmatched_close_count
    from int_unmatched_closes_counted
    group by received_date
),

joined as (
    select
        days.source_table,
        days.activity_date,
        cast(coalesce(lines_counted.landed_count, 0) as bigint) as landed_count,
        cast(coalesce(accepted_counted.accepted_count, 0) as bigint) as accepted_count,
        cast(coalesce(conflicts_counted.conflict_count, 0) as bigint) as conflict_count,
        cast(coalesce(lines_counted.rejected_count, 0) as bigint) as rejected_count,
        cast(coalesce(accepted_counted.late_count, 0) as bigint) as late_count,
        accepted_counted.max_lateness_seconds,
        cast(coalesce(closes_counted.unmatched_close_count, 0) as bigint) as unmatched_close_count,
        covered_days.activity_date is not null as is_complete,
        cast(coalesce(lines_counted.rejected_of_unknown_environment_count, 0) as bigint)
            as rejected_of_unknown_environment_count
    from days
    left join lines_counted
        on
            days.source_table = lines_counted.source_table
            and days.activity_date is not distinct from lines_counted.received_date
    left join accepted_counted
        on
            days.source_table = accepted_counted.source_table
            and days.activity_date = accepted_counted.received_date
    left join conflicts_counted
        on
            days.source_table = conflicts_counted.source_table
            and days.activity_date = conflicts_counted.received_date
    left join closes_counted
        on
            days.source_table = 'session_events'
            and days.activity_date = closes_counted.received_date
    left join covered_days
        on
            days.source_table = covered_days.source_table
            and days.activity_date = covered_days.activity_date
),

judged as (
    select
        source_table,
        activity_date,
        landed_count,
        accepted_count,
        landed_count - accepted_count - conflict_count - rejected_count as duplicate_count,
        conflict_count,
        rejected_count,
        late_count,
        max_lateness_seconds,
        unmatched_close_count,
        is_complete,
        rejected_of_unknown_environment_count,
        '{{ target.name }}' as environment
    from joined
)

select * from judged
