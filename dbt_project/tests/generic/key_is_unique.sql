{#-
    The columns are the model's key: no two rows are alike in all of them, nulls counted as equal.
    `day` names the model's date column of a big table: then a build of changes looks at the days
    that changed since all was last well.
-#}

{% test key_is_unique(model, columns, day=none) %}

select
    {{ columns | join(', ') }},
    count(*) as row_count
from {{ model }}
{{ where_not_checked(day) }}
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}
