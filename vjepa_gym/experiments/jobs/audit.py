"""Check every episode of a dataset once, name each defect, and describe the data itself."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vjepa_gym.errors import DatasetError

OnFolder = Callable[[int, int, int], None]
"""Called with episodes checked, episodes in all, and how many of those checked have a defect."""


@dataclass(kw_only=True)
class AuditConfig:
    """What to check."""

    root: str = "data/tabletop"
    """A dataset in DROID's raw layout, ours or anybody's."""
    checksums: bool = False
    """Whether every byte is compared with `vjg/SHA256SUMS`, which only our episodes have."""
    workers: int = 0
    """Processes; 0 for one a core."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was found."""


def run_audit(config: AuditConfig, folder: Path, on_folder: OnFolder | None = None) -> Audit:
    """Check a dataset and write `audit.json` and `index.html` to `folder`.

    Raises:
        DatasetError: There is no episode.
    """
    raise DatasetError(f"{config.root}: {folder} {on_folder}")
