"""How fast episodes are collected, and clips of them read, beside decord in the same run.

decord reads clips as the public loader of V-JEPA 2 has it do it (facebookresearch/vjepa2,
`app/vjepa_droid/droid.py`): the video is opened anew for each clip, with as many threads as decord
likes, and the frames are taken in one batch.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from math import ceil
from pathlib import Path
from statistics import fmean, median
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Int64, UInt8

from vjepa_gym.datasets.caching.cache import open_cache
from vjepa_gym.datasets.droid.layout import open_folder
from vjepa_gym.datasets.sampling.clips import Clips
from vjepa_gym.datasets.sampling.sources import ClipSource, VideoSource
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.envs import SHORT
from vjepa_gym.envs.recording import record_episode
from vjepa_gym.errors import DatasetError, VJEPAGymError
from vjepa_gym.experiments.benchmark.report import Benchmark, Comparison, Limit
from vjepa_gym.experiments.benchmark.settings import DataSettings
from vjepa_gym.experiments.timing import Rate, duration, machine, one_core, rate
from vjepa_gym.types import Episode

VIEWS = ("left", "right", "wrist")
DECORD = "decord, opened per clip"
CLIPS = 256
"""Different clips that are read over and over."""
WANTED = {"memory map": 100.0, "packed JPEG": 2.0, "MP4": None}
"""How many times as fast as decord each should be."""
VERSIONS = ("eva-decord", "av", "opencv-python", "numpy", "mujoco")

Read = Callable[[int, Int64[np.ndarray, " frames"]], object]
"""Reads the frames with these numbers of an episode."""


def import_decord() -> Any:
    """Return decord.

    Raises:
        VJEPAGymError: It is not installed.
    """
    try:
        import decord
    except ImportError as error:
        raise VJEPAGymError(
            "`benchmark data` compares with decord, which is not installed: "
            "pip install 'vjepa-gym[dev]', or eva-decord alone."
        ) from error
    return decord


@dataclass(frozen=True, kw_only=True)
class _Collected:
    """What collecting took.

    Attributes:
        record: Processor's time to record each episode [s].
        write: Processor's time to write each [s].
        sizes: Bytes of each part of an episode, in the mean.
        seconds: Arm motion in an episode, in the mean [s].
    """

    record: Sequence[float]
    write: Sequence[float]
    sizes: Mapping[str, float]
    seconds: float

    def limits(self, settings: DataSettings) -> list[Limit]:
        """Return what belongs into the table."""
        height, width = settings.image_size
        taken = [a + b for a, b in zip(self.record, self.write, strict=True)]
        what = (
            f"collecting episodes of {settings.steps} moves ({self.seconds:.1f} s), three videos of"
            f" {width} x {height} px, {settings.record_hz:g} rows a second"
        )
        notes = {"seconds_recording": fmean(self.record), "seconds_writing": fmean(self.write)}
        rows = [Limit(what=what, unit="1/min", ours=60 / median(taken), notes=notes)]
        for part, size in self.sizes.items():
            rows.append(Limit(what=f"an episode: {part}", unit="kB", ours=size / 1000))
        return rows


def measure_data(
    settings: DataSettings,
    *,
    folder: Path,
    rounds: int,
    seconds: float,
    seed: int,
    core: int | None,
    on_part: Callable[[str], None],
) -> Benchmark:
    """Collect episodes and read clips of them; the episodes are removed afterwards.

    Args:
        settings: Which episodes, and which clips.
        folder: Where there is room for them.
        rounds: How often each way of reading is measured, by turns.
        seconds: How long each time [s].
        seed: Of the episodes and the clips.
        core: Which core to run on; None for the first that this process may use.
        on_part: Called with what comes next.

    Raises:
        RenderingError: This machine has no working OpenGL.
        VJEPAGymError: decord is not installed.
        DatasetError: The episodes are too short for a clip.
    """
    decord = import_decord()
    folder.mkdir(parents=True, exist_ok=True)
    with one_core(core) as used, tempfile.TemporaryDirectory(dir=folder) as place:
        store = EpisodeStore(Path(place, "episodes"))
        collected = _collect(settings, store, seed, on_part)
        sources: dict[str, ClipSource] = {}
        for name, packing in (("memory map", "raw"), ("packed JPEG", "jpeg")):
            on_part(f"cache: {name}")
            sources[name] = open_cache(store, size=None, packing=packing)
        sources["MP4"] = VideoSource(store)
        comparisons = _read_clips(
            settings, store, sources, decord, rounds=rounds, seconds=seconds, seed=seed,
            on_part=on_part,
        )  # fmt: skip
    on_part("")
    return Benchmark(
        comparisons=comparisons,
        limits=collected.limits(settings),
        machine=machine(used, VERSIONS),
        other=DECORD,
    )


def _collect(
    settings: DataSettings, store: EpisodeStore, seed: int, on_part: Callable[[str], None]
) -> _Collected:
    record, write, lengths = [], [], []
    env = gym.make(
        SHORT[settings.task],
        horizon=settings.steps,
        image_size=settings.image_size,
        cameras=VIEWS,
        goal_images=False,
    )
    with closing(env):
        env.reset(seed=seed)  # opens the scene and what draws it
        for index in range(settings.episodes):
            on_part(f"episode {index}")
            episodes: list[Episode] = []
            taken = duration(lambda: episodes.append(_record(env, settings, seed + index)))  # noqa: B023
            record.append(taken)
            add = partial(store.write, index, header=settings.header)
            write.append(duration(lambda: add(episodes[0])))  # noqa: B023
            lengths.append(float(episodes[0].times[-1]))
    sizes = [_sizes(store.folder(entry)) for entry in store.entries()]
    means = {part: fmean(size[part] for size in sizes) for part in sizes[0]}
    return _Collected(record=record, write=write, sizes=means, seconds=fmean(lengths))


def _record(env: gym.Env, settings: DataSettings, seed: int) -> Episode:
    return record_episode(
        env, "scripted", seed=seed, steps=settings.steps, record_hz=settings.record_hz
    )


def _sizes(folder: Path) -> dict[str, int]:
    """Return how large each part of an episode is [bytes]."""
    files = {
        "videos": folder.rglob("*.mp4"),
        "rows (trajectory.h5)": folder.glob("*.h5"),
        "sidecar (vjg)": folder.glob("vjg/*"),
        "metadata": folder.glob("*.json"),
    }
    return {part: sum(file.stat().st_size for file in found) for part, found in files.items()}


def _read_clips(
    settings: DataSettings,
    store: EpisodeStore,
    sources: Mapping[str, ClipSource],
    decord: Any,
    *,
    rounds: int,
    seconds: float,
    seed: int,
    on_part: Callable[[str], None],
) -> list[Comparison]:
    """Read the same clips in every way, by turns."""
    videos = [open_folder(store.folder(entry)).video("left") for entry in store.entries()]
    stride = ceil(decord.VideoReader(str(videos[0])).get_avg_fps() / settings.fps)
    lengths = np.diff(sources["MP4"].offsets)
    chosen = draw_clips(lengths, settings.frames, stride, np.random.default_rng(seed))
    tasks = {name: _over(_reader(source), chosen) for name, source in sources.items()}
    tasks[DECORD] = _over(lambda i, rows: read_with_decord(decord, videos[i], rows), chosen)
    clips = Clips(sources["memory map"], frames=settings.frames, stride=stride, seed=seed)
    numbers = cycle(range(CLIPS))
    tasks["whole"] = lambda: clips[next(numbers)]
    for task in tasks.values():
        rate(task, 0.0, least=CLIPS // 8)  # files are read for the first time
    rates: dict[str, list[Rate]] = {name: [] for name in tasks}
    for i in range(rounds):
        on_part(f"round {i + 1}")
        for name, task in tasks.items():
            rates[name].append(rate(task, seconds))
    height, width = settings.image_size
    clip = f"clips of {settings.frames} frames of {width} x {height} px, every {stride} rows"
    found = [
        Comparison(what=f"{clip}, from {name}", ours=rates[name], stock=rates[DECORD], least=least)
        for name, least in WANTED.items()
    ]
    what = "the same with poses and actions, as training has them, from memory map"
    return [*found, Comparison(what=what, ours=rates["whole"], stock=rates[DECORD])]


def draw_clips(
    lengths: Int64[np.ndarray, " episodes"], frames: int, stride: int, rng: np.random.Generator
) -> list[tuple[int, Int64[np.ndarray, " frames"]]]:
    """Return episodes and rows of clips, drawn as the public loader draws them.

    Args:
        lengths: How many rows each episode has.
        frames: Frames in a clip.
        stride: Rows from one to the next.
        rng: Source of randomness.

    Raises:
        DatasetError: No episode is long enough.
    """
    window = frames * stride
    long = np.flatnonzero(lengths > window)
    if not len(long):
        raise DatasetError(
            f"A clip needs {window + 1} rows, and the longest episode has {lengths.max()}: take "
            "more steps, fewer frames or more frames a second."
        )
    found = []
    for episode in rng.choice(long, CLIPS):
        start = int(rng.integers(window, lengths[episode])) - window
        found.append((int(episode), np.arange(start, start + window, stride)))
    return found


def read_with_decord(
    decord: Any, path: Path, rows: Int64[np.ndarray, " frames"]
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Return frames of a video that is opened for them, by the calls that the public loader makes.

    Args:
        decord: The package.
        path: The video.
        rows: Numbers of the frames.
    """
    video = decord.VideoReader(str(path), num_threads=-1, ctx=decord.cpu(0))
    video.get_avg_fps()
    len(video)
    video.seek(0)
    return video.get_batch(rows).asnumpy()


def _reader(source: ClipSource) -> Read:
    return lambda episode, rows: source.read(episode, rows, "left")


def _over(
    read: Read, clips: Sequence[tuple[int, Int64[np.ndarray, " frames"]]]
) -> Callable[[], object]:
    """Return what reads the next of the clips, over and over."""
    following: Iterator[tuple[int, Int64[np.ndarray, " frames"]]] = cycle(clips)
    return lambda: read(*next(following))
