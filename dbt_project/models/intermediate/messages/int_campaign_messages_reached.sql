{{ messages_reached(
    'campaign_events', 'int_campaign_messages_decided',
    ['workspace_id', 'message_id'],
) }}
