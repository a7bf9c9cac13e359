"""One episode as a folder in DROID's raw layout, plus a folder `vjg` for what DROID lacks.

    SIM/success/2026-01-01/Thu_Jan__1_00:00:00_2026/
        metadata_SIM+vjepagym+2026-01-01-00h-00m-00s.json    alone: readers take the first *.json
        trajectory.h5
        recordings/MP4/<serial>.mp4
        vjg/episode.json  vjg/sim_state.npz  vjg/SHA256SUMS

Names and times derive from the episode's index, never from the clock, so that a resumed collection
equals an unbroken one. The video header says `NOMINAL_RATE`, because readers of DROID choose frames
by it; the true durations are in the timestamps and, exactly, in `vjg/episode.json`.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float32, UInt8

from vjepa_gym.datasets.trajectory import read_poses, read_trajectory, write_trajectory
from vjepa_gym.datasets.video import read_video, remux, write_video
from vjepa_gym.errors import DatasetError, UnknownNameError
from vjepa_gym.types import Episode

FORMAT = "vjepa_gym episode 1"
LAB, USER, ROBOT = "SIM", "vjepagym", "panda-simulated"
SERIALS = {"left": "90000001", "right": "90000002", "wrist": "90000003"}
"""Invented serial numbers of the cameras; the order is DROID's of `ext1` and `ext2`."""
NOMINAL_RATE = Fraction(4)
"""Control steps a second (V-JEPA 2, arXiv 2506.09985, section 3)."""
FIRST_EPISODE = datetime(2026, 1, 1, tzinfo=UTC)
DROID_NAMES = {"left": "ext1", "right": "ext2", "wrist": "wrist"}


HEADERS = ("physical", "droid60")
"""What videos say: as many frames a second as there are rows (`NOMINAL_RATE` for settled moves), or
the 60 that the released files of DROID say of 15 rows a second."""


def header_rate(episode: Episode, header: str) -> Fraction:
    """Return the frames a second that the videos of `episode` say they have.

    Raises:
        UnknownNameError: There is no such header.
        DatasetError: `droid60` belongs to 15 rows a second.
    """
    if header not in HEADERS:
        raise UnknownNameError("header", header, HEADERS)
    if header == "physical":
        rate = episode.record_hz
        return NOMINAL_RATE if rate is None else Fraction(rate).limit_denominator(1001)
    if episode.record_hz != 15:
        raise DatasetError(
            f"The header droid60 belongs to 15 rows a second, not to record_hz={episode.record_hz}."
        )
    return Fraction(60)


def start_time(index: int) -> datetime:
    """Return the time at which episode `index` is said to have begun; one minute each."""
    return FIRST_EPISODE + timedelta(minutes=index)


def relative_path(index: int, success: bool) -> Path:
    """Return where episode `index` lies below the root of its dataset."""
    time = start_time(index)
    folder = time.ctime().replace(" ", "_")
    return Path(LAB, "success" if success else "failure", f"{time:%Y-%m-%d}", folder)


def write_episode(
    folder: Path,
    episode: Episode,
    index: int,
    *,
    header: str = "physical",
    videos: Mapping[str, Path] | None = None,
) -> None:
    """Write `episode` into an existing empty folder.

    Args:
        folder: Where.
        episode: What happened.
        index: Its number in the dataset.
        header: The rate that the videos say they have, one of `HEADERS`.
        videos: Files to take as they are, by camera, rather than encode the images.

    Raises:
        DatasetError: Something in the episode has no place in the format.
    """
    _check(episode)
    rate = header_rate(episode, header)
    serials = {name: SERIALS[name] for name in SERIALS if name in episode.images}
    metadata = _metadata(episode, index, serials)
    _write_json(folder / f"metadata_{metadata['uuid']}.json", metadata)
    (folder / "recordings/MP4").mkdir(parents=True)
    for name, serial in serials.items():
        video = folder / f"recordings/MP4/{serial}.mp4"
        if videos is not None and name in videos:
            remux(videos[name], video, rate)
        else:
            write_video(video, episode.images[name], rate)
    attributes = {
        "user": USER,
        "current_task": episode.task,
        "building": LAB,
        "scene_id": "0",
        "success": episode.success,
        "failure": not episode.success,
        "robot_serial_number": ROBOT,
        "version_number": FORMAT,
        "time": start_time(index).ctime().replace(" ", "_"),
    }
    write_trajectory(folder / "trajectory.h5", episode, serials, start_time(index), attributes)
    _write_sidecar(folder / "vjg", episode, index, serials)


def read_episode(folder: Path) -> Episode:
    """Return the episode in `folder`; equal to what was written but for the video codec.

    Raises:
        DatasetError: A file is missing, truncated or not what it should be; the message names it.
    """
    sidecar = read_sidecar(folder)
    rows = len(sidecar["step_seconds"]) + 1
    arrays, cameras = read_trajectory(folder / "trajectory.h5", sidecar["cameras"])
    if len(arrays["poses"]) != rows:
        raise DatasetError(
            f"{folder / 'trajectory.h5'}: expected {rows} rows, found {len(arrays['poses'])}."
        )
    return Episode(
        **arrays,
        cameras=cameras,
        images={
            name: _read_images(folder, serial, rows) for name, serial in sidecar["cameras"].items()
        },
        step_seconds=np.array(sidecar["step_seconds"], np.float32),
        extras=_read_extras(folder / "vjg/sim_state.npz"),
        **{key: sidecar[key] for key in ("success", "task", "policy", "seed", "info")},
    )


def read_frames(
    folder: Path, camera: str
) -> tuple[UInt8[np.ndarray, "rows height width 3"], Float32[np.ndarray, "rows 7"]]:
    """Return only the video of one camera and the poses.

    Raises:
        DatasetError: A file is missing or damaged, or there is no such camera.
    """
    serials = read_sidecar(folder)["cameras"]
    if camera not in serials:
        raise DatasetError(f"{folder}: no camera {camera!r}, only {', '.join(serials)}.")
    poses = read_poses(folder / "trajectory.h5")
    return _read_images(folder, serials[camera], len(poses)), poses


def read_sidecar(folder: Path) -> dict[str, Any]:
    """Return the contents of `vjg/episode.json`.

    Raises:
        DatasetError: It is missing, truncated or foreign.
    """
    path = folder / "vjg/episode.json"
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DatasetError(
            f"{path}: not found; {folder} is not an episode of this package."
        ) from None
    except ValueError as error:
        raise DatasetError(f"{path}: expected whole JSON, but {error}.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DatasetError(f"{path}: expected the format {FORMAT!r}.")
    return content


def verify(folder: Path) -> str:
    """Check every file against `vjg/SHA256SUMS` and return a digest of what the episode holds.

    The videos count by the pixels that went into them (`vjg/episode.json` has their digests):
    the same pixels are not always encoded to the same bytes.

    Raises:
        DatasetError: A file is missing or changed; the message names it.
    """
    sums = folder / "vjg/SHA256SUMS"
    if not sums.is_file():
        raise DatasetError(f"{sums}: not found; {folder} is not a whole episode of this package.")
    content = hashlib.sha256()
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        path = folder / name
        if not path.is_file():
            raise DatasetError(f"{path}: missing, though listed in {sums}.")
        if _digest(path) != digest:
            raise DatasetError(f"{path}: changed or truncated since it was written.")
        if path.suffix != ".mp4":
            content.update(line.encode())
    return content.hexdigest()


def _check(episode: Episode) -> None:
    rows = len(episode.poses)
    if unknown := set(episode.images) - set(SERIALS):
        raise DatasetError(f"Cameras {sorted(unknown)} have no place; use {', '.join(SERIALS)}.")
    for name, images in episode.images.items():
        if len(images) != rows:
            raise DatasetError(f"Camera {name!r} has {len(images)} images for {rows} poses.")
        if not {"extrinsics", "intrinsics"} <= set(episode.cameras.get(name, {})):
            raise DatasetError(f"Camera {name!r} needs its extrinsics and intrinsics.")
    for name, values in episode.extras.items():
        if len(values) != rows or values.dtype.hasobject:
            raise DatasetError(
                f"Extra {name!r} must be numbers with {rows} rows, one an observation; got "
                f"{values.dtype} {values.shape}."
            )
    for name in ("poses", "commands", "joints", "step_seconds"):
        if not np.isfinite(getattr(episode, name)).all():
            raise DatasetError(f"{name} of an episode must be finite.")


def _metadata(episode: Episode, index: int, serials: Mapping[str, str]) -> dict[str, Any]:
    """DROID's flat description; the entries of cameras that do not exist are left out."""
    time, path = start_time(index), relative_path(index, episode.success).relative_to(LAB)
    stamp = f"{time:%Y-%m-%d-%Hh-%Mm-%Ss}"
    metadata: dict[str, Any] = {
        "uuid": f"{LAB}+{USER}+{stamp}",
        "lab": LAB,
        "user": USER,
        "user_id": USER,
        "date": f"{time:%Y-%m-%d}",
        "timestamp": stamp,
        "hdf5_path": f"{path}/trajectory.h5",
        "building": LAB,
        "scene_id": 0,
        "success": episode.success,
        "robot_serial": ROBOT,
        "droid_version": "1.3",
        "current_task": episode.task,
        "trajectory_length": len(episode.poses),
    }
    for name, serial in serials.items():
        video, extrinsics = (
            f"{path}/recordings/MP4/{serial}.mp4",
            episode.cameras[name]["extrinsics"],
        )
        metadata[f"{DROID_NAMES[name]}_cam_serial"] = serial
        metadata[f"{DROID_NAMES[name]}_cam_extrinsics"] = np.atleast_2d(extrinsics)[0].tolist()
        metadata[f"{DROID_NAMES[name]}_mp4_path"] = video
        if name != "wrist":
            metadata[f"{name}_mp4_path"] = video
    return metadata


def _write_sidecar(folder: Path, episode: Episode, index: int, serials: Mapping[str, str]) -> None:
    folder.mkdir()
    content = {
        "format": FORMAT,
        "index": index,
        "seed": episode.seed,
        "policy": episode.policy,
        "task": episode.task,
        "success": episode.success,
        "rows": len(episode.poses),
        "step_seconds": episode.step_seconds.tolist(),
        "cameras": dict(serials),
        "pixels_sha256": {
            name: hashlib.sha256(episode.images[name].tobytes()).hexdigest() for name in serials
        },
        "info": dict(episode.info),
    }
    _write_json(folder / "episode.json", content)
    np.savez_compressed(folder / "sim_state.npz", **dict(episode.extras))
    files = sorted(path for path in folder.parent.rglob("*") if path.is_file())
    sums = [f"{_digest(path)}  {path.relative_to(folder.parent)}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{path.name}: only finite JSON values can be kept, but {error}."
        ) from error
    path.write_text(text + "\n", encoding="utf-8")


def _read_images(folder: Path, serial: str, rows: int) -> UInt8[np.ndarray, "rows height width 3"]:
    path = folder / f"recordings/MP4/{serial}.mp4"
    images = read_video(path)
    if len(images) != rows:
        raise DatasetError(f"{path}: expected {rows} frames, found {len(images)}.")
    return images


def _read_extras(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DatasetError(f"{path}: expected a whole archive of arrays, but {error}.") from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
