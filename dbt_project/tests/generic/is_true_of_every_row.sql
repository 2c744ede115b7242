{#-
    An identity of the model: the expression is true of every row; null counts as false. `day` as in
    key_is_unique.
-#}

{% test is_true_of_every_row(model, expression, day=none) %}

select *
from (select * from {{ model }} {{ where_not_checked(day) }}) as rows_to_check
where ({{ expression }}) is distinct from true

{% endtest %}
