-- A sealed month says what was counted when it was sealed, an open one what is counted now.

with

int_mau_months_counted as (
    select * from {{ ref('int_mau_months_counted') }}
),

stg_mau_seals as (
    select * from {{ ref('stg_mau_seals') }}
),

sealed_or_open as (
    select
        coalesce(stg_mau_seals.workspace_id, int_mau_months_counted.workspace_id) as workspace_id,
        coalesce(stg_mau_seals.month_start_date, int_mau_months_counted.month_start_date)
            as month_start_date,
        coalesce(stg_mau_seals.mau, int_mau_months_counted.mau) as mau,
        stg_mau_seals.workspace_id is not null as is_sealed,
        stg_mau_seals.sealed_at,
        stg_mau_seals.input_digest,
        '{{ target.name }}' as environment
    from int_mau_months_counted
    full outer join stg_mau_seals
        on
            int_mau_months_counted.workspace_id = stg_mau_seals.workspace_id
            and int_mau_months_counted.month_start_date = stg_mau_seals.month_start_date
)

select * from sealed_or_open
