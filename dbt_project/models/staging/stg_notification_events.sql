{{ staged_events('notification_events', [
    'notification_id',
    'channel',
]) }}
