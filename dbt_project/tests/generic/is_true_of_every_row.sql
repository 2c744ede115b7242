{#-
    An identity of the model: the expression is true of every row; null counts as false. `day`
    and `changed_in` as in key_is_unique.
-#}

{% test is_true_of_every_row(model, expression, day=none, changed_in=none) %}

select *
from (select * from {{ model }} {{ where_not_checked(day, changed_in) }}) as rows_to_check
where ({{ expression }}) is distinct from true

{% endtest %}
