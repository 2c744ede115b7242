{{ staged_events('session_events', [
    'reason',
    'revoked_by_kind',
    'name',
    'numeric_value',
    'text_value',
    'unit',
    'journey_id',
    'journey_name',
    'step',
    'action_name',
]) }}
