{{ staged_events('webhook_deliveries', [
    'delivery_id',
    'endpoint_id',
    'event_type',
    'attempt',
    'outcome',
    'status_code',
    'latency_ms',
    'will_retry',
]) }}
