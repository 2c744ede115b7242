-- Users merged in a circle have no survivor: they stay unmerged and are reported here.
{{ config(severity='warn') }}

with

int_users_interned as (
    select * from {{ ref('int_users_interned') }}
)

select * from int_users_interned
where is_in_merge_cycle
