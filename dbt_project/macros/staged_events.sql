{#-
    Stages one event table: this environment only, one name a concept, times made sane.

    The filter on environment stands here and in the staging of audit events and of the records that
    were displaced, and nowhere after: no join, window or count downstream can mix the two
    environments, because the other one is not there.

    A clock that runs ahead must not move an event into a day that had not begun: landing flags an
    occurred_at that is too far after received_at, and it counts as received_at.
-#}

{% macro staged_events(table_name, typed_columns=[]) %}
with

this_environment as (
    select * from {{ source('raw', table_name) }}
    where environment = '{{ target.name }}'
),

clamped as (
    select
        id as event_id,
        type,
        environment,
        workspace_id,
        project_id,
        user_id,
        anonymous_id,
        session_id,
        service_id,
        api_key_id,
        trace_id,
        impersonator_id,
        case when _is_clock_skewed then received_at else occurred_at end as occurred_at,
        _activity_date as activity_date,
        received_at,
        user_agent,
        is_test,
        impersonator_id is not null as is_impersonated,
        _is_clock_skewed as is_clock_skewed,
        {%- for column in typed_columns %}
        {{ column }},
        {%- endfor %}
        _batch
    from this_environment
)

select * from clamped
{% endmacro %}
