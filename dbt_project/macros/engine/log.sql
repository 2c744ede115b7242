{#-
    Incremental strategy `log`: rows are added and stay, each with the batch of the build that added
    it. What a build that did not come to its end has added goes first.
-#}

{% macro get_incremental_log_sql(arguments) -%}
    {%- set columns = arguments['dest_columns'] | map(attribute='quoted') | join(', ') -%}
    delete from {{ arguments['target_relation'] }} where _batch > {{ built_batch() }};
    insert into {{ arguments['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arguments['temp_relation'] }}
{%- endmacro %}
