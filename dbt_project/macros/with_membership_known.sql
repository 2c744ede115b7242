{#-
    Rows with what was known of their user's membership at their time: a select of everything in
    `rows` (a CTE) and `known_membership_id`, the membership_id of the user's latest membership
    event in the project at or before `at`, see int_memberships_spanned. `rows` has workspace_id,
    project_id, user_id (the survivor), is_test and the time; a row without a user knows none.

    A join of spans and not of instants (`asof join`), because spans were stored: of 1 million rows
    by 1 million instants it took 1.2 s instead of 3.4, of a single day of them 0.1 s instead of 2.0
    (2 cores), and the days that somebody asks for are looked for on its other side first.
-#}

{% macro with_membership_known(rows, at='occurred_at') %}
    select
        {{ rows }}.*,
        memberships_known.membership_id as known_membership_id
    from {{ rows }}
    left join {{ ref('int_memberships_spanned') }} as memberships_known
        on
            {{ rows }}.workspace_id = memberships_known.workspace_id
            and {{ rows }}.project_id = memberships_known.project_id
            and {{ rows }}.user_id = memberships_known.user_id
            and {{ rows }}.is_test = memberships_known.is_test
            and {{ rows }}.{{ at }} >= memberships_known.occurred_at
            and {{ rows }}.{{ at }} < memberships_known.until_at
{% endmacro %}
