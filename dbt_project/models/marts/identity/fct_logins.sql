{{ config(
    materialized='view',
    meta={'published_by_day': {
        'day': 'activity_date',
        'changed_in': 'int_days_changed',
        'source_table': 'auth_events',
    }},
) }}
-- depends_on: {{ ref('int_days_changed') }}

with

int_auth_events_resolved as (
    select * from {{ ref('int_auth_events_resolved') }}
    where type = 'login' and outcome = 'success' and not is_test
),

dim_services as (
    select * from {{ ref('dim_services') }}
),

logins as (
    select
        int_auth_events_resolved.workspace_id,
        int_auth_events_resolved.event_id,
        int_auth_events_resolved.project_id,
        int_auth_events_resolved.user_id,
        int_auth_events_resolved.service_id,
        dim_services.name as service_name,
        int_auth_events_resolved.provider,
        int_auth_events_resolved.occurred_at as created_at,
        int_auth_events_resolved.is_impersonated,
        int_auth_events_resolved.activity_date,
        '{{ target.name }}' as environment
    from int_auth_events_resolved
    left join dim_services on int_auth_events_resolved.service_id = dim_services.service_id
)

select * from logins
