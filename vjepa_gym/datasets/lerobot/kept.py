"""What LeRobot's format has no place for, kept beside it in a folder that LeRobot never looks at.

    vjg/episode_000000/episode.json    number, seed, policy, header, views, `Episode.info`
    vjg/episode_000000/arrays.npz      commands and durations to the last bit, calibration, extras

The rows of the dataset remain the truth: what is kept only says exactly what they say roundly, and
what they do not say. Without the folder a dataset is read as anybody's.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from vjepa_gym.datasets.droid.sidecar import write_json
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Episode

FORMAT = "vjepa_gym lerobot 1"
DAMAGED = (OSError, ValueError, EOFError, BadZipFile, zlib.error, RuntimeError)
"""What NumPy and zipfile raise for an archive with wrong bytes."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What was kept of one episode.

    Attributes:
        index: Its number in the dataset it came from; None where episodes had none.
        header: What its videos said of their rate, one of `droid.HEADERS`.
        views: LeRobot's name of each camera's view.
        values: `seed`, `policy`, `record_hz` and `info`, as in `Episode`.
        commands: As in `Episode`.
        step_seconds: As in `Episode`.
        cameras: As in `Episode`.
        extras: As in `Episode`.
    """

    index: int | None
    header: str
    views: Mapping[str, str]
    values: Mapping[str, Any]
    commands: np.ndarray
    step_seconds: np.ndarray
    cameras: Mapping[str, Mapping[str, np.ndarray]]
    extras: Mapping[str, np.ndarray]


def folder_of(root: Path, number: int) -> Path:
    """Return where what is kept of an episode lies."""
    return root / f"vjg/episode_{number:06d}"


def write_kept(
    folder: Path, episode: Episode, *, index: int | None, header: str, views: Mapping[str, str]
) -> None:
    """Keep what only `episode` says.

    Raises:
        DatasetError: `episode.info` is not JSON.
    """
    folder.mkdir(parents=True)
    content = {
        "format": FORMAT,
        "index": index,
        "header": header,
        "views": dict(views),
        "seed": episode.seed,
        "policy": episode.policy,
        "record_hz": episode.record_hz,
        "info": dict(episode.info),
    }
    write_json(folder / "episode.json", content)
    arrays = {
        "commands": episode.commands,
        "step_seconds": episode.step_seconds,
        **{
            f"cameras/{name}/{kind}": array
            for name in views
            for kind, array in episode.cameras[name].items()
        },
        **{f"extras/{name}": array for name, array in episode.extras.items()},
    }
    np.savez_compressed(folder / "arrays.npz", **arrays)


def read_kept(folder: Path) -> Kept | None:
    """Return what was kept; None if nothing was.

    Raises:
        DatasetError: A file is damaged.
    """
    path = folder / "episode.json"
    if not path.is_file():
        return None
    arrays = _read_arrays(folder / "arrays.npz")
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r} rather than {FORMAT!r}")
        cameras: dict[str, dict[str, np.ndarray]] = {name: {} for name in content["views"]}
        extras: dict[str, np.ndarray] = {}
        for key, array in arrays.items():
            kind, _, name = key.partition("/")
            if kind == "cameras":
                camera, _, name = name.partition("/")
                cameras[camera][name] = array
            elif kind == "extras":
                extras[name] = array
        return Kept(
            **{name: content[name] for name in ("index", "header", "views")},
            values={name: content[name] for name in ("seed", "policy", "record_hz", "info")},
            commands=arrays["commands"],
            step_seconds=arrays["step_seconds"],
            cameras=cameras,
            extras=extras,
        )
    except KeyError as error:
        raise DatasetError(f"{path}: lacks {error}.") from error
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}: expected what was kept of an episode, but {error}.") from error


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except DAMAGED as error:
        raise DatasetError(f"{path}: expected a whole archive of arrays, but {error}.") from error
