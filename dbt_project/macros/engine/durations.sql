{#- Time arithmetic that DuckDB and Spark spell differently. -#}

{% macro seconds_between(earlier, later) -%}
    {{ return(adapter.dispatch('seconds_between', 'rollcall')(earlier, later)) }}
{%- endmacro %}

{% macro default__seconds_between(earlier, later) -%}
    ((epoch_us({{ later }}) - epoch_us({{ earlier }})) / 1000000.0::double)
{%- endmacro %}

{% macro spark__seconds_between(earlier, later) -%}
    (cast(unix_micros({{ later }}) - unix_micros({{ earlier }}) as double) / 1000000)
{%- endmacro %}

{% macro add_days(day, count) -%}
    {{ return(adapter.dispatch('add_days', 'rollcall')(day, count)) }}
{%- endmacro %}

{% macro default__add_days(day, count) -%}
    cast({{ day }} + {{ count }} as date)
{%- endmacro %}

{% macro spark__add_days(day, count) -%}
    date_add({{ day }}, {{ count }})
{%- endmacro %}

{% macro days_between(earlier, later) -%}
    {{ return(adapter.dispatch('days_between', 'rollcall')(earlier, later)) }}
{%- endmacro %}

{% macro default__days_between(earlier, later) -%}
    ({{ later }} - {{ earlier }})
{%- endmacro %}

{% macro spark__days_between(earlier, later) -%}
    datediff({{ later }}, {{ earlier }})
{%- endmacro %}

{% macro month_of(day) -%}
    cast(date_trunc('month', {{ day }}) as date)
{%- endmacro %}

{% macro last_day_of_month(day) -%}
    last_day({{ day }})
{%- endmacro %}
