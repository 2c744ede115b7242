{#- A text key over several columns that can't run into each other; null differs from ''. -#}

{% macro key_of(columns) -%}
    md5(
        {%- for column in columns %}
        coalesce(length({{ column }}) || ':' || {{ column }}, '-')
        {%- if not loop.last %} || '|' ||{% endif %}
        {%- endfor %}
    )
{%- endmacro %}
