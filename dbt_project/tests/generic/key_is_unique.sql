{#-
    The columns are the model's key: no two rows are alike in all of them, nulls counted as equal.
    `never_null` names those, of the key or beside it, that every row has: one test of both reads a
    model once, where a not_null of each would read it again and again.
    `day` names the model's date column of a big table: then a build of changes looks at the days
    that changed since all was last well, by the log `changed_in` where the model has one of its
    own.
-#}

{% test key_is_unique(model, columns, never_null=[], day=none, changed_in=none) %}

select
    {{ columns | join(', ') }},
    {% for column in never_null -%}
        count(*) - count({{ column }}) as {{ column }}_null_count,
    {% endfor -%}
    count(*) as row_count
from {{ model }}
{{ where_not_checked(day, changed_in) }}
group by {{ columns | join(', ') }}
having
    count(*) > 1
    {%- for column in never_null %} or count({{ column }}) < count(*){% endfor %}

{% endtest %}
