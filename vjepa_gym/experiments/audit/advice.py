"""What to do about what an audit found, said once for all episodes of a kind."""

from pathlib import Path

from vjepa_gym.datasets.droid.kinds import KINDS
from vjepa_gym.datasets.droid.sidecar import SIDECAR
from vjepa_gym.experiments.audit.findings import ERROR, NO_TRAJECTORY
from vjepa_gym.experiments.audit.tree import Tree

INDEX, COLLECTION = "index.jsonl", "collection.json"
DAMAGE = frozenset(KINDS) - {"too_short"} | {"crash", "timeout", "undescribed", NO_TRAJECTORY}
"""Errors with which an episode is damaged; one that is too short for a loader is not."""


def recovery(root: Path) -> str:
    """Return what makes the lists of a dataset of ours anew, and sets aside what is damaged."""
    call = f'`EpisodeStore("{root.absolute()}").recover()` (vjepa_gym.datasets.storage.store)'
    return f"{call} or collecting into it again" if (root / COLLECTION).is_file() else call


def advice(tree: Tree) -> list[str]:
    """Return how the damaged episodes among the findings can be mended or left out."""
    damaged = {
        tree.root / finding.path
        for finding in tree.findings
        if finding.severity == ERROR and finding.kind in DAMAGE
    }
    ours = {folder for folder in damaged if (folder / SIDECAR).exists()}
    told = []
    if ours:
        told.append(_mended(_dataset(tree)))
    if damaged - ours:
        told.append(
            "Damaged episodes that others recorded can be left out: on_defect=skip, as in "
            f'`vjepa-gym convert {tree.root} job.on_defect=skip` or `DroidEpisodes("{tree.root}", '
            'on_defect="skip")`.'
        )
    return told


def _dataset(tree: Tree) -> Path:
    """Return the dataset, also if it is only one of its episodes that is audited."""
    root = tree.root.absolute()
    single = root in {folder.absolute() for folder in tree.episodes}
    return root.parents[3] if single and len(root.parents) > 3 else root


def _mended(root: Path) -> str:
    aside = f"sets damaged episodes of ours aside to {root}.damaged"
    if (root / COLLECTION).is_file():
        return f"Collecting into {root} again {aside} and records them anew."
    return f"{recovery(root)} {aside}; they can then be written anew."
