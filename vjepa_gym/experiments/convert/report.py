"""What a conversion did, in a few lines."""

from rich.console import Console

from vjepa_gym.datasets.droid.kinds import KINDS
from vjepa_gym.experiments.jobs.convert import Converted
from vjepa_gym.experiments.progress import size

SHOWN = 10
"""So many episodes of each kind of defect are named."""


def show_converted(console: Console, converted: Converted) -> None:
    """Show where the result is, and by kind of defect which episodes are not in it."""
    console.print(f"{converted.target}: {converted.episodes} episodes, {size(converted.bytes)}.")
    if not converted.skipped:
        return
    console.print(f"Left out for being damaged: {len(converted.skipped)}")
    for kind, folders in converted.by_kind().items():
        console.print(f"  {kind}, {KINDS[kind]}: {len(folders)}")
        for folder in folders[:SHOWN]:
            details = [each.detail for each in converted.skipped[folder] if each.kind == kind]
            console.print(f"    {' '.join(details)}")
        if len(folders) > SHOWN:
            console.print(f"    and {len(folders) - SHOWN} more; vjepa-gym audit names all.")
