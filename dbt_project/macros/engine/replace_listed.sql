{#-
    Incremental strategy `replace_listed`: rows that a list of changes names go, the model's rows
    come. The model says which in its config:

        meta:
            replaces:
                listed_in: int_days_changed
                on: old.activity_date = listed.activity_date

    What goes is told by the list and never by the result: a day that has become empty has no rows
    in the result and yet has to lose those it had.

    A list of keys (and not of days) names what the last complete build can have left. When there is
    none, because a full refresh was killed, rows may stand under keys that nothing names any more:
    `replaces` of such a model says `by_key: true`, and all rows go, because all come again.
-#}

{% macro get_incremental_replace_listed_sql(arguments) -%}
    {{ return(adapter.dispatch('replace_listed', 'rollcall')(arguments)) }}
{%- endmacro %}

{% macro default__replace_listed(arguments) -%}
    {%- set target_table = arguments['target_relation'] -%}
    {%- set columns = arguments['dest_columns'] | map(attribute='quoted') | join(', ') -%}
    {%- set replaces = config.get('meta')['replaces'] -%}
    delete from {{ target_table }}
    where rowid in (
        select old.rowid
        from {{ target_table }} as old
        inner join {{ listed_now(ref(replaces['listed_in'])) }} as listed
            on {{ replaces['on'] }}
    )
    {%- if replaces.get('by_key') %}
    or {{ built_batch() }} = 0
    {%- endif %};
    insert into {{ target_table }} ({{ columns }})
    select {{ columns }} from {{ arguments['temp_relation'] }}
{%- endmacro %}

{% macro spark__replace_listed(arguments) -%}
    {%- set replaces = config.get('meta')['replaces'] -%}
    insert overwrite table {{ arguments['target_relation'] }}
    select * from {{ arguments['target_relation'] }} as old
    left anti join {{ listed_now(ref(replaces['listed_in'])) }} as listed on {{ replaces['on'] }}
    {%- if replaces.get('by_key') %}
    where {{ built_batch() }} > 0
    {%- endif %}
    union all
    select * from {{ arguments['temp_relation'] }}
{%- endmacro %}
