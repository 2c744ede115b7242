{#-
    The key of the session that an event's source names; null where it names none. It follows from
    the ids alone, so that an event of any table carries it whether or not its session has landed.
-#}

{% macro session_key_of(relation) -%}
    {%- set prefix = relation ~ '.' -%}
    case
        when {{ prefix }}session_id is not null
            then {{ key_of(
                ["'id'", prefix ~ "workspace_id", prefix ~ "project_id", prefix ~ "session_id"]
            ) }}
    end
{%- endmacro %}
