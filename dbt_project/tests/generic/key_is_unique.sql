{#-
    The columns are the model's key: no two rows are alike in all of them, nulls counted as equal.
    `never_null` names those, of the key or beside it, that every row has: one test of both reads a
    model once, where a not_null of each would read it again and again.
    `day` names the model's date column of a big table: then a build of changes looks at the days
    that changed since all was last well, by the log `changed_in` where the model has one of its
    own.
    `by_batch` is of staged events: two of one id may lie any time apart, so a build of changes
    compares what landed since all was last well with itself, and the audit of the raw tables
    (no_id_landed_twice) compares it with what landed before, once for both environments.
-#}

{% test key_is_unique(
    model, columns, never_null=[], day=none, changed_in=none, by_batch=false
) %}

select
    {{ columns | join(', ') }},
    {% for column in never_null -%}
        count(*) - count({{ column }}) as {{ column }}_null_count,
    {% endfor -%}
    count(*) as row_count
from {{ model }}
{{ where_not_checked(day, changed_in) }}
{{ where_landed_not_checked() if by_batch }}
group by {{ columns | join(', ') }}
having
    count(*) > 1
    {%- for column in never_null %} or count({{ column }}) < count(*){% endfor %}

{% endtest %}
