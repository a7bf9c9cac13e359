"""Everything that is wrong with an episode in DROID's raw layout, ours or anybody's, by name."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vjepa_gym.datasets.droid.kinds import KINDS, NOTES, Defect, DefectError, defect, errors
from vjepa_gym.datasets.droid.layout import CAMERAS, DroidFolder, describe
from vjepa_gym.datasets.droid.reading import Trajectory, choose, match_frames, names_of, rows_of
from vjepa_gym.datasets.droid.sidecar import check_files, read_extras, read_sums
from vjepa_gym.datasets.video.mp4 import VideoFacts, scan_video
from vjepa_gym.errors import DatasetError

__all__ = ["KINDS", "NOTES", "ClipNeeds", "Defect", "errors", "find_defects"]


@dataclass(frozen=True, kw_only=True)
class ClipNeeds:
    """What a public loader takes for one clip: V-JEPA 2's of DROID (facebookresearch/vjepa2).

    Attributes:
        frames: Of a clip.
        fps: Frames a second that the loader wants.
    """

    frames: int
    fps: float

    def __post_init__(self) -> None:
        if self.frames < 1 or not 0 < self.fps < math.inf:
            raise ValueError(f"A clip has frames, and so many a second; got {self}.")

    def rows(self, header: Fraction) -> int:
        """Return how many frames a video must have that says it has `header` a second."""
        return self.frames * math.ceil(float(header) / self.fps) + 1


def find_defects(
    folder: Path,
    *,
    loader: ClipNeeds | None = None,
    checksums: bool = False,
    cameras: Sequence[str] = CAMERAS,
    missing_frames: int = 0,
    decode: bool = True,
) -> list[Defect]:
    """Return what is wrong with an episode; nothing if it is as it should be.

    Args:
        folder: Where it lies.
        loader: A public loader, whose clips must fit into each video.
        checksums: Whether every byte is compared with `vjg/SHA256SUMS`, which only ours have.
        cameras: Whose videos and calibration matter, of those that there are.
        missing_frames: So many rows at the end may have no frame.
        decode: Whether every frame is decoded. Of ours a right checksum says as much.
    """
    there, defects = describe(folder)
    if any(character.isspace() for character in str(folder.absolute())):
        said = "a blank in the path; loaders that split lists there need it quoted"
        defects.append(defect("space_in_path", folder, said))
    if there is None:
        return defects
    try:
        chosen = choose(there, cameras)
    except DatasetError as error:
        return [*defects, Defect(kind="missing_key", detail=str(error))]
    if there.sidecar is not None:
        changed = _check_sums(there, chosen, checksums)
        defects += changed
        decode = decode and (bool(changed) or not checksums)
    trajectory, of_rows = rows_of(there, chosen)
    defects += of_rows
    videos, of_videos = _scan(there, chosen, decode)
    defects += of_videos
    if loader is not None:
        defects += _too_short(there, videos, loader)
    if trajectory is not None:
        defects += _check_together(there, trajectory, videos, missing_frames)
    return defects


def _check_sums(there: DroidFolder, cameras: Sequence[str], every_byte: bool) -> list[Defect]:
    sums, defects = read_sums(there.path)
    if sums is None:
        return defects
    unlisted = [name for name in names_of(there, cameras) if name not in sums]
    return check_files(there.path, sums, [*unlisted, *(sums if every_byte else ())])


def _scan(
    there: DroidFolder, cameras: Sequence[str], decode: bool
) -> tuple[dict[str, VideoFacts], list[Defect]]:
    found, defects = {}, []
    for name in cameras:
        try:
            found[name] = scan_video(there.video(name), decode=decode)
        except DefectError as error:
            defects.append(error.defect)
    return found, defects


def _too_short(
    there: DroidFolder, videos: Mapping[str, VideoFacts], loader: ClipNeeds
) -> list[Defect]:
    defects = []
    for name, video in videos.items():
        needed = loader.rows(video.rate) if video.rate else math.inf
        if video.frames < needed:
            said = (
                f"expected at least {needed} frames for a clip of {loader.frames} at "
                f"{loader.fps:g} a second from a header of {video.rate}, found {video.frames}"
            )
            defects.append(defect("too_short", there.video(name), said))
    return defects


def _check_together(
    there: DroidFolder,
    trajectory: Trajectory,
    videos: Mapping[str, VideoFacts],
    missing_frames: int,
) -> list[Defect]:
    """What only rows, videos and descriptions together tell."""
    rows = len(trajectory.rows.poses)
    frames = {there.video(name): video.frames for name, video in videos.items()}
    defects = match_frames(frames, rows, missing_frames)[1]
    if there.sidecar is not None:
        defects += read_extras(there.path, rows)[1]
    told = there.metadata.get("trajectory_length", rows)
    if told != rows:
        said = f"the metadata say trajectory_length={told!r}, but there are {rows} rows"
        defects.append(defect("length", there.path, said))
    for name, video in videos.items():
        centre = trajectory.rows.cameras[name].get("intrinsics", np.zeros((1, 3, 3)))[0, :2, 2]
        if (centre < 0).any() or (centre > (video.width, video.height)).any():
            said = (
                f"the optical centre of {there.serials[name]} is ({centre[0]:g}, {centre[1]:g}), "
                f"outside of its pictures of {video.width} x {video.height} px"
            )
            defects.append(defect("calibration", there.trajectory, said))
    return defects
