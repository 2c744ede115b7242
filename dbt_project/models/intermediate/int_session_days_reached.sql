-- The days of fct_sessions_daily that this build writes anew: those on which sessions changed, and
-- those that come or go because a project's first day or the environment's last one moved.

{%- set mart = standing('fct_sessions_daily') %}
-- depends_on: {{ ref('int_sessions_identified') }}, {{ ref('int_sessions_inferred') }}

with

int_days_covered as (
    select * from {{ ref('int_days_covered') }}
),

changed_days as (
    select distinct activity_date
    from {{ listed_now(ref('int_session_days_changed')) }} as listed
),

{%- if mart %}

actives as (
    {%- for model in ['int_sessions_identified', 'int_sessions_inferred'] %}
    select
        workspace_id,
        project_id,
        started_date as activity_date
    from {{ ref(model) }}
    where not is_test and started_date in (select activity_date from changed_days)
    {%- if not loop.last %}
    union
    {%- endif %}
    {%- endfor %}
),

{{ spine_days_moved(mart, ['workspace_id', 'project_id'], 'started_count', 'session_date') }},

{%- endif %}

reached as (
    select activity_date from changed_days
    {%- if mart %}
    union
    select activity_date from spine_days_moved
    {%- endif %}
),

listed as (
    select
        activity_date,
        {{ building_batch() }} as _batch
    from reached
)

select * from listed
