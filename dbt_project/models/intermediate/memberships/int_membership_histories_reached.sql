-- Of whom, and in which project, this build found something else about their memberships, and from
-- which day on: what a membership event that landed or was displaced says of the user it names, and
-- what somebody takes along who is merged or parted. Both who they count as now and who they
-- counted as have another history.

{%- set is_needed = standing('int_memberships_spanned') and not flags.FULL_REFRESH %}

with

int_user_days_counted as (
    select * from {{ ref('int_user_days_counted') }}
    where source_table = 'membership_events'
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

int_users_changed as (
    select * from {{ ref('int_users_changed') }}
    {{ "where false" if not is_needed }}
),

moments as (
    select
        workspace_id,
        project_id,
        user_id,
        activity_date
    from {{ ref('stg_membership_events') }}
    where _batch > {{ built_batch() if is_needed else building_batch() }}
    union
    select
        workspace_id,
        project_id,
        user_id,
        activity_date
    from {{ ref('stg_displaced_records') }}
    where
        source_table = 'membership_events'
        and _batch > {{ built_batch() if is_needed else building_batch() }}
    union
    select
        int_user_days_counted.workspace_id,
        int_user_days_counted.project_id,
        int_users_changed.user_id,
        int_user_days_counted.activity_date
    from int_users_changed
    inner join int_users_interned on int_users_changed.user_id = int_users_interned.user_id
    inner join int_user_days_counted
        on int_users_interned.user_number = int_user_days_counted.user_number
),

survivors as (
    select
        user_id,
        surviving_user_id
    from int_users_interned
    where user_id in (select user_id from moments)
    union
    select
        user_id,
        former_surviving_user_id as surviving_user_id
    from int_users_changed
),

reached as (
    select
        moments.workspace_id,
        moments.project_id,
        survivors.surviving_user_id as user_id,
        min(moments.activity_date) as from_date,
        {{ building_batch() }} as _batch
    from moments
    inner join survivors on moments.user_id = survivors.user_id
    group by moments.workspace_id, moments.project_id, survivors.surviving_user_id
)

select * from reached
