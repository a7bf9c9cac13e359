"""Any folder of videos or of images as `Videos`: each file is looked into once, damage is named."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from vjepa_gym.datasets.video.finding import find_files
from vjepa_gym.datasets.video.pictures import check_picture, read_picture
from vjepa_gym.datasets.video.probing import CHECKS, ProbedVideo, probe_video
from vjepa_gym.datasets.video.seeking import read_frames_at
from vjepa_gym.datasets.video.surveying import Progress, Unfit, ignore, refuse_none, survey
from vjepa_gym.errors import DatasetError, UnknownNameError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".gif", ".m4v")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class VideoFolder:
    """The videos below a folder, of any size and rate; see `types.Videos`.

    Each is looked into once: its frames are counted as they are stored, whatever its header says,
    and some are decoded. What was found is remembered (`remembering`), so that the next start takes
    no longer than listing the folder. Frames are numbered as they are shown, at a constant rate or
    not, and taken as they are stored, even where players would turn them. A file is opened for each
    clip, so that threads and processes share nothing.

    Attributes:
        root: The folder.
        names: The path of each video below it.
        lengths: How many frames each has.
        rates: Frames a second of each, by the times at which they are shown.
        left_out: Why videos are left out, by name.
        notes: What is curious about videos that are not, by name.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        on_defect: str = "refuse",
        check: str | None = None,
        max_side: int | None = None,
        workers: int | None = None,
        on_progress: Progress = ignore,
        unfit: Unfit = refuse_none,
    ) -> None:
        """Find videos, and look into those that are not known yet.

        Args:
            root: The folder.
            on_defect: `refuse` raises if a video cannot be used; `skip` leaves it out.
            check: How far each is looked into, one of `probing.CHECKS`: by default some `keyframes`
                if damage is refused, since it will be named when it is read, and all `frames` if
                it is to be skipped, which takes as long as decoding everything once.
            max_side: Frames whose shorter side is longer are scaled down to it as they are decoded
                [px].
            workers: Threads that look into videos; by default one a core.
            on_progress: Called with the number of videos looked into, and of all.
            unfit: Returns why a video of so many frames, and so many a second, cannot be used,
                though it is sound; None if it can.

        Raises:
            DatasetError: There is no video, or none that can be used, or one cannot be and that is
                refused; the message lists some.
            UnknownNameError: There is no such way with defects, or no such check.
        """
        self.root, self.max_side = Path(root), max_side
        paths = _find(self.root, VIDEO_SUFFIXES, "video")
        check = check or ("frames" if on_defect == "skip" else "keyframes")
        if check not in CHECKS:
            raise UnknownNameError("check", check, CHECKS)
        seen = survey(
            self.root,
            paths,
            partial(_probe, check=check),
            kind="videos",
            depth=CHECKS.index(check),
            on_defect=on_defect,
            workers=workers,
            on_progress=on_progress,
            unfit=lambda _, found: unfit(found["frames"], found["rate"]),
        )
        self.names, self.left_out = list(seen.found), dict(seen.left_out)
        self._videos = [ProbedVideo.from_json(found) for found in seen.found.values()]
        self._stamps = [seen.stamps[name] for name in self.names]
        self.lengths = np.array([video.frames for video in self._videos], np.int64)
        self.rates = np.array([video.rate for video in self._videos], np.float64)
        self.notes = {
            name: f"players turn it by {video.rotation} degrees; frames are taken as stored"
            for name, video in zip(self.names, self._videos, strict=True)
            if video.rotation
        }

    def __len__(self) -> int:
        return len(self.names)

    def read(
        self, video: int, rows: Int64[np.ndarray, " n"]
    ) -> UInt8[np.ndarray, "n height width 3"]:
        """Return frames of a video by their numbers in it.

        Raises:
            DatasetError: The video cannot be decoded there, changes its size between these frames,
                or is not the file that was looked into; the message names file and frame.
        """
        path = self.root / self.names[video]
        _require_unchanged(path, self._stamps[video])
        times = self._videos[video].times(path)
        return read_frames_at(path, rows, times=times, max_side=self.max_side)


class ImageFolder:
    """The images below a folder as videos of one frame; see `types.Videos`.

    Each is decoded once to see that it can be; what was found is remembered.

    Attributes:
        root: The folder.
        names: The path of each image below it.
        lengths: 1 for each.
        rates: 0 for each.
        left_out: Why images are left out, by name.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        on_defect: str = "refuse",
        max_side: int | None = None,
        workers: int | None = None,
        on_progress: Progress = ignore,
    ) -> None:
        """Find images, and look into those that are not known yet.

        Args:
            root: The folder.
            on_defect: `refuse` raises if an image cannot be decoded; `skip` leaves it out.
            max_side: Images whose shorter side is longer are scaled down to it [px].
            workers: Threads that look into images; by default one a core.
            on_progress: Called with the number of images looked into, and of all.

        Raises:
            DatasetError: There is no image, or none that can be used, or one cannot be and that is
                refused; the message lists some.
            UnknownNameError: There is no such way with defects.
        """
        self.root, self.max_side = Path(root), max_side
        seen = survey(
            self.root,
            _find(self.root, IMAGE_SUFFIXES, "image"),
            check_picture,
            kind="images",
            on_defect=on_defect,
            workers=workers,
            on_progress=on_progress,
        )
        self.names, self.left_out = list(seen.found), dict(seen.left_out)
        self.lengths: Int64[np.ndarray, " images"] = np.ones(len(self.names), np.int64)
        self.rates: Float64[np.ndarray, " images"] = np.zeros(len(self.names))

    def __len__(self) -> int:
        return len(self.names)

    def read(
        self, video: int, rows: Int64[np.ndarray, " n"]
    ) -> UInt8[np.ndarray, "n height width 3"]:
        """Return an image as often as it is asked for.

        Raises:
            DatasetError: It cannot be decoded, or another frame than 0 is asked for.
        """
        path = self.root / self.names[video]
        if not len(rows) or rows.any():
            raise DatasetError(f"{path}: frames {rows.tolist()} were asked for, but there is one.")
        return np.repeat(read_picture(path, self.max_side)[None], len(rows), axis=0)


def _probe(path: Path, check: str) -> Mapping[str, Any]:
    return probe_video(path, check).as_json()


def _find(root: Path, suffixes: tuple[str, ...], what: str) -> list[str]:
    if not root.is_dir():
        raise DatasetError(f"{root}: expected a folder of {what}s, found none.")
    paths = find_files(root, suffixes)
    if not paths:
        raise DatasetError(f"{root}: no {what} anywhere below it ({', '.join(suffixes)}).")
    return paths


def _require_unchanged(path: Path, stamp: tuple[int, int]) -> None:
    try:
        about = path.stat()
    except OSError as error:
        raise DatasetError(
            f"{path}: {error.strerror}, though it was there at the start."
        ) from error
    if (about.st_size, about.st_mtime_ns) != stamp:
        raise DatasetError(f"{path}: the file has changed since it was opened; start again.")
