{{ messages_reached(
    'notification_events', 'int_notifications_decided',
    ['workspace_id', 'notification_id', 'channel'],
) }}
