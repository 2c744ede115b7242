{#- The event tables of one envelope; audit_events have another and are no activity. -#}

{% macro event_tables() -%}
    {{ return([
        'auth_events', 'session_events', 'platform_events', 'membership_events',
        'webhook_deliveries', 'campaign_events', 'loyalty_events', 'notification_events',
    ]) }}
{%- endmacro %}
