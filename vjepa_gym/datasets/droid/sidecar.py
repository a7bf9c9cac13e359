"""The folder `vjg` of an episode: what DROID has no place for, and a digest of every file.

vjg/episode.json    seed, policy, exact times, calibration, ...
vjg/sim_state.npz   arrays with one row an observation
vjg/SHA256SUMS      as `sha256sum` writes it
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from vjepa_gym.datasets.droid.descriptions import check_types, is_a, read_json, shown
from vjepa_gym.datasets.droid.kinds import Defect, DefectError, defect, require
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Episode

FORMAT = "vjepa_gym episode 2"
FORMATS = (FORMAT, "vjepa_gym episode 1")
"""What can be read; the first lacks nothing, the second knew settled moves only."""
SIDECAR = "vjg"
EXPECTED = {
    "format": str,
    "index": int,
    "seed": int,
    "policy": str,
    "task": str,
    "success": bool,
    "rows": int,
    "step_seconds": list,
    "cameras": dict,
    "info": dict,
}
LARGEST_EXTRAS = 1 << 33
"""What the arrays of an episode may take together [bytes]."""


def write_sidecar(
    folder: Path, episode: Episode, index: int, serials: Mapping[str, str], rate: Fraction
) -> None:
    """Write the folder `vjg` of an episode all other files of which are there.

    Args:
        folder: The episode's folder.
        episode: What happened.
        index: Its number in the dataset.
        serials: The serial number of each of its cameras.
        rate: What its videos say [frames a second].

    Raises:
        DatasetError: Something in `episode.info` is no JSON value.
    """
    vjg = folder / SIDECAR
    vjg.mkdir()
    content = {
        "format": FORMAT,
        "index": index,
        "seed": episode.seed,
        "policy": episode.policy,
        "task": episode.task,
        "success": episode.success,
        "rows": len(episode.poses),
        "step_seconds": episode.step_seconds.tolist(),
        "record_hz": episode.record_hz,
        "header_fps": f"{rate.numerator}/{rate.denominator}",
        "cameras": dict(serials),
        "calibration": {name: _calibration(episode.cameras[name]) for name in serials},
        "pixels_sha256": {
            name: hashlib.sha256(episode.images[name].tobytes()).hexdigest() for name in serials
        },
        "info": dict(episode.info),
    }
    write_json(vjg / "episode.json", content)
    np.savez_compressed(vjg / "sim_state.npz", **dict(episode.extras))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{_digest(path)}  {path.relative_to(folder)}\n" for path in files]
    (vjg / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def _calibration(camera: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The pinhole itself, for whoever reads JSON only; and what has one value a row."""
    return {
        "intrinsics": camera["intrinsics"].tolist() if "intrinsics" in camera else None,
        "a_row": [kind for kind, rank in RANKS.items() if np.ndim(camera.get(kind, 0)) == rank + 1],
    }


RANKS = {"extrinsics": 1, "intrinsics": 2}


def check_sidecar(path: Path, content: Mapping[str, Any]) -> list[Defect]:
    """Return what is wrong with the contents of a `vjg/episode.json`."""
    if content.get("format") not in FORMATS:
        return [defect("description", path, f"expected the format {FORMAT!r}")]
    expected = EXPECTED | ({"calibration": dict} if content["format"] == FORMAT else {})
    if defects := check_types(path, content, expected):
        return defects
    steps, rate = content["step_seconds"], content.get("record_hz")
    if not all(is_a(step, float) for step in steps):
        defects.append(defect("wrong_type", path, "expected finite numbers as step_seconds"))
    if len(steps) + 1 != content["rows"]:
        said = f"expected {content['rows'] - 1} step_seconds, one fewer than rows"
        defects.append(defect("wrong_shape", path, f"{said}, found {len(steps)}"))
    if not all(isinstance(serial, str) for serial in content["cameras"].values()):
        defects.append(defect("wrong_type", path, "expected text as the serials of cameras"))
    for name, camera in content.get("calibration", {}).items():
        if not isinstance(camera, dict) or not isinstance(camera.get("a_row"), list):
            said = f"expected which calibration of {name} has a value a row, found {shown(camera)}"
            defects.append(defect("wrong_type", path, said))
    if rate is not None and not (is_a(rate, float) and rate > 0):
        defects.append(defect("wrong_type", path, "expected a positive number as record_hz"))
    return defects


def read_sidecar(folder: Path) -> dict[str, Any]:
    """Return the contents of `vjg/episode.json`.

    Raises:
        DatasetError: It is missing, truncated or foreign.
    """
    path = folder / SIDECAR / "episode.json"
    if not path.exists():
        raise DatasetError(f"{path}: not found; {folder} is not an episode of this package.")
    content = require(*read_json(path))
    require(content, check_sidecar(path, content))
    return content


def read_extras(folder: Path, rows: int) -> tuple[dict[str, np.ndarray] | None, list[Defect]]:
    """Return the arrays of `vjg/sim_state.npz`, or what is wrong with them."""
    path = folder / SIDECAR / "sim_state.npz"
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            claimed = sum(entry.file_size for entry in archive.zip.infolist())
            if claimed > LARGEST_EXTRAS:
                return None, [defect("wrong_shape", path, f"{claimed} bytes are no episode's")]
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        return None, [defect("missing_file", path, "not found")]
    except DAMAGED_ARCHIVE as error:
        return None, [defect("description", path, f"expected a whole archive, but {error}")]
    wrong = [name for name, array in arrays.items() if array.shape[:1] != (rows,)]
    return arrays, [
        defect("wrong_shape", path, f"{name} has not {rows} rows but {arrays[name].shape}")
        for name in wrong
    ]


DAMAGED_ARCHIVE = (
    *(OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError),
    *(BadZipFile, zlib.error),
)


def verify(folder: Path) -> str:
    """Check every file against `vjg/SHA256SUMS` and return a digest of what the episode holds.

    The videos count by the pixels that went into them (`vjg/episode.json` has their digests):
    another encoder makes other bytes of the same pixels.

    Raises:
        DatasetError: A file is missing or changed; the message names it.
    """
    sums = require(*read_sums(folder))
    for one in check_files(folder, sums, sums):
        raise DefectError(one)
    lines = [f"{digest}  {name}" for name, digest in sums.items() if not name.endswith(".mp4")]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_sums(folder: Path) -> tuple[dict[str, str] | None, list[Defect]]:
    """Return the digest of each file of an episode, by its path relative to the folder."""
    path = folder / SIDECAR / "SHA256SUMS"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        said = f"not found; {folder} is not a whole episode of this package"
        return None, [defect("missing_file", path, said)]
    except (OSError, ValueError) as error:
        return None, [defect("checksum", path, f"expected digests and names, but {error}")]
    pairs = [line.partition("  ") for line in lines]
    return {name: digest for digest, _, name in pairs}, []


def check_files(folder: Path, sums: Mapping[str, str], names: Iterable[str]) -> list[Defect]:
    """Return which files are missing or not what was written."""
    defects = []
    for name in names:
        path = folder / name
        try:
            if name not in sums:
                said = "not listed in vjg/SHA256SUMS, or that was changed since it was written"
            elif _digest(path) != sums[name]:
                said = "changed or truncated since it was written"
            else:
                continue
            defects.append(defect("checksum", path, said))
        except FileNotFoundError:
            defects.append(defect("missing_file", path, "missing, though listed in SHA256SUMS"))
        except (OSError, ValueError) as error:
            defects.append(defect("checksum", path, f"expected a file, but {error}"))
    return defects


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object.

    Raises:
        DatasetError: Something in it is no JSON value.
    """
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{path.name}: only finite JSON values can be kept, but {error}."
        ) from error
    path.write_text(text + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
