{#-
    Intervals of users' lives: a UTC day, an ISO week from Monday, a calendar month. An interval
    stands as its first day.
-#}

{% macro interval_of(grain, day) -%}
    {%- if grain == 'day' -%}
    {{ day }}
    {%- else -%}
    cast(date_trunc('{{ grain }}', {{ day }}) as date)
    {%- endif -%}
{%- endmacro %}

{#- The first day of the interval so many after (before, where negative) the one given. -#}
{% macro interval_after(grain, interval_start, count=1) -%}
    cast({{ interval_start }} + interval '{{ count }}' {{ grain }} as date)
{%- endmacro %}
