{#- Lists, which every engine spells in its own way. -#}

{% macro list_of(expressions) -%}
    {{ return(adapter.dispatch('list_of', 'rollcall')(expressions)) }}
{%- endmacro %}

{% macro default__list_of(expressions) -%}
    [{{ expressions | join(', ') }}]
{%- endmacro %}

{% macro spark__list_of(expressions) -%}
    array({{ expressions | join(', ') }})
{%- endmacro %}

{% macro list_with(list, element) -%}
    {{ return(adapter.dispatch('list_with', 'rollcall')(list, element)) }}
{%- endmacro %}

{% macro default__list_with(list, element) -%}
    list_append({{ list }}, {{ element }})
{%- endmacro %}

{% macro spark__list_with(list, element) -%}
    array_append({{ list }}, {{ element }})
{%- endmacro %}

{% macro list_holds(list, element) -%}
    {{ return(adapter.dispatch('list_holds', 'rollcall')(list, element)) }}
{%- endmacro %}

{% macro default__list_holds(list, element) -%}
    list_contains({{ list }}, {{ element }})
{%- endmacro %}

{% macro spark__list_holds(list, element) -%}
    array_contains({{ list }}, {{ element }})
{%- endmacro %}

{% macro list_length(list) -%}
    {{ return(adapter.dispatch('list_length', 'rollcall')(list)) }}
{%- endmacro %}

{% macro default__list_length(list) -%}
    len({{ list }})
{%- endmacro %}

{% macro spark__list_length(list) -%}
    size({{ list }})
{%- endmacro %}

{% macro distinct_list(expression) -%}
    {{ return(adapter.dispatch('distinct_list', 'rollcall')(expression)) }}
{%- endmacro %}

{% macro default__distinct_list(expression) -%}
    list_sort(list(distinct {{ expression }}))
{%- endmacro %}

{% macro spark__distinct_list(expression) -%}
    sort_array(collect_set({{ expression }}))
{%- endmacro %}

{% macro rows_of_list(list) -%}
    {{ return(adapter.dispatch('rows_of_list', 'rollcall')(list)) }}
{%- endmacro %}

{% macro default__rows_of_list(list) -%}
    unnest({{ list }})
{%- endmacro %}

{% macro spark__rows_of_list(list) -%}
    explode({{ list }})
{%- endmacro %}

{#- The values of a group that are not null, doubled ones too, from the least on. -#}

{% macro values_list(expression) -%}
    {{ return(adapter.dispatch('values_list', 'rollcall')(expression)) }}
{%- endmacro %}

{% macro default__values_list(expression) -%}
    list_sort(list({{ expression }}) filter (where {{ expression }} is not null))
{%- endmacro %}

{% macro spark__values_list(expression) -%}
    sort_array(collect_list({{ expression }}))
{%- endmacro %}
