-- Every change that counts is counted on its day of fct_memberships_daily; and on no day a project
-- gains more members than users were added to it or given a role in it.

with

fct_membership_changes as (
    select * from {{ ref('fct_membership_changes') }}
    {{ where_not_checked('activity_date') }}
),

fct_memberships_daily as (
    select
        *,
        lag(member_count_at_end, 1, 0) over (
            partition by workspace_id, project_id order by activity_date
        ) as member_count_before
    from {{ ref('fct_memberships_daily') }}
),

changes as (
    select
        workspace_id,
        project_id,
        activity_date,
        count(*) as change_count,
        count(distinct case when change in ('added', 'role_changed') then user_id end)
            as user_count
    from fct_membership_changes
    where not is_test
    group by workspace_id, project_id, activity_date
),

days as (
    select
        workspace_id,
        project_id,
        activity_date,
        invited_count + added_count + removed_count + role_changed_count as change_count,
        member_count_at_end - member_count_before as member_count_gained
    from fct_memberships_daily
    {{ where_not_checked('activity_date') }}
),

differing as (
    select
        days.*,
        changes.change_count as change_count_of_events
    from days
    full outer join changes
        on
            days.workspace_id = changes.workspace_id
            and days.project_id = changes.project_id
            and days.activity_date = changes.activity_date
    where
        coalesce(days.change_count, 0) <> coalesce(changes.change_count, 0)
        or days.member_count_gained > coalesce(changes.user_count, 0)
)

select * from differing
