{{ staged_events('platform_events', [
    'method',
    'route',
    'status_code',
    'latency_ms',
    'safety_flagged',
    'safety_category',
]) }}
