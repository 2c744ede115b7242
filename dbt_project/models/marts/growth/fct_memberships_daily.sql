-- Members at the end of a day are a running total: a user adds one on the day they become a member
-- and takes one away on the day they cease to be one. Only users with a change on a written day are
-- looked at, and what was counted on the day before stands in the mart, so that a new day costs
-- that day.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_listed',
    meta={'replaces': {
        'listed_in': 'int_membership_days_reached',
        'on': 'old.workspace_id = listed.workspace_id
            and old.project_id = listed.project_id
            and old.activity_date >= listed.from_date',
    }},
) }}

with

int_member_days_counted as (
    select * from {{ ref('int_member_days_counted') }}
),

int_days_covered as (
    select * from {{ ref('int_days_covered') }}
),

int_membership_days_reached as (
    select * from {{ listed_now(ref('int_membership_days_reached')) }} as listed
),

reached as (
    {%- if is_incremental() %}
    select
        int_membership_days_reached.workspace_id,
        int_membership_days_reached.project_id,
        int_membership_days_reached.from_date,
        the_day_before.activity_date is not null as is_known_before,
        coalesce(the_day_before.member_count_at_end, 0) as member_count_before
    from int_membership_days_reached
    left join {{ this }} as the_day_before
        on
            int_membership_days_reached.workspace_id = the_day_before.workspace_id
            and int_membership_days_reached.project_id = the_day_before.project_id
            and {{ add_days('int_membership_days_reached.from_date', -1) }}
            = the_day_before.activity_date
    {%- else %}
    select
        workspace_id,
        project_id,
        min(activity_date) as from_date,
        false as is_known_before,
        0 as member_count_before
    from int_member_days_counted
    group by workspace_id, project_id
    {%- endif %}
),

written_member_days as (
    select int_member_days_counted.*
    from int_member_days_counted
    inner join reached
        on
            int_member_days_counted.workspace_id = reached.workspace_id
            and int_member_days_counted.project_id = reached.project_id
            and int_member_days_counted.activity_date >= reached.from_date
),

written_members as (
    select distinct
        workspace_id,
        project_id,
        user_key
    from written_member_days
    where user_key is not null
),

steps as (
    select
        int_member_days_counted.workspace_id,
        int_member_days_counted.project_id,
        int_member_days_counted.activity_date,
        cast(int_member_days_counted.is_member as integer)
        - lag(cast(int_member_days_counted.is_member as integer), 1, 0) over (
            partition by
                int_member_days_counted.workspace_id,
                int_member_days_counted.project_id,
                int_member_days_counted.user_key
            order by int_member_days_counted.activity_date
        ) as step
    from int_member_days_counted
    inner join written_members
        on
            int_member_days_counted.workspace_id = written_members.workspace_id
            and int_member_days_counted.project_id = written_members.project_id
            and int_member_days_counted.user_key = written_members.user_key
),

steps_by_day as (
    select
        workspace_id,
        project_id,
        activity_date,
        sum(step) as step
    from steps
    group by workspace_id, project_id, activity_date
),

counts_by_day as (
    select
        workspace_id,
        project_id,
        activity_date,
        sum(invited_count) as invited_count,
        sum(added_count) as added_count,
        sum(removed_count) as removed_count,
        sum(role_changed_count) as role_changed_count
    from written_member_days
    group by workspace_id, project_id, activity_date
),

days as (
    select
        reached.workspace_id,
        reached.project_id,
        reached.is_known_before,
        reached.member_count_before,
        int_days_covered.activity_date
    from reached
    inner join int_days_covered on reached.from_date <= int_days_covered.activity_date
),

counted as (
    select
        days.workspace_id,
        days.project_id,
        days.activity_date,
        cast(coalesce(counts_by_day.invited_count, 0) as bigint) as invited_count,
        cast(coalesce(counts_by_day.added_count, 0) as bigint) as added_count,
        cast(coalesce(counts_by_day.removed_count, 0) as bigint) as removed_count,
        cast(coalesce(counts_by_day.role_changed_count, 0) as bigint) as role_changed_count,
        cast(
            days.member_count_before + sum(coalesce(steps_by_day.step, 0)) over (
                partition by days.workspace_id, days.project_id order by days.activity_date
                rows between unbounded preceding and current row
            ) as bigint
        ) as member_count_at_end,
        -- the project's rows begin with its first change
        days.is_known_before
        or count(counts_by_day.activity_date) over (
            partition by days.workspace_id, days.project_id order by days.activity_date
            rows between unbounded preceding and current row
        ) > 0 as has_begun
    from days
    left join counts_by_day
        on
            days.workspace_id = counts_by_day.workspace_id
            and days.project_id = counts_by_day.project_id
            and days.activity_date = counts_by_day.activity_date
    left join steps_by_day
        on
            days.workspace_id = steps_by_day.workspace_id
            and days.project_id = steps_by_day.project_id
            and days.activity_date = steps_by_day.activity_date
),

described as (
    select
        workspace_id,
        project_id,
        activity_date,
        invited_count,
        added_count,
        removed_count,
        role_changed_count,
        member_count_at_end,
        '{{ target.name }}' as environment
    from counted
    where has_begun
)

select * from described
