"""Sharing: how published marts leave the warehouse, to one consumer each. Knows nothing of Dagster.

`load(path)` reads shares.yml, `carry_out(share, …)` brings one share to what the file says. The
modules, in the order of the data: definitions → contract, plans → compiler → staging → gates →
stores → versions, delta → receipts → audit; exporting.py holds the order of steps. Of single
events: shapes, ocsf → streams, or ledger → services, hec, heap, ga4, in the order that pushing.py
holds. snowflake.py writes scripts and shares nothing. server/, an optional extra, serves what
delta.py wrote, by the Delta Sharing protocol.

What is promised: nothing leaves that its plan, its contract and the secret rules do not allow;
what was refused leaves a receipt too; a consumer sees a batch once or not at all, whenever a
process died; the same inputs give the same bytes.
"""

from sharing.definitions import Share, SharesFile, SharesFileError, load
from sharing.exporting import Outcome, Places, carry_out
from sharing.pointer import is_settled

__all__ = [
    "Outcome",
    "Places",
    "Share",
    "SharesFile",
    "SharesFileError",
    "carry_out",
    "is_settled",
    "load",
]
