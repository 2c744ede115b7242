{#-
    The columns are the model's key: no two rows are alike in all of them, nulls counted as equal.
    `never_null` names those, of the key or beside it, that every row has: one test of both reads a
    model once, where a not_null of each would read it again and again.
    `day` names the model's date column of a big table: then a build of changes looks at the days
    that changed since all was last well, by the log `changed_in` where the model has one of its
    own.
    `landed_in` names the raw table of staged events: two of one id may lie any time apart, so a
    build of changes asks for ids that landed since all was last well and that met another one, by
    the 8 bytes that landing finds them by (40 million events: 0.2 s of CPU, and 25 by their ids).
    A full refresh asks the ids themselves.
-#}

{% test key_is_unique(
    model, columns, never_null=[], day=none, changed_in=none, landed_in=none
) %}

select
    {{ columns | join(', ') }},
    {% for column in never_null -%}
        count(*) - count({{ column }}) as {{ column }}_null_count,
    {% endfor -%}
    count(*) as row_count
from {{ model }}
{{ where_not_checked(day, changed_in) }}
{{ where_met(landed_in) if landed_in }}
group by {{ columns | join(', ') }}
having
    count(*) > 1
    {%- for column in never_null %} or count({{ column }}) < count(*){% endfor %}

{% endtest %}
