"""How an extract differs from what happened: copies, conflicts, broken lines, secrets, drift.

Here: SQL text that turns the intended rows of one file (table `intended`) into its records, each
with a `disposition`. Not here: lateness and skewed clocks, which belong to the event
(`traffic`, `messages`), nor how records are written (`writing`).

Every choice is a residue of `row_key`, so a file's records depend on its rows alone:

| residue            | what becomes of the row |
|--------------------|-------------------------|
| % 400 = 1          | sent twice in the file |
| % 20 = 2           | on some days also in a redelivered file |
| % 600 = 3          | a second record with its id, other content, received an hour later |
| % 250 = 4          | beside it stands a broken record, of one of six kinds |
| % 300 = 5, = 6     | a made-up secret in the user agent, in `data` |
| % 200 = 7          | fields the contract does not know |
| % 30 = 8           | its time is written with the offset +02:00 |
"""

from __future__ import annotations

# obviously made up, yet of the shapes that landing has to redact
SECRETS = (
    "Bearer demo.fake.token.0123456789abcdef0123456789abcdef",
    "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJkZW1vLWZha2UifQ.ZmFrZS1zaWduYXR1cmUtZGVtbw",
    "https://demo:fake-password-0000@example.com/callback?access_token=demo-fake-token-1111",
)

# reason codes of the landing contract, by the kind of breakage
REASONS = {
    0: "unknown_type",
    1: "invalid_time",
    2: "invalid_json",
    3: "missing_field",
    4: "unknown_environment",
    5: "time_without_offset",
}
BREAKABLE = {"jsonl": (0, 1, 2, 3, 4, 5), "csv": (0, 1, 3, 4, 5), "parquet": (0, 1, 3, 4, 5)}

ENVELOPE = (
    "id",
    "type",
    "occurred_at",
    "received_at",
    "environment",
    "workspace_id",
    "project_id",
    "user_id",
    "session_id",
    "service_id",
    "trace_id",
    "api_key_id",
    "anonymous_id",
    "impersonator_id",
    "is_test",
    "ip",
    "user_agent",
    "data",
)

OPTIONAL = (
    *ENVELOPE[ENVELOPE.index("user_id") : ENVELOPE.index("is_test")],
    "ip",
    "user_agent",
)


def records_sql(file_format: str) -> str:
    """Return the SELECT of files' records from `intended`: a JSON `line`, or the envelope as text.

    Columns beside: `disposition` (accepted, duplicate, conflict, or the reason of a rejection),
    `client_build` (an unknown field), `received_at`, `id` and `row_key` to sort by, `file_date`.
    """
    kinds = BREAKABLE[file_format]
    columns = "*"
    if file_format == "jsonl":
        columns = f"received_at, id, disposition, row_key, file_date, {line_sql()} as line"
    kind = f"[{', '.join(map(str, kinds))}][1 + ((row_key // 250) % {len(kinds)})::bigint]"
    reasons = " ".join(f"when {number} then '{reason}'" for number, reason in REASONS.items())
    # not materialized: the copies are a few rows in a hundred
    return f"""
with spoiled as not materialized (
    select
        id,
        type,
        case when row_key % 30 = 8
            then replace((occurred_at + interval 2 hours)::varchar, ' ', 'T') || '+02:00'
            else rfc3339(occurred_at)
        end as occurred_at,
        received_at,
        environment,
        workspace_id,
        project_id,
        user_id,
        session_id,
        service_id,
        trace_id,
        api_key_id,
        anonymous_id,
        impersonator_id,
        is_test,
        ip,
        case when row_key % 300 = 5 then coalesce(user_agent, 'curl/8.5.0') || ' Authorization: '
            || '{SECRETS[0]}' else user_agent end as user_agent,
        case
            when row_key % 300 <> 6 and row_key % 200 <> 7 then '{{' || data || '}}'
            else '{{' || concat_ws(
                ',',
                nullif(data, ''),
                case when row_key % 300 = 6 then '"token":"{SECRETS[1]}"' end,
                case when row_key % 300 = 6 then '"referrer":"{SECRETS[2]}"' end,
                case when row_key % 200 = 7 then '"experiment":"blue"' end
            ) || '}}'
        end as data,
        case when row_key % 200 = 7 then 42 end as client_build,
        row_key,
        cast(received_at as date) as file_date,
    from intended
),
conflicting as (
    select * replace (
        received_at + interval 1 hour as received_at,
        'usr_9999999' as user_id,
        '192.0.2.99' as ip
    )
    from spoiled where row_key % 600 = 3
),
broken as (
    select
        *,
        {kind} as kind,
    from spoiled where row_key % 250 = 4
),
wrong as (
    select * exclude (kind) replace (
        -- an empty required field is a missing one
        case when kind = 3 and row_key % 2 = 0 then '' else 'bad_' || id end as id,
        case when kind = 3 and row_key % 2 = 1 then '' else workspace_id end as workspace_id,
        case when kind = 0 then 'unheard.of' else type end as type,
        case kind
            when 1 then left(occurred_at, 19) || '+518:00'
            when 5 then left(occurred_at, 19)
            else occurred_at
        end as occurred_at,
        case when kind = 4 then 'staging' else environment end as environment
    ),
    case kind {reasons} end as disposition,
    from broken
),
together as (
    select *, 'accepted' as disposition from spoiled
    union all
    select *, 'duplicate' from spoiled where row_key % 400 = 1
    union all
    select *, 'conflict' from conflicting
    union all
    select * from wrong
)
select {columns} from together
"""


REDELIVERED = "row_key % 20 = 2"


def line_sql() -> str:
    """Return the expression of a record's JSON text; a record of invalid JSON is cut in half."""
    required = '\'{"id":"\', id, \'","type":"\', type, \'","occurred_at":"\', occurred_at'
    for field in ("environment", "workspace_id", "project_id"):
        required += f', \'","{field}":"\', {field}'
    required += ', \'","received_at":"\', rfc3339(received_at), \'"\''
    optional = ", ".join(f"',\"{field}\":\"' || {field} || '\"'" for field in OPTIONAL)
    # concat leaves nulls out; is_test absent means false, and both spellings occur
    text = f"""concat(
        {required},
        {optional},
        case when is_test then ',"is_test":true' when row_key % 5 = 0 then ',"is_test":false' end,
        case when client_build is not null then ',"client_build":' || client_build end,
        ',"data":',
        data,
        '}}'
    )"""
    return (
        f"case when disposition = 'invalid_json' then left({text}, 60 + row_key::bigint % 60)"
        f" else {text} end"
    )
