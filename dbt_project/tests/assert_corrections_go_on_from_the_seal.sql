-- The first correction of a month starts from its seal, every other from the one before.
{{ config(enabled=target.name == 'production') }}

with

fct_mau_monthly as (
    select * from {{ ref('fct_mau_monthly') }}
),

fct_mau_corrections as (
    select * from {{ ref('fct_mau_corrections') }}
),

in_order as (
    select
        fct_mau_corrections.*,
        coalesce(
            lag(fct_mau_corrections.mau_after) over (
                partition by
                    fct_mau_corrections.workspace_id, fct_mau_corrections.month_start_date
                order by fct_mau_corrections.correction_number
            ),
            fct_mau_monthly.mau
        ) as mau_so_far,
        fct_mau_monthly.is_sealed
    from fct_mau_corrections
    left join fct_mau_monthly
        on
            fct_mau_corrections.workspace_id = fct_mau_monthly.workspace_id
            and fct_mau_corrections.month_start_date = fct_mau_monthly.month_start_date
)

select * from in_order
where is_sealed is distinct from true or mau_before is distinct from mau_so_far
