{#- An identity of the model: the expression is true of every row; null counts as false. -#}

{% test is_true_of_every_row(model, expression) %}

select *
from {{ model }}
where ({{ expression }}) is distinct from true

{% endtest %}
