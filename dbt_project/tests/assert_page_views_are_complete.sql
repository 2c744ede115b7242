-- A page asks for a summary and two series; where one is missing, the audit log is not whole. Each
-- row found is one such view.
{{ config(severity='warn') }}

with

fct_analytics_views as (
    select * from {{ ref('fct_analytics_views') }}
)

select * from fct_analytics_views
where is_incomplete_triple
