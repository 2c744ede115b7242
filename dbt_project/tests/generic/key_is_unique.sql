{#-
    The columns are the model's key: no two rows are alike in all of them, nulls counted as equal.
    `day` names the model's date column of a big table: then a build of changes looks at the days
    that changed since all was last well, by the log `changed_in` where the model has one of its
    own.
-#}

{% test key_is_unique(model, columns, day=none, changed_in=none) %}

select
    {{ columns | join(', ') }},
    count(*) as row_count
from {{ model }}
{{ where_not_checked(day, changed_in) }}
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}
