"""What sharing/ has to know of this installation, and whether a share waits.

Belongs here: addresses, shares.yml as this installation reads it. Does not belong here: sharing
itself (sharing/), the assets (defs/shares.py).
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from dagster_project.warehouse import SEEDS, ConfigurationError, Warehouse
from sharing import Places, SharesFile, SharesFileError, is_settled, load
from sharing.pointer import look_at


def places(at: Warehouse) -> Places:
    """Where the state of shares is, and the files that decide about them."""
    return Places(
        state=at.shares_folder,
        landing=at.landing,
        file=at.shares_file,
        plans=SEEDS / "plans.csv",
        rules=SEEDS / "secret_rules.csv",
    )


def read(at: Warehouse) -> SharesFile:
    """shares.yml; no file means no shares. Raises ConfigurationError."""
    try:
        return load(at.shares_file, at.landing)
    except SharesFileError as error:
        raise ConfigurationError(str(error)) from None


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
