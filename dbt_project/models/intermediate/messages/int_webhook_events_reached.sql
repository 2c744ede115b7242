{{ messages_reached(
    'webhook_deliveries', 'int_webhook_events_decided',
    ['workspace_id', 'delivery_id', 'endpoint_id'],
) }}
