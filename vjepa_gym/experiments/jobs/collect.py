"""Fill a dataset with simulated episodes, on all cores, stopped and resumed at will.

Episode `i` is a function of the settings and of `(seed, i)` alone: which process records it, and
whether the run was ever broken off, makes no difference.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import gymnasium as gym

import vjepa_gym
from vjepa_gym.datasets.droid import writing as droid
from vjepa_gym.datasets.storage.disk import told_if_full
from vjepa_gym.datasets.storage.store import Entry, EpisodeStore
from vjepa_gym.envs import full_id
from vjepa_gym.experiments.collect.config import CollectConfig, Draw, draw
from vjepa_gym.experiments.collect.folder import check_disk, check_root, guess_size, settle
from vjepa_gym.experiments.run_folder import commit_of
from vjepa_gym.experiments.workers import cores, in_workers
from vjepa_gym.types import Episode

logger = logging.getLogger(__name__)

Recorder: TypeAlias = Callable[[Draw], Episode]
OnEpisode: TypeAlias = Callable[[int, int, int, int], None]
"""Called with episodes there are, episodes wanted, successes and bytes among those there are."""
OpenRecorder: TypeAlias = Callable[[CollectConfig], Recorder]


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


def open_simulation(config: CollectConfig) -> Recorder:
    """Return what records in the environments of `config`, each made when it is first needed."""
    from vjepa_gym.envs.recording import record_episode

    @cache
    def make(name: str, lab: str) -> gym.Env:
        return gym.make(
            full_id(name),
            horizon=config.steps,
            lab=lab,
            gripper=config.gripper,
            image_size=config.image_size,
            cameras=config.cameras,
            variation=config.variation,
            **config.env_options,
        )

    def record(drawn: Draw) -> Episode:
        return record_episode(
            make(drawn.env, drawn.lab),
            drawn.behaviour,
            seed=drawn.seed,
            steps=config.steps,
            record_hz=config.record_hz,
        )

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
        DatasetError: What is there is something else, was collected with other settings, is being
            written to by another process, or the disk is too small.
        DiskFullError: The disk is full, which it was not to be.
        LostWorkerError: Workers die at the same episode again and again.
    """
    store = EpisodeStore(config.root)
    check_root(store.root)
    tally = _Tally(store, config.episodes, on_episode)
    with told_if_full(store.root, lambda: tally.missing_bytes(config)), store.staging.alone():
        recovery = store.recover()
        tally.add_all()
        found = len(tally.done)
        logger.info("%s: found %s.", store.root, recovery)
        if config.check_disk:
            check_disk(store, config.settings(), len(tally.missing()))
        settle(store, config.settings())
        tally.report()
        code = commit_of(Path(vjepa_gym.__file__).parents[1])
        recording = _Recording(config=config, code=code, open_recorder=open_recorder)
        lost = _record(recording, tally, store)
        # Several writers list in the order of their finishing.
        store.arrange()
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

    def missing_bytes(self, config: CollectConfig) -> int:
        each = self.bytes // len(self.done) if self.done else guess_size(config.settings())
        return each * len(self.missing())


@dataclass(frozen=True, kw_only=True)
class _Recording:
    """What each worker is told.

    Attributes:
        config: What to collect.
        code: Which commit records.
        open_recorder: Opens what records, once in each worker.
    """

    config: CollectConfig
    code: dict[str, str | bool | None]
    open_recorder: OpenRecorder

    def begin(self) -> Callable[[int], Entry]:
        """Return what records an episode by number and adds it to the dataset."""
        store, record = EpisodeStore(self.config.root), self._begin()
        store.staging.help()

        def add(index: int) -> Entry:
            # Who was killed at it may have added it, and not have come to say so.
            there = {entry.index: entry for entry in store.entries()}
            return there.get(index) or store.write(index, record(index), header=self.config.header)

        return add

    def begin_away(self) -> Callable[[int], dict[str, bytes]]:
        """Return what records an episode by number and returns its files by relative path."""
        record = self._begin()

        def files(index: int) -> dict[str, bytes]:
            with TemporaryDirectory() as name:
                folder = Path(name)
                droid.write_episode(folder, record(index), index, header=self.config.header)
                written = (path for path in folder.rglob("*") if path.is_file())
                return {path.relative_to(folder).as_posix(): path.read_bytes() for path in written}

        return files

    def _begin(self) -> Callable[[int], Episode]:
        recorder, settings = self.open_recorder(self.config), self.config.settings()

        def record(index: int) -> Episode:
            episode = recorder(draw(self.config, index))
            versions = {**episode.info.get("versions", {}), **self.code}
            return replace(
                episode, info={**episode.info, "versions": versions, "collection": settings}
            )

        return record


def _record(recording: _Recording, tally: _Tally, store: EpisodeStore) -> int:
    """Record what is missing; return how often a worker was lost."""
    config, missing, lost = recording.config, tally.missing(), []

    def on_lost(index: int) -> None:
        lost.append(index)
        logger.warning("%s: a worker died at episode %d, which begins anew.", store.root, index)

    entries: Generator[Entry, None, None]
    if config.runner == "ray":
        entries = _adopted(store, recording, missing, on_lost)
    else:
        entries = in_workers(recording.begin, missing, config.workers or cores(), on_lost)
    with closing(entries):
        for entry in entries:
            tally.add(entry)
            tally.report()
    return len(lost)


def _adopted(
    store: EpisodeStore, recording: _Recording, missing: list[int], on_lost: Callable[[int], None]
) -> Generator[Entry, None, None]:
    """Add what a cluster records; only this process need see the dataset's folder."""
    from vjepa_gym.experiments.cluster import on_cluster

    config = recording.config
    done = on_cluster(recording.begin_away, missing, config.ray_address, config.workers, on_lost)
    with closing(done):
        for files in done:
            yield store.adopt(files)
