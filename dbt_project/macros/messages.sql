{#-
    Webhook deliveries, campaign messages and notices are told by several events each, on several
    days, in any order. One pattern for the three: a list of the messages that a build reaches with
    the days of their events (messages_reached), and one row a message, decided anew from all its
    events on those days (messages_decided).
-#}

{#-
    The list. A message is reached by an event of its on a day that changed, or by an event it had
    on a day from which a record was displaced; with it go all days on which it has or had events.
    Empty in a full build, which decides all.
-#}

{% macro messages_reached(source_table, decided, key) %}
{%- set standing_messages = standing(decided) %}
{%- set is_needed = standing_messages and not flags.FULL_REFRESH %}
{%- set events = 'stg_' ~ source_table %}
with

int_growth_days_changed as (
    select * from {{ listed_now(ref('int_growth_days_changed')) }} as listed
    where source_table = '{{ source_table }}'
    {{ "and false" if not is_needed }}
),

{{ events }} as (
    select * from {{ ref(events) }}
    where activity_date in (select activity_date from int_growth_days_changed)
),

stg_displaced_records as (
    select * from {{ ref('stg_displaced_records') }}
    where
        source_table = '{{ source_table }}'
        and _batch > {{ built_batch() if is_needed else building_batch() }}
),

changes as (
    select distinct
        {{ key | join(', ') }},
        activity_date
    from {{ events }}
),

{%- if is_needed %}

days_displaced as (
    select distinct
        workspace_id,
        activity_date
    from stg_displaced_records
),

standing_on_days_displaced as (
    select standing_messages.message_number
    from {{ standing_messages }} as standing_messages
    inner join days_displaced
        on
            standing_messages.workspace_id = days_displaced.workspace_id
            and standing_messages.activity_date <= days_displaced.activity_date
            and standing_messages.last_event_date >= days_displaced.activity_date
    where {{ list_holds('standing_messages.activity_dates', 'days_displaced.activity_date') }}
),

{%- endif %}

numbered as (
    select
        {{ key | join(', ') }},
        {{ number_of(key) }} as message_number,
        activity_date
    from changes
),

{%- if is_needed %}

standing_days as (
    select
        {{ key | join(', ') }},
        message_number,
        {{ rows_of_list('activity_dates') }} as activity_date
    from {{ standing_messages }}
    where
        message_number in (select message_number from numbered)
        or message_number in (select message_number from standing_on_days_displaced)
),

{%- endif %}

reached as (
    select * from numbered
    {%- if is_needed %}
    union
    select
        {{ key | join(', ') }},
        message_number,
        activity_date
    from standing_days
    {%- endif %}
),

listed as (
    select
        *,
        {{ building_batch() }} as _batch
    from reached
)

select * from listed
{% endmacro %}

{#-
    One row a message. Its events stand in one order (`order_by`, columns of the event table), which
    gives each a `position`; one of them decides (`deciding`, an aggregate that gives its position;
    where none does, the first event stands for the message). Ids are those of the deciding event,
    or of the first event that has one. The membership is looked up for the event that gave the
    user: so it depends on events of days that are listed when it changes.

    `measures` are aggregates over the events, `details` expressions of the deciding event, both as
    {name: SQL}; `is_last` marks the last event of the order.

    Positions cost one sort (3 of 4 s, 3M events of 1M messages); picking each value by the order
    itself took twice as long.
-#}

{% macro messages_decided(source_table, reached, key, order_by, deciding, measures, details) %}
{%- set events = 'stg_' ~ source_table %}
with

{{ reached }} as (
    select * from {{ listed_now(ref(reached)) }} as listed
),

{{ events }} as (
    select * from {{ ref(events) }}
    where true
    {{ and_listed('activity_date', reached) }}
),

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
),

{%- if is_incremental() %}

keys_reached as (
    select distinct {{ key | join(', ') }}
    from {{ reached }}
),

{%- endif %}

ordered as (
    select
        {{ events }}.*,
        {{ session_key_of(events) }} as session_key,
        row_number() over message_events as position,
        lead({{ events }}.event_id) over message_events is null as is_last
    from {{ events }}
    {%- if is_incremental() %}
    inner join keys_reached
        on
            {%- for column in key %}
            {{ events }}.{{ column }} is not distinct from keys_reached.{{ column }}
            {%- if not loop.last %} and{% endif %}
            {%- endfor %}
    {%- endif %}
    window message_events as (
        partition by
            {%- for column in key %}
            {{ events }}.{{ column }}{{ "," if not loop.last }}
            {%- endfor %}
        order by
            {%- for expression in order_by %}
            {{ expression }}{{ "," if not loop.last }}
            {%- endfor %}
    )
),

grouped as (
    select
        {{ key | join(', ') }},
        {{ number_of(key) }} as message_number,
        {{ earliest('project_id', ['position']) }} as project_id,
        {{ earliest('user_id', ['position']) }} as user_id,
        {{ earliest('case when user_id is not null then occurred_at end', ['position']) }}
            as user_named_at,
        {{ earliest('case when user_id is not null then project_id end', ['position']) }}
            as user_named_in,
        {{ earliest('session_key', ['position']) }} as session_key,
        {{ earliest('trace_id', ['position']) }} as trace_id,
        {%- for name, expression in measures.items() %}
        {{ expression }} as {{ name }},
        {%- endfor %}
        bool_or(is_test) as is_test,
        bool_or(is_impersonated) as is_impersonated,
        coalesce({{ deciding }}, 1) as deciding_position,
        min(activity_date) as activity_date,
        max(activity_date) as last_event_date,
        {{ distinct_list('activity_date') }} as activity_dates
    from ordered
    group by {{ key | join(', ') }}
),

decided as (
    select
        {%- for column in key %}
        grouped.{{ column }},
        {%- endfor %}
        grouped.message_number,
        grouped.project_id as message_project_id,
        ordered.event_id,
        coalesce(ordered.user_id, grouped.user_id) as named_user_id,
        case
            when ordered.user_id is not null then ordered.occurred_at
            else grouped.user_named_at
        end as user_named_at,
        case
            when ordered.user_id is not null then ordered.project_id
            else grouped.user_named_in
        end as project_id,
        coalesce(ordered.session_key, grouped.session_key) as session_key,
        coalesce(ordered.trace_id, grouped.trace_id) as trace_id,
        {%- for name in measures %}
        grouped.{{ name }},
        {%- endfor %}
        {%- for name, expression in details.items() %}
        {{ expression }} as {{ name }},
        {%- endfor %}
        grouped.is_test,
        grouped.is_impersonated,
        grouped.activity_date,
        grouped.last_event_date,
        grouped.activity_dates
    from grouped
    inner join ordered
        on
            {%- for column in key %}
            grouped.{{ column }} is not distinct from ordered.{{ column }} and
            {%- endfor %}
            grouped.deciding_position = ordered.position
),

resolved as (
    select
        decided.*,
        int_users_interned.surviving_user_id as user_id
    from decided
    left join int_users_interned on decided.named_user_id = int_users_interned.user_id
),

known as (
    {{ with_membership_known('resolved', 'user_named_at') }}
),

described as (
    select
        {{ key | join(', ') }},
        message_number,
        message_project_id as project_id,
        event_id,
        user_id,
        known_membership_id as membership_id,
        session_key,
        trace_id,
        {%- for name in (measures.keys() | list) + (details.keys() | list) %}
        {{ name }},
        {%- endfor %}
        is_test,
        is_impersonated,
        activity_date,
        last_event_date,
        activity_dates
    from known
)

select * from described
{% endmacro %}

{#-
    Of campaign messages and notices the latest state counts, at equal time the one further on; what
    people do with a message is no state.
-#}

{% macro delivery_state() -%}
    case
        when split_part(type, '.', 2)
            in ('queued', 'sent', 'delivered', 'bounced', 'failed', 'complained')
            then split_part(type, '.', 2)
    end
{%- endmacro %}

{% macro delivery_state_rank() -%}
    case split_part(type, '.', 2)
        when 'queued' then 1
        when 'sent' then 2
        when 'delivered' then 3
        when 'bounced' then 4
        when 'failed' then 4
        when 'complained' then 4
    end
{%- endmacro %}

{% macro first_time_of(type) -%}
    min(case when type = '{{ type }}' then occurred_at end)
{%- endmacro %}
