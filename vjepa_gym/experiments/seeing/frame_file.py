"""Frames with poses in one file, as V-JEPA 2's example of a Franka has them; read without pickle.

    observations  uint8 [frames height width 3]      states  float [frames 7]

Both may have an axis of episodes in front.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from vjepa_gym.errors import DatasetError

IMAGES, POSES = "observations", "states"
FORM = (
    f"expected an .npz archive with `{IMAGES}`, uint8 [frames height width 3], and `{POSES}`, float"
    " [frames 7] (x y z [m], roll pitch yaw [rad], closedness), of two frames or more; both may"
    " have an axis of episodes in front"
)


def read_frame_file(
    path: Path,
) -> tuple[
    UInt8[np.ndarray, "episodes frames height width 3"], Float32[np.ndarray, "episodes frames 7"]
]:
    """Return frames, and where the hand was at each.

    Raises:
        DatasetError: There is no such file, or it is not of this form.
    """
    images, poses = _read_arrays(path)
    told = (
        f"{IMAGES} {images.dtype} {list(images.shape)}, {POSES} {poses.dtype} {list(poses.shape)}"
    )
    if images.ndim == 4 and poses.ndim == 2:
        images, poses = images[None], poses[None]
    of_this_form = (
        images.dtype == np.uint8
        and np.issubdtype(poses.dtype, np.floating)
        and images.ndim == 5
        and images.size
        and images.shape[1] > 1
        and images.shape[4] == 3
        and poses.shape == (*images.shape[:2], 7)
    )
    if not of_this_form:
        raise DatasetError(f"{path}: has {told}; {FORM}.")
    if not np.isfinite(poses).all():
        wrong = int((~np.isfinite(poses)).sum())
        raise DatasetError(
            f"{path}: {wrong} numbers of its {POSES} are not finite; the pose must be known at"
            " every frame."
        )
    return images, poses.astype(np.float32)


def _read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise DatasetError(f"{path}: not found, or no file; {FORM}.")
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise DatasetError(f"{path}: no such archive, or a damaged one; {FORM}.")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                missing = [name for name in (IMAGES, POSES) if name not in archive.files]
                if missing:
                    there = ", ".join(sorted(archive.files)) or "nothing"
                    raise DatasetError(f"{path}: has {there}, but no `{missing[0]}`; {FORM}.")
                return archive[IMAGES], archive[POSES]
    # What zipfile cannot read, such as an encrypted archive, is a RuntimeError.
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise DatasetError(
                f"{path}: holds pickled objects, which are not read. Frames of different sizes are"
                f" kept as such: scale them to one size; {FORM}."
            ) from error
        raise DatasetError(f"{path}: cannot be read ({error}); {FORM}.") from error
