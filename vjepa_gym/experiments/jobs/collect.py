"""Fill a dataset with simulated episodes, on all cores, stopped and resumed at will.

Episode `i` is a function of the settings and of `(seed, i)` alone: which process records it, and
whether the run was ever broken off, makes no difference.
"""

import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np

from vjepa_gym.datasets.staging import replace_file
from vjepa_gym.datasets.store import Entry, EpisodeStore
from vjepa_gym.envs import SHORT, check_id, full_id
from vjepa_gym.envs.presets import PRESETS
from vjepa_gym.errors import DatasetError, UnknownNameError
from vjepa_gym.experiments.workers import cores, in_workers
from vjepa_gym.types import Episode

logger = logging.getLogger(__name__)

Recorder: TypeAlias = Callable[[str, str, int], Episode]
"""Records one episode of an environment and a behaviour under a seed."""
OnEpisode: TypeAlias = Callable[[int, int, int, int], None]
"""Called with episodes there are, episodes wanted, successes and bytes among those there are."""


def all_tasks() -> dict[str, float]:
    """Return the seven tasks, those that move an object more often than those that only grasp."""
    return {name: 0.1 if name.startswith("grasp") else 0.16 for name in SHORT}


@dataclass(kw_only=True)
class CollectConfig:
    """What to collect, and where to."""

    root: str = "data/tabletop"
    """Folder of the dataset; what is there already is kept and counted."""
    episodes: int = 2000
    """Episodes wanted in all."""
    steps: int = 24
    """Actions in each."""
    seed: int = 0
    """Everything random derives from this and from an episode's number."""
    mix: dict[str, float] = field(
        default_factory=lambda: {
            "scripted": 0.35,
            "noisy": 0.25,
            "play": 0.2,
            "random": 0.18,
            "idle": 0.02,
        }
    )
    """How often each behaviour is drawn; need not sum to one."""
    tasks: dict[str, float] = field(default_factory=all_tasks)
    """How often each task is drawn, by the name that `env=` has for it or by the registered name of
    an environment; need not sum to one."""
    lab: str = "train"
    """Where; `test` is for testing."""
    gripper: str = "panda"
    """`panda`, or `robotiq` for DROID's."""
    variation: str = "none"
    """`none`, `narrow` or `wide`: what else differs from one episode to the next."""
    env_options: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the environments."""
    image_size: int = 256
    """Height and width of the video [px], an even number."""
    workers: int = 0
    """Processes; 0 for one a core."""

    def __post_init__(self) -> None:
        for name in self.tasks:
            check_id(full_id(name))
        if self.variation not in PRESETS:
            raise UnknownNameError("variation", self.variation, PRESETS)
        if self.episodes < 1 or self.steps < 1 or self.workers < 0:
            raise ValueError(
                "episodes and steps must be at least 1 and workers at least 0, got "
                f"{self.episodes}, {self.steps} and {self.workers}"
            )
        for name in ("mix", "tasks"):
            weights = getattr(self, name)
            if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
                raise ValueError(f"{name} needs an entry of positive weight, got {weights}")


OpenRecorder: TypeAlias = Callable[[CollectConfig], Recorder]
_Work: TypeAlias = Callable[[int], Entry]


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What a run of `run_collect` did.

    Attributes:
        found: Episodes that were there when it began.
        recorded: Episodes that it added.
        successes: Successful ones among all.
        bytes: Size of all.
        lost_workers: How often a worker process died; its episode was recorded again.
    """

    found: int
    recorded: int
    successes: int
    bytes: int
    lost_workers: int


def draw(config: CollectConfig, index: int) -> tuple[str, str, int]:
    """Return the environment, the behaviour and the seed of episode `index`."""
    rng = np.random.default_rng([config.seed, index])
    return _weighted(rng, config.tasks), _weighted(rng, config.mix), int(rng.integers(2**31))


def _weighted(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    names = sorted(weights)
    values = np.array([weights[name] for name in names], np.float64)
    return str(rng.choice(names, p=values / values.sum()))


def open_simulation(config: CollectConfig) -> Recorder:
    """Return what records in the environments of `config`, each made when it is first needed."""
    from vjepa_gym.envs.recording import record_episode

    @cache
    def make(name: str) -> gym.Env:
        return gym.make(
            full_id(name),
            horizon=config.steps,
            lab=config.lab,
            gripper=config.gripper,
            image_size=config.image_size,
            variation=config.variation,
            **config.env_options,
        )

    def record(env: str, behaviour: str, seed: int) -> Episode:
        return record_episode(make(env), behaviour, seed=seed, steps=config.steps)

    return record


def run_collect(
    config: CollectConfig,
    on_episode: OnEpisode | None = None,
    *,
    open_recorder: OpenRecorder = open_simulation,
) -> Collected:
    """Record the episodes that are missing.

    Args:
        config: What to collect.
        on_episode: Called at the beginning and after each episode.
        open_recorder: Called once in each worker; an importable function. The simulated
            environment of `config` unless told otherwise.

    Raises:
        DatasetError: What is there was collected with other settings.
        BrokenProcessPool: Workers die before they finish a single episode.
    """
    store = EpisodeStore(config.root)
    recovery = store.recover()
    _settle(config, store)
    tally = _Tally(store, config.episodes, on_episode)
    tally.add_all()
    found = len(tally.done)
    logger.info("%s: found %s.", store.root, recovery)
    tally.report()
    lost = _record(config, tally, partial(_begin, config, open_recorder))
    # Several writers list in the order of their finishing; afterwards it is that of the numbers.
    store.recover()
    return Collected(
        found=found,
        recorded=len(tally.done) - found,
        successes=tally.successes,
        bytes=tally.bytes,
        lost_workers=lost,
    )


class _Tally:
    """Counts the episodes there are and tells who listens."""

    def __init__(self, store: EpisodeStore, total: int, on_episode: OnEpisode | None) -> None:
        self.done: set[int] = set()
        self.successes = self.bytes = 0
        self._store, self._total, self._on_episode = store, total, on_episode

    def add(self, entry: Entry) -> None:
        if entry.index not in self.done:
            self.done.add(entry.index)
            self.successes += entry.success
            self.bytes += self._store.size(entry)

    def add_all(self) -> None:
        for entry in self._store.entries():
            self.add(entry)

    def report(self) -> None:
        if self._on_episode is not None:
            self._on_episode(len(self.done), self._total, self.successes, self.bytes)

    def missing(self) -> list[int]:
        return [index for index in range(self._total) if index not in self.done]


def _settle(config: CollectConfig, store: EpisodeStore) -> None:
    """Keep the settings beside the episodes, and refuse to mix episodes of different ones."""
    path = store.root / "collection.json"
    settings = {
        "seed": config.seed,
        "steps": config.steps,
        "mix": dict(config.mix),
        "tasks": dict(config.tasks),
        "lab": config.lab,
        "gripper": config.gripper,
        "variation": config.variation,
        "env_options": dict(config.env_options),
        "image_size": config.image_size,
    }
    if not path.is_file():
        store.root.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(settings, indent=1) + "\n")
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    # As JSON, because a tuple comes back as a list.
    asked = json.loads(json.dumps(settings))
    different = [name for name in asked if asked[name] != before.get(name)]
    if different:
        raise DatasetError(
            f"{path}: the episodes there were collected with other settings: "
            + ", ".join(f"{name}={before.get(name)!r}" for name in different)
            + ". Use these, or another root."
        )


def _record(config: CollectConfig, tally: _Tally, begin: Callable[[], _Work]) -> int:
    """Record what is missing, with new workers when one was lost; return how often one was."""
    lost = 0
    while missing := tally.missing():
        before, workers = len(tally.done), min(config.workers or cores(), len(missing))
        try:
            with closing(in_workers(begin, missing, workers)) as entries:
                for entry in entries:
                    tally.add(entry)
                    tally.report()
        except BrokenProcessPool:
            lost += 1
            store = EpisodeStore(config.root)
            logger.warning("%s: a worker died; %s.", store.root, store.recover())
            tally.add_all()
            if len(tally.done) == before:
                raise
    return lost


def _begin(config: CollectConfig, open_recorder: OpenRecorder) -> _Work:
    """Return what records an episode by number and adds it to the dataset."""
    store, recorder = EpisodeStore(config.root), open_recorder(config)

    def record(index: int) -> Entry:
        return store.write(index, recorder(*draw(config, index)))

    return record
