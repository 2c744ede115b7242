{{ staged_events('campaign_events', [
    'campaign_id',
    'message_id',
    'channel',
]) }}
