-- An hour is unusual when its failure rate is above what the same project's last week lets expect:
-- the mean of the hourly rates of the 168 hours before it plus three (sample) standard deviations,
-- where at least 24 of those hours had attempts. The sums run over whole billionths, so that they
-- are the same whatever the order of addition: a full refresh must not differ in the last digit.

{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={
        'replaces': {
            'listed_in': 'int_failure_days_reached',
            'on': 'cast(old.activity_hour_at as date) = listed.activity_date',
        },
        'tested_where_replaced': true,
    },
) }}

{%- set billion = '1000000000' %}
{%- set hours_needed = 24 %}
{%- set attempts_needed = 20 %}

with

int_failure_days_reached as (
    select * from {{ listed_now(ref('int_failure_days_reached')) }} as listed
),

days_read as (
    select distinct
        {{ days_from_to(add_days('activity_date', -7), 'activity_date') }} as activity_date
    from int_failure_days_reached
),

int_attempt_hours_counted as (
    select * from {{ ref('int_attempt_hours_counted') }}
    where true {{ and_listed('activity_date', 'days_read') }}
),

rated as (
    select
        *,
        cast(failure_count as double) / attempt_count as failure_rate,
        cast(
            round(cast(failure_count as double) / attempt_count * {{ billion }}) as decimal(38, 0)
        ) as billionths
    from int_attempt_hours_counted
),

summed as (
    select
        *,
        count(*) over the_week_before as hour_count,
        sum(billionths) over the_week_before as total,
        sum(billionths * billionths) over the_week_before as total_of_squares
    from rated
    window the_week_before as (
        partition by workspace_id, project_id, kind
        order by activity_hour_at
        range between interval '168' hour preceding and interval '1' hour preceding
    )
),

expected as (
    select
        *,
        case
            when hour_count >= {{ hours_needed }} then least(
                (
                    cast(total as double) / hour_count
                    + 3 * sqrt(
                        cast(hour_count * total_of_squares - total * total as double)
                        / (hour_count * (hour_count - 1))
                    )
                ) / {{ billion }},
                1
            )
        end as baseline_rate
    from summed
),

signals as (
    select
        workspace_id,
        project_id,
        kind,
        activity_hour_at,
        attempt_count,
        failure_count,
        failure_rate,
        baseline_rate,
        trace_ids,
        cast(traced_failure_count as double) / nullif(failure_count, 0) as trace_coverage_rate,
        coalesce(
            attempt_count >= {{ attempts_needed }} and round(failure_rate, 9) > baseline_rate, false
        ) as is_anomaly,
        '{{ target.name }}' as environment
    from expected
    where true {{ and_listed('activity_date', 'int_failure_days_reached') }}
)

select * from signals
