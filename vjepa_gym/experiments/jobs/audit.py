"""Check every episode of a dataset once, name each defect, and describe the data itself."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from vjepa_gym.datasets.droid.defects import ClipNeeds, Defect
from vjepa_gym.errors import UnknownNameError, VJEPAGymError
from vjepa_gym.experiments.audit.advice import INDEX, advice, recovery
from vjepa_gym.experiments.audit.episode import Facts, Look, LookAtEpisode
from vjepa_gym.experiments.audit.examples import Choice, Example, strips
from vjepa_gym.experiments.audit.findings import ERROR, NO_TRAJECTORY
from vjepa_gym.experiments.audit.lists import Listed, check_lists
from vjepa_gym.experiments.audit.result import Audit
from vjepa_gym.experiments.audit.statistics import Statistics
from vjepa_gym.experiments.audit.tree import SPACE, Tree
from vjepa_gym.experiments.audit.workers import Casualty, in_watched_workers
from vjepa_gym.experiments.workers import cores

OnFolder: TypeAlias = Callable[[int, int, int], None]
"""Called with episodes checked, episodes in all, and how many of those checked are broken."""
LookAt: TypeAlias = Callable[[Path], Look]
LOADERS: Mapping[str, ClipNeeds] = {"vjepa2": ClipNeeds(frames=8, fps=4.0)}
"""Public loaders of DROID, as their published configurations have them."""


class DefectsFoundError(VJEPAGymError):
    """A dataset has defects over which a reader would trip; the audit itself is complete."""


@dataclass(kw_only=True)
class AuditConfig:
    """What to check."""

    root: str = "data/tabletop"
    """A dataset in DROID's raw layout, ours or anybody's, or one of its episodes."""
    checksums: bool = False
    """Whether every byte is compared with `vjg/SHA256SUMS`, which only our episodes have."""
    loader: str = ""
    """A public loader that should find a clip in every episode: `vjepa2`; none if empty."""
    frames: int = 0
    """Frames of a clip, for another loader or instead of those that it takes."""
    fps: float = 0.0
    """Frames a second that such a loader asks for."""
    timeout_s: float = 120.0
    """How long reading one episode may take [s]."""
    examples: int = 6
    """Of how many episodes the page shows frames."""
    workers: int = 0
    """Processes; 0 for one a core."""

    def __post_init__(self) -> None:
        if self.loader and self.loader not in LOADERS:
            raise UnknownNameError("loader", self.loader, LOADERS)
        if min(self.frames, self.fps, self.workers, self.examples) < 0 or self.timeout_s <= 0:
            raise ValueError(
                "frames, fps, workers and examples must be at least 0 and timeout_s more, got "
                f"{self.frames}, {self.fps}, {self.workers}, {self.examples} and {self.timeout_s}"
            )
        if not self.loader and bool(self.frames) != bool(self.fps):
            raise ValueError(
                "a loader needs both frames and fps, such as job.frames=8 job.fps=4, or "
                f"job.loader=vjepa2; got frames={self.frames} and fps={self.fps}"
            )

    @property
    def needs(self) -> ClipNeeds | None:
        """What the loader needs of an episode; None if there is no loader."""
        if not (self.loader or self.frames):
            return None
        known = LOADERS.get(self.loader, ClipNeeds(frames=1, fps=1.0))
        return replace(known, frames=self.frames or known.frames, fps=self.fps or known.fps)


def run_audit(
    config: AuditConfig,
    tree: Tree,
    on_folder: OnFolder | None = None,
    *,
    look_at: LookAt | None = None,
) -> Audit:
    """Check the episodes of a dataset; nothing there is changed.

    Args:
        config: What to check.
        tree: What `walk_dataset` found at its root.
        on_folder: Called at the beginning and after each episode.
        look_at: Looks at one episode; sent to the workers. `LookAtEpisode` unless told otherwise.

    Raises:
        WorkerError: The workers cannot even begin.
    """
    began = time.monotonic()
    tree = replace(tree, findings=list(tree.findings))
    listed = check_lists(tree)
    look_at = look_at or LookAtEpisode(loader=config.needs, checksums=config.checksums)
    there = _Sum(config, tree, listed)
    workers = config.workers or cores()
    total = len(tree.episodes)
    incomplete = {found.path for found in tree.findings if found.kind == NO_TRAJECTORY}
    if on_folder is not None:
        on_folder(0, total, 0)
    looks = in_watched_workers(look_at, tree.episodes, workers, config.timeout_s)
    with closing(looks):
        for done, (folder, look) in enumerate(looks, start=1):
            there.add(folder, look)
            if on_folder is not None:
                on_folder(done, total, len(there.broken))
    there.compare_names()
    return Audit(
        root=tree.root,
        settings=asdict(config),
        episodes=total + len(incomplete),
        broken=len(there.broken) + len(incomplete),
        findings=sorted(tree.findings, key=lambda found: (found.path, found.kind, found.detail)),
        advice=advice(tree),
        statistics=there.statistics,
        examples=_examples(config, tree, there.choice, workers),
        seconds=time.monotonic() - began,
    )


class _Sum:
    """Adds up what was found in episode after episode."""

    def __init__(self, config: AuditConfig, tree: Tree, listed: Mapping[Path, Listed]) -> None:
        self._config, self._tree, self._listed = config, tree, listed
        self._names: dict[tuple[str, Any], list[Path]] = defaultdict(list)
        self.statistics = Statistics(loader=config.needs)
        self.choice = Choice(config.examples)
        self.broken: set[Path] = set()
        self._spaced = any(finding.kind == SPACE for finding in tree.findings)

    def add(self, folder: Path, look: Look | Casualty) -> None:
        before = len(self._tree.findings)
        if isinstance(look, Casualty):
            kind = "timeout" if look.overdue else "crash"
            self._tree.note(kind, folder, look.detail)
        else:
            for defect in look.defects:
                self._note(folder, defect)
            if look.facts is not None:
                self._describe(folder, look.facts)
        found = self._tree.findings[before:]
        if any(finding.severity == ERROR for finding in found):
            self.broken.add(folder)

    def _note(self, folder: Path, defect: Defect) -> None:
        if defect.kind == SPACE and self._spaced:
            return  # said of the root, once
        # The folder is named beside it.
        detail = defect.detail.replace(f"{folder}/", "").removeprefix(f"{folder}: ")
        self._tree.note(defect.kind, folder, detail)

    def _describe(self, folder: Path, facts: Facts) -> None:
        self.statistics.add(facts)
        if facts.videos:
            self.choice.add(self._tree.name(folder), folder, facts)
        for kind, name in (("same_uuid", facts.uuid), ("same_number", facts.number)):
            if name is not None:
                self._names[kind, name].append(folder)
        listed = self._listed.get(folder.resolve())
        claims = listed.claims if listed else {}
        true = {"rows": facts.rows, "success": facts.success, "index": facts.number}
        for name, value in true.items():
            if name in claims and claims[name] != value:
                detail = f"{INDEX} says {name}={claims[name]!r}, but it is {value!r}"
                self._tree.note("listed_otherwise", folder, detail)

    def compare_names(self) -> None:
        """Find episodes that are called the same."""
        for (kind, name), folders in self._names.items():
            first, *others = sorted(folders)
            for folder in others:
                self._tree.note(kind, folder, self._twice(kind, name, first))
                self.broken.add(folder)

    def _twice(self, kind: str, name: Any, first: Path) -> str:
        there = self._tree.name(first)
        if kind == "same_uuid":
            return f"the uuid {name} is also that of {there}; remove one of the two"
        root = self._tree.root
        return (
            f"the number {name} is also that of {there}; remove one of the two, or "
            f"{recovery(root)} sets this one aside to {root.absolute()}.damaged"
        )


def _examples(config: AuditConfig, tree: Tree, choice: Choice, workers: int) -> list[Example]:
    chosen = {candidate.folder: candidate for candidate in choice.chosen()}
    shown = dict(in_watched_workers(strips, list(chosen), workers, config.timeout_s))
    return [
        Example(name=tree.name(folder), candidate=candidate, strips=shown[folder])
        for folder, candidate in chosen.items()
        if not isinstance(shown[folder], Casualty)
    ]
