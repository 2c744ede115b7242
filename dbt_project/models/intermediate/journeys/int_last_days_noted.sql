-- The environment's last day: a journey without a completion is abandoned when it has no event on
-- it. Beside it stand the last days by which the marts may have been built before: that of the last
-- complete build and those of the builds since, which may have come to some models and not to
-- others. Which states have turned is told by all of them, because a last day that moved on in a
-- build that failed may have moved back in the next.

{%- set standing_days = standing('int_last_days_noted') %}

with

int_days_covered as (
    select * from {{ ref('int_days_covered') }}
),

noted as (
    select
        max(activity_date) as last_date,
        true as is_now,
        {{ building_batch() }} as _batch
    from int_days_covered
    {%- if standing_days and not flags.FULL_REFRESH %}
    union
    select
        last_date,
        false as is_now,
        _batch
    from {{ standing_days }}
    where _batch >= {{ built_batch() }}
    {%- endif %}
)

select * from noted
