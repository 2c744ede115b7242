-- Landing batches whose rows are others than at the last complete build: what landed since, and the
-- batches that lost a row to a copy received earlier.

with

stg_received_lines as (
    select * from {{ ref('stg_received_lines') }}
    {%- if not flags.FULL_REFRESH %}
    where _batch > {{ built_batch() }}
    {%- endif %}
),

stg_displaced_records as (
    select * from {{ ref('stg_displaced_records') }}
    {%- if not flags.FULL_REFRESH %}
    where _batch > {{ built_batch() }}
    {%- endif %}
),

reached as (
    select
        source_table,
        _batch as landed_batch
    from stg_received_lines
    union
    select
        source_table,
        former_batch as landed_batch
    from stg_displaced_records
),

listed as (
    select
        source_table,
        landed_batch,
        {{ building_batch() }} as _batch
    from reached
)

select * from listed
