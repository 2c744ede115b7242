"""What sharing/ has to know of this installation, and whether a share waits.

Belongs here: addresses, shares.yml as this installation reads it, what is to go once more. Does
not belong here: sharing itself (sharing/), the assets (defs/shares.py).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

from dagster_project.warehouse import SEEDS, ConfigurationError, Warehouse
from sharing import (
    Places,
    Share,
    SharesFile,
    SharesFileError,
    is_settled,
    ledger,
    load,
    pointer,
)
from sharing.plans import PUSHED
from sharing.pointer import look_at


def places(at: Warehouse) -> Places:
    """Where the state of shares is, and the files that decide about them."""
    return Places(
        state=at.shares_folder,
        landing=at.landing,
        file=at.shares_file,
        plans=SEEDS / "plans.csv",
        rules=SEEDS / "secret_rules.csv",
        memory=at.memory,
    )


def read(at: Warehouse) -> SharesFile:
    """shares.yml; no file means no shares. Raises ConfigurationError."""
    try:
        return load(at.shares_file, at.landing)
    except SharesFileError as error:
        raise ConfigurationError(str(error)) from None


def named(file: SharesFile, name: str) -> Share:
    """The share of a name. Raises ConfigurationError."""
    for share in file.shares:
        if share.name == name:
            return share
    there = ", ".join(share.name for share in file.shares) or "none"
    raise ConfigurationError(f"there is no share {name} in shares.yml; there are: {there}")


def replay(at: Warehouse, share: Share, reasons: Sequence[str]) -> int:
    """Let dead letters go again with the share's next run, of some reasons or all; how many.

    Raises ConfigurationError for a share that has none by its kind.
    """
    if share.format not in PUSHED:
        raise ConfigurationError(
            f"share {share.name} is of format {share.format}: only {', '.join(PUSHED)} have dead"
            " letters"
        )
    with at.connect() as connection:
        ledger.begin(connection, share.name)
        count = ledger.replay(connection, share.name, reasons)
    pointer.forget(at.shares_folder / share.name)
    return count


def backfill(at: Warehouse, share: Share, first: date, last: date) -> int:
    """Let a share's next run look at all of it anew; how many events go again.

    What is pushed goes again for the days named, marked as another attempt. Files and streams are
    written to local disk again, all days of them: what differs at the destination, or is missing
    from its manifest, leaves, and an event that left does not leave twice.
    """
    count = 0
    if share.format in PUSHED:
        with at.connect() as connection:
            ledger.begin(connection, share.name)
            count = ledger.resend(connection, share.name, first, last)
    pointer.forget(at.shares_folder / share.name)
    return count


def waiting(at: Warehouse) -> Iterator[str]:
    """Names of shares that are not known to be in step with file, snapshot and day.

    Costs a small file a share. One whose environment has nothing published does not wait.
    """
    today, settings = datetime.now(UTC).date(), places(at).settings
    for share in read(at).shares:
        published = at.published_version(share.environment)
        if published is None:
            continue
        if not is_settled(at.shares_folder, share.name, look_at(settings, published, today)):
            yield share.name
