{{ staged_events('auth_events', [
    'outcome',
    'provider',
    'method',
    'failure_reason',
]) }}
