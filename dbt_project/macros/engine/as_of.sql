{#-
    Rows with what was known at their time. `with_membership_known` is a select of everything in
    `rows` (a CTE) and `known_membership_id`: the membership_id of the user's latest membership
    event in the project at or before `at`, see int_memberships_known. `rows` has workspace_id,
    project_id, user_id (the survivor), is_test and the time; a row without a user knows none.
-#}

{% macro with_membership_known(rows, at='occurred_at') -%}
    {{ return(adapter.dispatch('with_membership_known', 'rollcall')(rows, at)) }}
{%- endmacro %}

{% macro default__with_membership_known(rows, at) -%}
    select
        {{ rows }}.*,
        memberships_known.membership_id as known_membership_id
    from {{ rows }}
    asof left join {{ ref('int_memberships_known') }} as memberships_known
        on
            {{ rows }}.workspace_id = memberships_known.workspace_id
            and {{ rows }}.project_id = memberships_known.project_id
            and {{ rows }}.user_id = memberships_known.user_id
            and {{ rows }}.is_test = memberships_known.is_test
            and {{ rows }}.{{ at }} >= memberships_known.occurred_at
{%- endmacro %}

{% macro spark__with_membership_known(rows, at) -%}
    select
        {{ rows }}.*,
        memberships_known.membership_id as known_membership_id
    from {{ rows }}
    left join (
        select
            *,
            lead(occurred_at) over (
                partition by workspace_id, project_id, user_id, is_test order by occurred_at
            ) as until_at
        from {{ ref('int_memberships_known') }}
    ) as memberships_known
        on
            {{ rows }}.workspace_id = memberships_known.workspace_id
            and {{ rows }}.project_id = memberships_known.project_id
            and {{ rows }}.user_id = memberships_known.user_id
            and {{ rows }}.is_test = memberships_known.is_test
            and {{ rows }}.{{ at }} >= memberships_known.occurred_at
            and {{ rows }}.{{ at }} < coalesce(
                memberships_known.until_at, cast('9999-12-31' as timestamp)
            )
{%- endmacro %}
