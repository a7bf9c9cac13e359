"""Where things lie in DROID's raw layout, whoever recorded them.

<lab>/<success|failure>/<date>/<time>/
metadata_*.json    trajectory.h5    recordings/MP4/<serial>.mp4
vjg/               only in episodes of this package, see `sidecar`
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vjepa_gym.datasets.droid.descriptions import check_types, read_json, shown
from vjepa_gym.datasets.droid.kinds import Defect, defect, require
from vjepa_gym.datasets.droid.sidecar import SIDECAR, check_sidecar
from vjepa_gym.errors import DatasetError

CAMERAS = ("left", "right", "wrist")
"""What DROID calls its three views."""
TELLING = ("trajectory.h5", "metadata_*.json")
"""A folder with either is meant to be an episode."""
VIDEO_PATH = re.compile(r"(?:.*/)?recordings/MP4/([^./\s]+)\.mp4")
"""Public loaders cut a serial number with a dot off there."""


@dataclass(frozen=True, kw_only=True)
class DroidFolder:
    """One episode on disk.

    Attributes:
        path: Its folder.
        metadata: What `metadata_*.json` says.
        serials: The serial number of each camera that there is, by its name among `CAMERAS`.
        sidecar: What `vjg/episode.json` says; None where others recorded.
    """

    path: Path
    metadata: Mapping[str, Any]
    serials: Mapping[str, str]
    sidecar: Mapping[str, Any] | None

    @property
    def trajectory(self) -> Path:
        """The rows."""
        return self.path / "trajectory.h5"

    def video(self, camera: str) -> Path:
        """Return the video of a camera.

        Raises:
            DatasetError: There is no such camera.
        """
        if camera not in self.serials:
            raise DatasetError(
                f"{self.path}: no camera {camera!r}, only {', '.join(self.serials)}."
            )
        return self.path / f"recordings/MP4/{self.serials[camera]}.mp4"


def find_folders(root: Path) -> list[Path]:
    """Return every folder below `root` that is meant to be an episode, sorted.

    One of its description and its rows tells, so that an episode that lost the other is not missed.
    """
    return sorted({path.parent for name in TELLING for path in root.rglob(name)})


def open_folder(path: Path) -> DroidFolder:
    """Return what lies in an episode's folder; neither rows nor videos are read.

    Raises:
        DatasetError: The description is missing, there are several, or it is not one.
    """
    return require(*describe(path))


def describe(path: Path) -> tuple[DroidFolder | None, list[Defect]]:
    """Return what lies in an episode's folder, if it can be told, and what is wrong with that."""
    files = sorted(path.glob("*.json"))
    if len(files) != 1:
        kind = "several_descriptions" if files else "missing_file"
        found = ", ".join(file.name for file in files) or "none"
        return None, [defect(kind, path, f"expected exactly one metadata_*.json, found {found}")]
    metadata, defects = read_json(files[0])
    sidecar, of_sidecar = None, []
    if (path / SIDECAR).exists():
        sidecar, of_sidecar = read_json(path / SIDECAR / "episode.json")
        if sidecar is not None:
            of_sidecar = check_sidecar(path / SIDECAR / "episode.json", sidecar)
    if metadata is None:
        return None, defects + of_sidecar
    serials, of_views = _serials(files[0], metadata)
    defects = of_views + _check_metadata(files[0], metadata) + of_sidecar
    if of_sidecar or not serials:
        return None, defects
    folder = DroidFolder(path=path, metadata=metadata, serials=serials, sidecar=sidecar)
    return folder, defects


def _serials(path: Path, metadata: Mapping[str, Any]) -> tuple[dict[str, str], list[Defect]]:
    serials: dict[str, str] = {}
    defects = []
    for name in CAMERAS:
        key = f"{name}_mp4_path"
        video = metadata.get(key)
        if video is None:
            said = f"no {key}; public loaders that are asked for this view try for ever"
            defects.append(defect("missing_view", path, said))
        elif not isinstance(video, str):
            said = f"expected text as {key}, found {shown(video)}"
            defects.append(defect("wrong_type", path, said))
        elif match := VIDEO_PATH.fullmatch(video):
            serials[name] = match[1]
        else:
            said = f"expected .../recordings/MP4/<serial>.mp4 as {key}, found {shown(video)}"
            defects.append(defect("description", path, said))
    if len(defects) == len(CAMERAS):
        views = ", ".join(f"{name}_mp4_path" for name in CAMERAS)
        defects.append(defect("missing_key", path, f"expected at least one of {views}"))
    return serials, defects


def _check_metadata(path: Path, metadata: Mapping[str, Any]) -> list[Defect]:
    defects = check_types(path, metadata, {"success": bool})
    if metadata.get("current_task") is not None:
        defects += check_types(path, metadata, {"current_task": str})
    defects += [
        defect("null_value", path, f"{shown(key)} is null, which DROID's own validator refuses")
        for key, value in metadata.items()
        if value is None
    ]
    told = {"success": True, "failure": False}.get(path.absolute().parent.parent.parent.name)
    if told is not None and metadata.get("success") is (not told):
        said = (
            f"success is {not told}, but the folder lies below {'success' if told else 'failure'}"
        )
        defects.append(defect("outcome", path, said))
    return defects
