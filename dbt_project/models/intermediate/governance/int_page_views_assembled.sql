-- Which events of analytics.view are one page view: equal in project, actor, impersonator, source
-- and range, within 10 seconds of the first, at most one with an empty interval and two with one.
-- Events further apart than 10 seconds never meet, so that a burst of them is a matter of its own,
-- and nearly every burst is one view. In the others views are taken off one after the other: the
-- earliest event left and the first that fit it, again and again until none is left.
-- A table, made anew each build: a burst may cross any number of midnights, so that no list of days
-- says beforehand what a late event reaches. 1 million events take 3.5 s of CPU, and 2.2 s more in
-- fct_analytics_views; of the demo's events about one in a hundred is of this type.

{%- set view = [
    'workspace_id', 'project_id', 'actor_id', 'impersonator_hash', 'source', 'range_start_at',
    'range_end_at',
] %}
{%- set others = view[1:] %}
{%- set in_order = 'occurred_at, event_id' %}

with recursive

stg_audit_events as (
    select
        workspace_id,
        event_id,
        occurred_at,
        coalesce(view_interval, '') = '' as is_summary,
        {{ others | join(', ') }}
    from {{ ref('stg_audit_events') }}
    where type = 'analytics.view'
),

ordered as (
    select
        *,
        lag(occurred_at) over (
            partition by {{ view | join(', ') }} order by {{ in_order }}
        ) as previous_at
    from stg_audit_events
),

bursts as (
    select
        *,
        sum(
            case
                when {{ seconds_between('previous_at', 'occurred_at') }} <= 10 then 0
                else 1
            end
        ) over (
            partition by {{ view | join(', ') }} order by {{ in_order }}
            rows between unbounded preceding and current row
        ) as burst_number
    from ordered
),

measured as (
    select
        *,
        first_value(event_id) over (
            partition by {{ view | join(', ') }}, burst_number order by {{ in_order }}
        ) as burst_event_id,
        {{ seconds_between(
            'min(occurred_at) over (partition by ' ~ view | join(', ') ~ ', burst_number)',
            'max(occurred_at) over (partition by ' ~ view | join(', ') ~ ', burst_number)',
        ) }} as burst_seconds,
        row_number() over (
            partition by {{ view | join(', ') }}, burst_number, is_summary order by {{ in_order }}
        ) as number_of_kind
    from bursts
),

judged as (
    select
        workspace_id,
        event_id,
        occurred_at,
        is_summary,
        burst_event_id,
        max(
            case
                when number_of_kind > 2 or (is_summary and number_of_kind > 1) then 1
                else 0
            end
        ) over (partition by workspace_id, burst_event_id) = 0
        and burst_seconds <= 10 as is_one_view
    from measured
),

-- of a burst of several views: what is left after so many views were taken off
left_over as (
    select
        workspace_id,
        burst_event_id,
        event_id,
        occurred_at,
        is_summary,
        first_value(event_id) over burst as view_event_id,
        {{ seconds_between('min(occurred_at) over burst', 'occurred_at') }} <= 10
        and row_number() over (
            partition by workspace_id, burst_event_id, is_summary order by {{ in_order }}
        ) <= case when is_summary then 1 else 2 end as is_taken
    from judged
    where not is_one_view
    window burst as (partition by workspace_id, burst_event_id order by {{ in_order }})
    union all
    select
        workspace_id,
        burst_event_id,
        event_id,
        occurred_at,
        is_summary,
        first_value(event_id) over burst as view_event_id,
        {{ seconds_between('min(occurred_at) over burst', 'occurred_at') }} <= 10
        and row_number() over (
            partition by workspace_id, burst_event_id, is_summary order by {{ in_order }}
        ) <= case when is_summary then 1 else 2 end as is_taken
    from left_over
    where not is_taken
    window burst as (partition by workspace_id, burst_event_id order by {{ in_order }})
),

assembled as (
    select
        workspace_id,
        event_id,
        burst_event_id as view_event_id
    from judged
    where is_one_view
    union all
    select
        workspace_id,
        event_id,
        view_event_id
    from left_over
    where is_taken
)

select * from assembled
