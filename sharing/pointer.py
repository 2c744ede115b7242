"""What was last done for a share, on local disk: written last, and only ever a shortcut.

Belongs here: the pointer file. Does not belong here: the truth, which is at the destination
(versions.py) and in the receipts (receipts.py): without a pointer every day is written to local
disk once more and compared, and nothing else changes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path

from sharing.definitions import file_digest
from sharing.staging import Print


@dataclass(frozen=True)
class Look:
    """What a share was brought in step with: equal looks mean there is nothing to do."""

    settings: str
    snapshot: str
    day: str


@dataclass(frozen=True)
class Pointer:
    """`version` 0: nothing is at the destination. `prints`: by table and day ('' for none).

    `digest` and `rules`: of the share and the secret rules that the prints were made under.
    """

    look: Look
    receipt_id: str
    version: int
    digest: str
    rules: str
    prints: Mapping[str, Mapping[str, Print]] = field(default_factory=dict)


def look_at(settings: tuple[Path, ...], published: Path, today: date) -> Look:
    """The look of this moment; `settings` are shares.yml, the plans and the secret rules."""
    return Look(file_digest(*settings), published.name, today.isoformat())


def read(folder: Path) -> Pointer | None:
    """The pointer in the state folder of a share; None where there is none that can be read."""
    try:
        found = json.loads((folder / "pointer.json").read_text())
        prints = {
            model: {day: Print(*values) for day, values in days.items()}
            for model, days in found.pop("prints").items()
        }
        return Pointer(look=Look(**found.pop("look")), prints=prints, **found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(folder: Path, pointer: Pointer) -> None:
    """Replace the pointer."""
    content = asdict(pointer)
    content["prints"] = {
        model: {day: [print_.rows, print_.hash] for day, print_ in days.items()}
        for model, days in pointer.prints.items()
    }
    unfinished = folder / ".pointer.tmp"
    unfinished.write_text(json.dumps(content))
    unfinished.replace(folder / "pointer.json")


def forget(folder: Path) -> None:
    """Remove the pointer's prints, so that the next run looks at every day; keep where it stands.

    Without a pointer there is nothing to do.
    """
    found = read(folder)
    if found is not None:
        write(folder, replace(found, look=Look("", "", ""), prints={}))


def is_settled(state: Path, name: str, look: Look) -> bool:
    """Whether a share was brought in step with what there is now. Costs one small file."""
    found = read(state / name)
    return found is not None and found.look == look
