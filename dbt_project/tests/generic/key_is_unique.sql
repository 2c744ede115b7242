{#- The columns are the model's key: no two rows are alike in all of them, nulls counted as equal. -#}

{% test key_is_unique(model, columns) %}

select
    {{ columns | join(', ') }},
    count(*) as row_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}
