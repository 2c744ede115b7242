-- Every change that counts is counted on exactly one day of fct_memberships_daily; and a project
-- never has more members than users who were ever added to it or given a role in it.

with

fct_membership_changes as (
    select * from {{ ref('fct_membership_changes') }}
    where not is_test
),

fct_memberships_daily as (
    select * from {{ ref('fct_memberships_daily') }}
),

changes as (
    select
        workspace_id,
        project_id,
        count(*) as change_count,
        count(distinct case when change in ('added', 'role_changed') then user_id end)
            as user_count
    from fct_membership_changes
    group by workspace_id, project_id
),

days as (
    select
        workspace_id,
        project_id,
        sum(invited_count + added_count + removed_count + role_changed_count) as change_count,
        max(member_count_at_end) as member_count
    from fct_memberships_daily
    group by workspace_id, project_id
),

differing as (
    select
        days.*,
        changes.change_count as change_count_of_events
    from days
    full outer join changes
        on days.workspace_id = changes.workspace_id and days.project_id = changes.project_id
    where
        days.change_count is distinct from changes.change_count
        or days.member_count > changes.user_count
)

select * from differing
