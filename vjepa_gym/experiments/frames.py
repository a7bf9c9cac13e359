"""What models are trained on and judged by: frames with poses, or videos of any kind."""

import difflib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

from vjepa_gym.datasets.caching.cache import open_frames
from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.droid.layout import CAMERAS
from vjepa_gym.datasets.sampling.joining import join
from vjepa_gym.datasets.sampling.videos import (
    NOMINAL_HZ,
    DroidVideos,
    FrameVideos,
    JoinedVideos,
)
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video.finding import find_files
from vjepa_gym.datasets.video.folder import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    ImageFolder,
    VideoFolder,
)
from vjepa_gym.datasets.video.surveying import Progress, ignore
from vjepa_gym.errors import DatasetError
from vjepa_gym.experiments.convert.places import beside
from vjepa_gym.experiments.progress import progress
from vjepa_gym.learning.clips import ClipShape
from vjepa_gym.learning.distributed import current_world
from vjepa_gym.types import Frames, Videos

Places: TypeAlias = str | Path | Sequence[str | Path]
"""One folder, or several."""
READABLE = (
    "a dataset that `vjepa-gym collect` made; a folder of episodes in DROID's layout, which have a "
    f"trajectory.h5; a folder of videos ({', '.join(VIDEO_SUFFIXES)}); or one of images "
    f"({', '.join(IMAGE_SUFFIXES)})"
)
"""What `open_videos` takes."""
LARGER = 2
"""Videos of anybody are kept at so many times the resolution of the training, to be cropped."""
UNITS = {"droid": "files", "videos": "videos", "images": "images"}
"""What is looked into in each kind of folder."""
WITH_POSES = ("ours", "droid")
"""The kinds of folders whose episodes tell where the hand was."""
MISSING_FRAMES = 1
"""Rows at the end of a DROID episode that may have no frame, as released ones often have none."""

logger = logging.getLogger(__name__)


def open_split(
    data: Places, *, size: int, held_out: int, hz: float = NOMINAL_HZ, skip_bad: bool = False
) -> tuple[Frames, Frames]:
    """Return the frames to train on with their poses, and those of the last `held_out` episodes.

    Of several datasets, as many of each are held out.

    Of our own datasets all rows are taken. Of anybody's episodes in DROID's layout, at 15 rows a
    second mostly, those nearest to the ticks of a clock: what the arm did between two of them is
    then the difference of their poses, about as much as a settled move of ours.

    Args:
        data: The dataset, or several; their videos are decoded the first time.
        size: Height and width of the frames [px].
        held_out: Episodes to keep from training.
        hz: Rows a second of anybody's episodes.
        skip_bad: Whether to leave damaged ones of these out, which takes decoding all at each
            start; else they are an error.

    Raises:
        DatasetError: There are no such data, too few, or damaged ones.
    """
    splits = []
    for folder in [data] if isinstance(data, str | Path) else data:
        frames = open_whole(folder, size=size, hz=hz, skip_bad=skip_bad)
        if not 0 < held_out < frames.num_episodes:
            raise DatasetError(_too_few(folder, held_out, frames.num_episodes, least=1))
        splits.append(frames.split(held_out))
    return join([known for known, _ in splits]), join([rest for _, rest in splits])


def has_poses(folder: str | Path) -> bool:
    """Return whether the data of a folder are such as `open_whole` takes.

    Raises:
        DatasetError: There are no such data.
    """
    return _kind_of(Path(folder)) in WITH_POSES


def open_whole(
    folder: str | Path, *, size: int, hz: float = NOMINAL_HZ, skip_bad: bool = False
) -> Frames:
    """Return the frames of all episodes with their poses; see `open_split`.

    Raises:
        DatasetError: There are no such data, or damaged ones.
    """
    kind = _kind_of(Path(folder))
    if kind not in WITH_POSES:
        raise DatasetError(
            f"{folder}: a folder of {kind} has no poses, from which actions are learnt; expected a "
            "dataset that `vjepa-gym collect` made, or episodes in DROID's layout. Encoders are "
            "pretrained on videos alone: vjepa-gym pretrain job.training.recovery.weight=0."
        )
    if kind == "ours":
        frames = _decoded(EpisodeStore(folder), size)
    else:
        episodes = DroidEpisodes(
            folder,
            cameras=("left",),
            on_defect="skip" if skip_bad else "refuse",
            missing_frames=MISSING_FRAMES,
        )
        frames = _decoded(episodes, size, hz)
        logger.info(
            "%s: %d episodes, of which %d rows are kept, %g a second; a last row without a frame is"
            " left out.",
            *(folder, frames.num_episodes, len(frames.poses), hz),
        )
    return frames


def open_videos(
    data: Places,
    *,
    image_size: int,
    held_out: int = 0,
    skip_bad: bool = False,
    weights: Sequence[float] | None = None,
    cameras: Sequence[str] = CAMERAS,
    workers: int | None = None,
    on_progress: Progress | None = None,
    clips: Sequence[ClipShape] = (),
) -> Videos:
    """Return videos to pretrain on, from any of the places where there are some.

    A folder is recognised by what is in it: see `READABLE`. Our own datasets are decoded once, at
    `image_size`; frames of others are read from their videos, at twice that at most.

    Args:
        data: A folder, or several.
        image_size: Height and width of the frames that are trained on [px].
        held_out: Episodes to leave out at the end of our datasets and those in DROID's layout.
        skip_bad: Whether to leave out what cannot be decoded, all of which is decoded once to know;
            else it is an error, as far as can be told at once.
        weights: How often each folder is to be drawn from, in any unit; by default by its size.
        cameras: Which videos of episodes in DROID's layout; of ours it is always `left`.
        workers: Threads that look into files; by default one a core.
        on_progress: Called with how many files were looked into, and of how many, folder after
            folder; by default it is shown.
        clips: What is to be cut from the videos. One of other people's that holds no such clip
            cannot be used; to be left out, it must hold none of these.

    Raises:
        DatasetError: A folder is missing, empty, or holds nothing of these kinds, or is damaged;
            the message says what would have worked.
        ValueError: There is no folder, or there are not as many positive weights.
    """
    places = [data] if isinstance(data, str | Path) else list(data)
    if not places or (weights is not None and len(weights) != len(places)):
        raise ValueError(
            f"data must name a folder or several, and weights be as many; got {len(places)} folders"
            f" and weights {None if weights is None else list(weights)}."
        )
    how = {"on_defect": "skip" if skip_bad else "refuse", "workers": workers}
    parts: list[Videos] = []
    for place in map(Path, places):
        kind = _kind_of(place)
        if kind == "ours":
            parts.append(_ours(place, image_size, held_out, on_progress))
            continue
        with _shown(f"look into {place.name}", UNITS[kind], on_progress) as report:
            side = {"max_side": LARGER * image_size, "on_progress": report}
            unfit = partial(_unfit, clips, all if skip_bad else any)
            if kind == "droid":
                episodes = _all_but(DroidEpisodes(place), held_out)
                parts.append(DroidVideos(episodes, cameras=cameras, **how, **side, unfit=unfit))
            elif kind == "videos":
                parts.append(VideoFolder(place, **how, **side, unfit=unfit))
            else:
                parts.append(ImageFolder(place, **how, **side))
    return parts[0] if len(parts) == 1 else JoinedVideos(parts, weights)


def _unfit(
    clips: Sequence[ClipShape], which: Callable[[Iterable[bool]], bool], frames: int, rate: float
) -> str | None:
    """Return why a video holds none of some clips (`all`), or not each of them (`any`)."""
    lacks = [(clip, clip.lack(frames, rate)) for clip in clips]
    if not lacks or not which(lack is not None for _, lack in lacks):
        return None
    clip, lack = next((clip, lack) for clip, lack in lacks if lack is not None)
    return f"holds no clip of {clip}: {lack}."


def _ours(root: Path, size: int, held_out: int, on_progress: Progress | None) -> FrameVideos:
    frames = _decoded(EpisodeStore(root), size, on_progress=on_progress)
    if held_out == 0:
        return FrameVideos(frames)
    if not 0 < held_out < frames.num_episodes:
        raise DatasetError(_too_few(root, held_out, frames.num_episodes, least=0))
    return FrameVideos(frames.split(held_out)[0])


def _all_but(episodes: DroidEpisodes, held_out: int) -> DroidEpisodes:
    if not 0 <= held_out < len(episodes):
        raise DatasetError(_too_few(episodes.root, held_out, len(episodes), least=0))
    return episodes[: len(episodes) - held_out]


def _too_few(folder: str | Path, held_out: int, count: int, *, least: int) -> str:
    return (
        f"{folder} has {count} episodes, so that job.held_out must lie between {least} and"
        f" {count - 1}; got {held_out}."
    )


def _decoded(
    episodes: EpisodeStore | DroidEpisodes,
    size: int,
    hz: float | None = None,
    on_progress: Progress | None = None,
) -> Frames:
    """Return the frames of the camera `left`, decoded the first time."""
    with _shown("decode", "episodes", on_progress) as report:
        return open_frames(episodes, size=size, hz=hz, packing="auto", on_progress=report)


@contextmanager
def _shown(title: str, unit: str, on_progress: Progress | None) -> Iterator[Progress]:
    """Yield what is called with how far it is; of several processes the first shows it."""
    if on_progress is not None or not current_world().is_first:
        yield on_progress or ignore
        return
    with ExitStack() as shown:
        reports = []

        def show(done: int, total: int) -> None:
            if not reports or done == 0:  # a job of several parts
                shown.close()
                reports[:] = [shown.enter_context(progress(title, total, unit))]
            reports[0](done, {})

        yield show


def _kind_of(root: Path) -> str:
    """Return `ours`, `droid`, `videos` or `images`.

    Raises:
        DatasetError: It is none of these.
    """
    if not root.is_dir():
        raise DatasetError(_missing(root))
    if (root / "index.jsonl").is_file():
        return "ours"
    if (root / "meta/info.json").is_file():
        raise DatasetError(
            f"{root}: is in LeRobot's format; convert it first: vjepa-gym convert {root} "
            f"{beside(root, 'droid')} job.to=droid"
        )
    names = [Path(name) for name in find_files(root, (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, ".h5"))]
    if any(path.name == "trajectory.h5" for path in names):
        return "droid"
    videos = sum(path.suffix.lower() in VIDEO_SUFFIXES for path in names)
    images = sum(path.suffix.lower() in IMAGE_SUFFIXES for path in names)
    if videos and images:
        logger.warning(
            "%s: %d images beside %d videos are left aside; name a folder of images by itself.",
            *(root, images, videos),
        )
    if not videos and not images:
        raise DatasetError(f"{root}: nothing that can be read; expected {READABLE}.")
    return "videos" if videos else "images"


def _missing(root: Path) -> str:
    if root.is_file():
        return f"{root}: expected a folder, found a file; name the folder that it is in."
    near = [path.name for path in root.parent.iterdir()] if root.parent.is_dir() else []
    close = difflib.get_close_matches(root.name, near, n=1)
    hint = f" Did you mean {root.with_name(close[0])}?" if close else ""
    return f"{root}: there is no such folder.{hint} Expected {READABLE}."
