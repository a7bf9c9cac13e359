"""Where things lie in DROID's raw layout, whoever recorded them.

<lab>/<success|failure>/<date>/<time>/
metadata_*.json    trajectory.h5    recordings/MP4/<serial>.mp4
vjg/               only in episodes of this package, see `droid`
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vjepa_gym.errors import DatasetError

CAMERAS = ("left", "right", "wrist")
"""What DROID calls its three views."""
SIDECAR = "vjg"


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
    """Return every folder below `root` that has a `trajectory.h5`, sorted."""
    return sorted(path.parent for path in root.rglob("trajectory.h5"))


def open_folder(path: Path) -> DroidFolder:
    """Return what lies in an episode's folder; neither rows nor videos are read.

    Raises:
        DatasetError: The description is missing, there are several, or it is not one.
    """
    descriptions = sorted(path.glob("*.json"))
    if len(descriptions) != 1:
        raise DatasetError(
            f"{path}: expected exactly one metadata_*.json, found {len(descriptions)}."
        )
    metadata = _read_json(descriptions[0])
    videos = {name: metadata.get(f"{name}_mp4_path") for name in CAMERAS}
    serials = {name: Path(video).stem for name, video in videos.items() if isinstance(video, str)}
    sidecar = path / SIDECAR / "episode.json"
    return DroidFolder(
        path=path,
        metadata=metadata,
        serials=serials,
        sidecar=_read_json(sidecar) if sidecar.is_file() else None,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: expected whole JSON, but {error}.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected an object, found {type(content).__name__}.")
    return content
