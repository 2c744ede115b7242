"""Faults that the test of any history has to find, each as a change of one file's text."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """A fault: `old`, which stands once in `file` (below dbt_project), becomes `new`."""

    name: str
    file: str
    old: str
    new: str


INTERMEDIATE = "models/intermediate"
GOVERNANCE = "models/intermediate/governance"
IDENTITY = "models/marts/identity"
MEMBERSHIPS = f"{INTERMEDIATE}/memberships"
GROWTH = "models/marts/growth"
LIFECYCLE = f"{INTERMEDIATE}/lifecycle"
JOURNEYS = f"{INTERMEDIATE}/journeys"

MUTATIONS = [
    Mutation(
        "days of the result are deleted, not those of the list",
        "macros/engine/replace_listed.sql",
        """            on {{ replaces['on'] }}
    )
""",
        """            on {{ replaces['on'] }}
        {%- if '"activity_date"' in columns %}
        inner join (select distinct activity_date from {{ arguments['temp_relation'] }}) as fresh
            on old.activity_date = fresh.activity_date
        {%- endif %}
    )
""",
    ),
    Mutation(
        "an active day reaches 88 days forward instead of 89",
        f"{INTERMEDIATE}/int_active_days_reached.sql",
        "(var('user_windows') | max) - 1",
        "(var('user_windows') | max) - 2",
    ),
    Mutation(
        "a stretch reads 88 days back instead of 89",
        f"{IDENTITY}/fct_active_users_daily.sql",
        "{{ add_days('min(activity_date)', -reach) }} as from_date",
        "{{ add_days('min(activity_date)', 1 - reach) }} as from_date",
    ),
    Mutation(
        "before a stretch a user's first day is kept, not the last",
        f"{IDENTITY}/fct_active_users_daily.sql",
        "max(int_active_user_days_counted.activity_date) as activity_date",
        "min(int_active_user_days_counted.activity_date) as activity_date",
    ),
    Mutation(
        "the day a displaced event stood on is forgotten",
        f"{INTERMEDIATE}/int_days_changed.sql",
        "    from stg_displaced_records\n",
        "    from stg_displaced_records\n    where false\n",
    ),
    Mutation(
        "the days of changed users are forgotten",
        f"{INTERMEDIATE}/int_days_changed.sql",
        "int_users_interned.user_id = int_users_changed.user_id",
        "int_users_interned.user_id = int_users_changed.user_id and false",
    ),
    Mutation(
        "a user of another kind is no change",
        f"{INTERMEDIATE}/int_users_changed.sql",
        "        or kind_now <> kind_then\n",
        "",
    ),
    Mutation(
        "a merge that is undone is no change",
        f"{INTERMEDIATE}/int_users_changed.sql",
        "        coalesce(survivor_now, user_id) <> coalesce(survivor_then, user_id)\n",
        "        coalesce(survivor_now, user_id) not in (user_id, survivor_then)\n",
    ),
    Mutation(
        "who somebody was for a build that failed is forgotten",
        f"{INTERMEDIATE}/int_users_changed.sql",
        "    where _batch > {{ built_batch() }}",
        "    where false",
    ),
    Mutation(
        "who somebody is, as a killed build left it, is forgotten",
        f"{INTERMEDIATE}/int_users_changed.sql",
        "as standing_users\n    left join int_users_resolved on",
        "as standing_users\n    inner join int_users_resolved on false and",
    ),
    Mutation(
        "rows under keys that nothing names stay after a refresh that was killed",
        "macros/engine/replace_listed.sql",
        "or {{ built_batch() }} = 0",
        "or false",
    ),
    Mutation(
        "a session that ends just the gap before an event is not reached",
        f"{INTERMEDIATE}/int_visits_reached.sql",
        "numbered.from_at <= near_sessions.ended_at",
        "numbered.from_at < near_sessions.ended_at",
    ),
    Mutation(
        "a session that starts just the gap after an event is not reached",
        f"{INTERMEDIATE}/int_visits_reached.sql",
        "numbered.to_at >= near_sessions.started_at",
        "numbered.to_at > near_sessions.started_at",
    ),
    Mutation(
        "a stretch is not widened to the start of the sessions it meets",
        f"{INTERMEDIATE}/int_visits_reached.sql",
        "least(numbered.from_at, min(near_sessions.started_at)) as from_at",
        "numbered.from_at as from_at",
    ),
    Mutation(
        "a stretch is not widened to the end of the sessions it meets",
        f"{INTERMEDIATE}/int_visits_reached.sql",
        "greatest(numbered.to_at, max(near_sessions.ended_at)) as to_at",
        "numbered.to_at as to_at",
    ),
    Mutation(
        "sessions that cross a midnight are not met",
        f"{INTERMEDIATE}/int_visits_reached.sql",
        "(is_over_midnight or started_date in (select activity_date from span_days))",
        "started_date in (select activity_date from span_days)",
    ),
    Mutation(
        "who a user was merged with before is not reached",
        f"{INTERMEDIATE}/int_visits_reached.sql",
        "in ['surviving_user_id', 'former_surviving_user_id']",
        "in ['surviving_user_id']",
    ),
    Mutation(
        "displaced events without a session id are forgotten",
        f"{INTERMEDIATE}/int_visits_reached.sql",
        "    from stg_displaced_records\n),",
        "    from stg_displaced_records\n    where false\n),",
    ),
    Mutation(
        "displaced events with a session id are forgotten",
        f"{INTERMEDIATE}/int_session_ids_reached.sql",
        "    from stg_displaced_records\n",
        "    from stg_displaced_records\n    where false\n",
    ),
    Mutation(
        "the other days of a session with an id are forgotten",
        f"{INTERMEDIATE}/int_session_ids_reached.sql",
        "where session_number in (select session_number from numbered)",
        "where false",
    ),
    Mutation(
        "sessions with an id of changed users are forgotten",
        f"{INTERMEDIATE}/int_session_ids_reached.sql",
        "    where user_id in (select former_surviving_user_id from int_users_changed)",
        "    where false",
    ),
    Mutation(
        "days that have become complete or incomplete are forgotten",
        f"{INTERMEDIATE}/int_active_days_reached.sql",
        "    select activity_date from completeness_changed",
        "    select activity_date from completeness_changed where false",
    ),
    Mutation(
        "days after the former last day are forgotten",
        "macros/spine_days.sql",
        "activity_date > (select max(activity_date) from standing_days)",
        "false",
    ),
    Mutation(
        "days after a last day that moved back are forgotten",
        "macros/spine_days.sql",
        "where activity_date not in (select activity_date from int_days_covered)",
        "where false",
    ),
    Mutation(
        "days between a former and a new first day are forgotten",
        "macros/spine_days.sql",
        "    from moved_ranges\n    union",
        "    from moved_ranges where false\n    union",
    ),
    Mutation(
        "the table is forgotten in the key of user-days",
        f"{INTERMEDIATE}/int_user_days_counted.sql",
        "'on': 'old.source_table = listed.source_table and old.activity_date",
        "'on': 'old.activity_date",
    ),
    Mutation(
        "the service is forgotten in the key of a scope's first day",
        f"{IDENTITY}/fct_active_users_daily.sql",
        "standing_first_days.service_id is not distinct from scopes.service_id",
        "true",
    ),
    Mutation(
        "the days of changed actors are forgotten",
        f"{INTERMEDIATE}/int_days_changed.sql",
        "actor_days.actor_id = int_users_changed.user_id",
        "actor_days.actor_id = int_users_changed.user_id and false",
    ),
    Mutation(
        "an attempt reaches six days forward instead of seven",
        f"{GOVERNANCE}/int_failure_days_reached.sql",
        "add_days('activity_date', 7)",
        "add_days('activity_date', 6)",
    ),
    Mutation(
        "a baseline is read from six days back instead of seven",
        "models/marts/governance/fct_failure_signals.sql",
        "add_days('activity_date', -7)",
        "add_days('activity_date', -6)",
    ),
    Mutation(
        "batches that lost rows are forgotten",
        f"{GOVERNANCE}/int_batches_reached.sql",
        "        former_batch as landed_batch\n    from stg_displaced_records\n",
        "        former_batch as landed_batch\n    from stg_displaced_records\n    where false\n",
    ),
    Mutation(
        "closes whose session changed on another day are forgotten",
        f"{GOVERNANCE}/int_close_days_reached.sql",
        "{{ listed_now(ref('int_session_days_changed')) }} as listed\n    union",
        "{{ listed_now(ref('int_session_days_changed')) }} as listed\n    where false\n    union",
    ),
    Mutation(
        "a renamed service is forgotten",
        f"{INTERMEDIATE}/int_days_changed.sql",
        "event_days.service_id = services_renamed.service_id",
        "event_days.service_id = services_renamed.service_id and false",
    ),
    Mutation(
        "the log names the batch before the build, so that nothing is published",
        f"{INTERMEDIATE}/int_days_changed.sql",
        "{{ building_batch() }} as _batch",
        "{{ built_batch() }} as _batch",
    ),
    Mutation(
        "a failed build moves the state",
        "macros/build_state.sql",
        """{{ "built_batch" if missing else "batch" }}""",
        "batch",
    ),
    Mutation(
        "the state moves when the next build begins, however the last one ended",
        "macros/build_state.sql",
        "    set batch = (select",
        "    set built_batch = batch, batch = (select",
    ),
    Mutation(
        "a displaced membership event is still known",
        f"{MEMBERSHIPS}/int_membership_histories_reached.sql",
        "source_table = 'membership_events'\n        and _batch",
        "source_table = 'auth_events'\n        and _batch",
    ),
    Mutation(
        "what somebody who is parted took along is still known of the former survivor",
        f"{MEMBERSHIPS}/int_membership_histories_reached.sql",
        "former_surviving_user_id as surviving_user_id",
        "surviving_user_id",
    ),
    Mutation(
        "what a merged user's memberships tell the others is forgotten",
        f"{MEMBERSHIPS}/int_membership_histories_reached.sql",
        "int_users_interned.user_number = int_user_days_counted.user_number",
        "int_users_interned.user_number = int_user_days_counted.user_number and false",
    ),
    Mutation(
        "a membership event does not reach what came later on its own day",
        f"{MEMBERSHIPS}/int_growth_days_changed.sql",
        "int_membership_histories_reached.from_date <= int_user_days_counted.activity_date",
        "int_membership_histories_reached.from_date < int_user_days_counted.activity_date",
    ),
    Mutation(
        "a membership event reaches the id that it names and no other of the user",
        f"{MEMBERSHIPS}/int_growth_days_changed.sql",
        "int_membership_histories_reached.user_id = int_users_interned.surviving_user_id",
        "int_membership_histories_reached.user_id = int_users_interned.user_id",
    ),
    Mutation(
        "a day that has no membership event any more does not reach what follows",
        f"{MEMBERSHIPS}/int_membership_days_reached.sql",
        "where is_eventful and activity_date in",
        "where not is_eventful and activity_date in",
    ),
    Mutation(
        "the first new day at the end has no members",
        f"{MEMBERSHIPS}/int_membership_days_reached.sql",
        "last_days.last_date)', 1) }}",
        "last_days.last_date)', 2) }}",
    ),
    Mutation(
        "members who were there before a changed day are added again",
        f"{GROWTH}/fct_memberships_daily.sql",
        "on\n            int_member_days_counted.workspace_id = written_members.workspace_id",
        "on\n            int_member_days_counted.activity_date in"
        " (select activity_date from written_member_days)\n"
        "            and int_member_days_counted.workspace_id = written_members.workspace_id",
    ),
    Mutation(
        "a balance keeps a displaced event",
        f"{MEMBERSHIPS}/int_loyalty_accounts_reached.sql",
        "where source_table = 'loyalty_events' and _batch",
        "where source_table = 'auth_events' and _batch",
    ),
    Mutation(
        "who a user was merged with before keeps their balance",
        f"{MEMBERSHIPS}/int_loyalty_accounts_reached.sql",
        "int_users_changed.former_surviving_user_id = survivors.user_id",
        "int_users_changed.surviving_user_id = survivors.user_id",
    ),
    Mutation(
        "the balance of nobody is never replaced",
        f"{GROWTH}/fct_loyalty_balances.sql",
        "old.user_id is not distinct from listed.user_id",
        "old.user_id = listed.user_id",
    ),
    Mutation(
        "days of loyalty are replaced by those of memberships",
        f"{MEMBERSHIPS}/int_loyalty_days_counted.sql",
        "listed.source_table = 'loyalty_events'",
        "listed.source_table = 'membership_events'",
    ),
    Mutation(
        "the interval after a changed one is forgotten",
        f"{LIFECYCLE}/int_intervals_reached.sql",
        "    select {{ interval_after(grain, 'interval_start_date') }} as interval_start_date\n"
        "    from {{ name }}_changed\n",
        "    select {{ interval_after(grain, 'interval_start_date') }} as interval_start_date\n"
        "    from {{ name }}_changed where false\n",
    ),
    Mutation(
        "intervals between a scope's former and new first one are forgotten",
        f"{LIFECYCLE}/int_intervals_reached.sql",
        "where standing.first_start_date is distinct from fresh.first_start_date",
        "where false",
    ),
    Mutation(
        "intervals after the former last one are forgotten",
        f"{LIFECYCLE}/int_intervals_reached.sql",
        "interval_start_date > (select max(interval_start_date) from"
        " {{ name }}_standing_intervals)",
        "false",
    ),
    Mutation(
        "intervals that have become complete, or are no more, are forgotten",
        f"{LIFECYCLE}/int_intervals_reached.sql",
        "where standing_intervals.is_complete is distinct from intervals.is_complete",
        "where false",
    ),
    Mutation(
        "an interval is written without the one before it",
        "macros/lifecycle_by.sql",
        "    from int_intervals_reached\n),",
        "    from int_intervals_reached where false\n),",
    ),
    Mutation(
        "an interval is collected without its last day",
        f"{LIFECYCLE}/int_user_intervals_collected.sql",
        "interval_after(grain, 'interval_start_date'), -1)",
        "interval_after(grain, 'interval_start_date'), -2)",
    ),
    Mutation(
        "what was collected of a changed interval stays",
        f"{LIFECYCLE}/int_user_intervals_collected.sql",
        "            'on': 'old.grain = listed.grain\n",
        "            'on': 'false and old.grain = listed.grain\n",
    ),
    Mutation(
        "intervals are collected that did not change",
        f"{LIFECYCLE}/int_user_intervals_collected.sql",
        "grain ~ 's_reached', 'interval_start_date'",
        "'days_read', 'activity_date'",
    ),
    Mutation(
        "a first day that moved from or to a day without a change is forgotten",
        f"{LIFECYCLE}/int_active_user_days_changed.sql",
        "where touched_date < first_date",
        "where false",
    ),
    Mutation(
        "a first day that moved because its event was displaced is forgotten",
        f"{LIFECYCLE}/int_active_user_days_changed.sql",
        "    from stg_displaced_records\n",
        "    from stg_displaced_records\n    where false\n",
    ),
    Mutation(
        "first days of who a user was merged with before are forgotten",
        f"{LIFECYCLE}/int_active_user_days_changed.sql",
        "        former_surviving_user_id as user_id",
        "        surviving_user_id as user_id",
    ),
    Mutation(
        "first days of who a user is merged with now are forgotten",
        f"{LIFECYCLE}/int_active_user_days_changed.sql",
        "        surviving_user_id as user_id,",
        "        user_id,",
    ),
    Mutation(
        "a page view's day loses its active users",
        f"{LIFECYCLE}/int_active_user_days_counted.sql",
        "            and listed.source_table <> 'audit_events'",
        "",
    ),
    Mutation(
        "days that count in the following month are forgotten",
        f"{LIFECYCLE}/int_definition_months_reached.sql",
        "add_days('activity_date', 29)",
        "last_day_of_month('activity_date')",
    ),
    Mutation(
        "months in which rows come or go are forgotten",
        f"{LIFECYCLE}/int_definition_months_reached.sql",
        "as month_start_date from moved",
        "as month_start_date from moved where false",
    ),
    Mutation(
        "a month is counted with 28 days before it instead of 29",
        f"{IDENTITY}/fct_active_user_definitions_daily.sql",
        "add_days('month_start_date', -29)",
        "add_days('month_start_date', -28)",
    ),
    Mutation(
        "the other days of a message that is decided anew are forgotten",
        "macros/messages.sql",
        "        message_number in (select message_number from numbered)\n",
        "        false\n",
    ),
    Mutation(
        "messages that lost an event are forgotten",
        "macros/messages.sql",
        "        or message_number in (select message_number from standing_on_days_displaced)\n",
        "",
    ),
    Mutation(
        "a message that lost its last event is not reached",
        "macros/messages.sql",
        "standing_messages.last_event_date >= days_displaced.activity_date",
        "standing_messages.last_event_date > days_displaced.activity_date",
    ),
    Mutation(
        "a message that lost its first event is not reached",
        "macros/messages.sql",
        "standing_messages.activity_date <= days_displaced.activity_date",
        "standing_messages.activity_date < days_displaced.activity_date",
    ),
    Mutation(
        "messages are reached by what landed and not by what is known of memberships",
        "macros/messages.sql",
        "listed_now(ref('int_growth_days_changed'))",
        "listed_now(ref('int_days_changed'))",
    ),
    Mutation(
        "notices without a channel are not replaced",
        f"{INTERMEDIATE}/messages/int_notifications_decided.sql",
        "old.channel is not distinct from listed.channel",
        "old.channel = listed.channel",
    ),
    Mutation(
        "the days of messages that were reached are forgotten",
        f"{INTERMEDIATE}/messages/int_message_days_changed.sql",
        "    from int_campaign_messages_reached\n",
        "    from int_campaign_messages_reached\n    where false\n",
    ),
    Mutation(
        "the days on which another table changed lose their campaigns",
        "models/marts/growth/fct_campaigns_daily.sql",
        "            and listed.source_table = 'campaign_events'\"",
        '            "',
    ),
    Mutation(
        "journeys that may have lost an event are forgotten",
        f"{JOURNEYS}/int_journeys_reached.sql",
        "            standing_journeys.workspace_id = displaced_days.workspace_id",
        "            false",
    ),
    Mutation(
        "the last day of a journey is not among its days",
        f"{JOURNEYS}/int_journeys_reached.sql",
        "standing_journeys.last_event_date >= displaced_days.activity_date",
        "standing_journeys.last_event_date > displaced_days.activity_date",
    ),
    Mutation(
        "the other days of a journey are forgotten",
        f"{JOURNEYS}/int_journeys_reached.sql",
        "where journey_number in (select journey_number from journeys_met)",
        "where false",
    ),
    Mutation(
        "what has no begin yet is not kept",
        f"{JOURNEYS}/int_journeys_followed.sql",
        "    from grouped\n)",
        "    from grouped\n    where begun_at is not null\n)",
    ),
    Mutation(
        "journeys of changed users are forgotten",
        f"{JOURNEYS}/int_journeys_reached.sql",
        "    where user_id in (select former_surviving_user_id from int_users_changed)",
        "    where false",
    ),
    Mutation(
        "the day on which a journey had begun is forgotten",
        f"{JOURNEYS}/int_journey_days_changed.sql",
        "    where was_begun\n",
        "    where false\n",
    ),
    Mutation(
        "states that turn with the last day are forgotten",
        f"{JOURNEYS}/int_journey_days_changed.sql",
        "        int_journeys_followed.completed_at is null\n",
        "        false\n",
    ),
    Mutation(
        "a state that turned on the former last day itself is forgotten",
        f"{JOURNEYS}/int_journey_days_changed.sql",
        "int_journeys_followed.last_event_date >= last_days.least_last_date",
        "int_journeys_followed.last_event_date > last_days.least_last_date",
    ),
    Mutation(
        "the former last day is forgotten",
        f"{JOURNEYS}/int_last_days_noted.sql",
        "where _batch >= {{ built_batch() }}",
        "where _batch > {{ built_batch() }}",
    ),
    Mutation(
        "what a failed build listed of journeys is forgotten",
        f"{JOURNEYS}/int_journeys_reached.sql",
        "    where _batch > {{ built_batch() }}\n    {%- endif %}",
        "    where false\n    {%- endif %}",
    ),
    Mutation(
        "requests of other tables' days are replaced, not those of their own",
        "models/marts/usage/fct_requests_daily.sql",
        "listed.source_table = 'platform_events'",
        "listed.source_table = 'session_events'",
    ),
    Mutation(
        "the hours of the day before are replaced",
        "models/marts/usage/fct_requests_hourly.sql",
        "cast(old.activity_hour_at as date) = listed.activity_date",
        "cast(old.activity_hour_at as date) = listed.activity_date - 1",
    ),
    Mutation(
        "latencies add up in the order in which they come",
        "macros/request_measures.sql",
        "{{ fine_mean('latency_ms') }}",
        "avg(latency_ms)",
    ),
    Mutation(
        "metrics of other tables' days are replaced, not those of their own",
        "models/marts/sessions/fct_session_metrics_daily.sql",
        "listed.source_table = 'session_events'",
        "listed.source_table = 'auth_events'",
    ),
]
