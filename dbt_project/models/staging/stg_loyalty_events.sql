{{ staged_events('loyalty_events', [
    'program_id',
    'points',
    'tier',
    'reward_id',
    'membership_id',
    'source_event_id',
]) }}
