{{ staged_events('membership_events', [
    'membership_id',
    'role',
    'previous_role',
    'actor_id',
]) }}
