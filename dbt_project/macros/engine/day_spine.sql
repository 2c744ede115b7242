{#- One row a day from `first_day` to `last_day`, both included; use it in a select list. -#}

{% macro days_from_to(first_day, last_day) -%}
    {{ return(adapter.dispatch('days_from_to', 'rollcall')(first_day, last_day)) }}
{%- endmacro %}

{% macro default__days_from_to(first_day, last_day) -%}
    cast(unnest(generate_series({{ first_day }}, {{ last_day }}, interval 1 day)) as date)
{%- endmacro %}

{% macro spark__days_from_to(first_day, last_day) -%}
    explode(sequence({{ first_day }}, {{ last_day }}, interval 1 day))
{%- endmacro %}

{#- The same as a list in one row. -#}

{% macro list_of_days(first_day, last_day) -%}
    {{ return(adapter.dispatch('list_of_days', 'rollcall')(first_day, last_day)) }}
{%- endmacro %}

{% macro default__list_of_days(first_day, last_day) -%}
    cast(generate_series({{ first_day }}, {{ last_day }}, interval 1 day) as date [])
{%- endmacro %}

{% macro spark__list_of_days(first_day, last_day) -%}
    sequence({{ first_day }}, {{ last_day }}, interval 1 day)
{%- endmacro %}
