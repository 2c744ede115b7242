{#- Spans of time of a key, put together where they meet; `spans` has the keys, from_at, to_at. -#}

{% macro merged_spans(spans, keys) %}
    select
        {{ keys | join(', ') }},
        min(from_at) as from_at,
        max(to_at) as to_at
    from (
        select
            *,
            sum(is_start) over (
                partition by {{ keys | join(', ') }} order by from_at, to_at
                rows between unbounded preceding and current row
            ) as span_number
        from (
            select
                *,
                case
                    when from_at <= max(to_at) over (
                        partition by {{ keys | join(', ') }} order by from_at, to_at
                        rows between unbounded preceding and 1 preceding
                    ) then 0
                    else 1
                end as is_start
            from {{ spans }}
        ) as marked
    ) as numbered
    group by {{ keys | join(', ') }}, span_number
{% endmacro %}
