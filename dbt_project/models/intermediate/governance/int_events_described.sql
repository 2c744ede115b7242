{#-
    Every event of every event table in one envelope, audit events too, each with a sentence that
    says what happened. The sentence holds words of closed lists and names that developers give;
    no reason, no id, nothing of a route behind its `?`, and no route with an address in it.
-#}
{%- set null_text = 'cast(null as ' ~ dbt.type_string() ~ ')' %}
{%- set sentences = {
    'auth_events': [
        "replace(type, '_', ' ')",
        "case outcome when 'success' then 'succeeded' when 'failure' then 'failed' end",
        "'by ' || method",
        "'with ' || provider",
    ],
    'session_events': [
        "type",
        "'of journey ' || journey_name",
        "'of metric ' || name",
        "'of action ' || action_name",
        "'by ' || revoked_by_kind",
    ],
    'platform_events': [
        "type",
        "method",
        "case when strpos(route, '@') = 0 then split_part(route, '?', 1) end",
        "'answered ' || cast(status_code as " ~ dbt.type_string() ~ ")",
    ],
    'membership_events': ["type", "'from ' || previous_role", "'to ' || role"],
    'webhook_deliveries': [
        "type",
        "'of ' || event_type",
        "outcome",
        "'at attempt ' || cast(attempt as " ~ dbt.type_string() ~ ")",
        "'with status ' || cast(status_code as " ~ dbt.type_string() ~ ")",
    ],
    'campaign_events': ["type", "'by ' || channel"],
    'loyalty_events': [
        "type",
        "cast(points as " ~ dbt.type_string() ~ ") || ' points'",
        "'to ' || tier",
    ],
    'notification_events': ["type", "'by ' || channel"],
} %}
{%- set with_outcome = ['auth_events', 'webhook_deliveries'] %}
{%- set measured = ['platform_events', 'webhook_deliveries'] %}
{%- set null_integer = 'cast(null as bigint)' %}
{%- set null_double = 'cast(null as double)' %}

with

described as (
    {%- for table_name in event_tables() %}
    select
        '{{ table_name }}' as source_table,
        workspace_id,
        event_id,
        project_id,
        type,
        occurred_at,
        received_at,
        user_id,
        {{ null_text }} as actor_type,
        anonymous_id,
        impersonator_id,
        session_id,
        service_id,
        api_key_id,
        trace_id,
        {{ 'outcome' if table_name in with_outcome else null_text }} as outcome,
        {{ 'provider' if table_name == 'auth_events' else null_text }} as auth_provider,
        {{ 'method' if table_name == 'auth_events' else null_text }} as auth_method,
        {{ 'status_code' if table_name in measured else null_integer }} as status_code,
        {{ 'latency_ms' if table_name in measured else null_double }} as latency_ms,
        {{ 'safety_flagged' if table_name == 'platform_events' else 'cast(null as boolean)' }}
            as is_safety_flagged,
        user_agent,
        is_test,
        is_impersonated,
        is_clock_skewed,
        concat_ws(
            ' ',
            {{ sentences[table_name] | join(',\n            ') }}
        ) as summary,
        activity_date,
        _batch
    from {{ ref('stg_' ~ table_name) }}
    union all
    {%- endfor %}
    select
        'audit_events' as source_table,
        workspace_id,
        event_id,
        project_id,
        type,
        occurred_at,
        received_at,
        actor_id as user_id,
        actor_type,
        {{ null_text }} as anonymous_id,
        impersonator_hash as impersonator_id,
        {{ null_text }} as session_id,
        {{ null_text }} as service_id,
        {{ null_text }} as api_key_id,
        {{ null_text }} as trace_id,
        {{ null_text }} as outcome,
        {{ null_text }} as auth_provider,
        {{ null_text }} as auth_method,
        {{ null_integer }} as status_code,
        {{ null_double }} as latency_ms,
        cast(null as boolean) as is_safety_flagged,
        user_agent,
        false as is_test,
        is_impersonated,
        is_clock_skewed,
        concat_ws(
            ' ',
            type,
            'from ' || cast(cast(range_start_at as date) as {{ dbt.type_string() }}),
            'to ' || cast(cast(range_end_at as date) as {{ dbt.type_string() }}),
            'by ' || nullif(view_interval, ''),
            case when is_impersonated then 'while impersonated' end
        ) as summary,
        activity_date,
        _batch
    from {{ ref('stg_audit_events') }}
)

select * from described
