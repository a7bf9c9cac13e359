"""Whether decoded frames fit on the disk, and how to keep them if they do not."""

import logging
import shutil
from pathlib import Path

from vjepa_gym.errors import DatasetError

PACKINGS = ("raw", "jpeg", "auto")
USABLE = 0.95
"""Part of what is free that a cache may take."""

logger = logging.getLogger(__name__)


def choose_packing(packing: str, where: Path, *, raw: int, jpeg: int) -> str:
    """Return `raw` or `jpeg`: what was asked for, or what fits.

    Args:
        packing: One of `PACKINGS`.
        where: An existing folder on the file system that is written to.
        raw: What pixels need [bytes].
        jpeg: What JPEG needs, about [bytes].

    Raises:
        DatasetError: There is too little room.
    """
    free = shutil.disk_usage(where).free
    needed = {"raw": raw, "jpeg": jpeg}
    if packing == "auto":
        packing = "raw" if raw <= USABLE * free else "jpeg"
        if packing == "jpeg" and jpeg <= USABLE * free:
            logger.warning(
                "%s: frames would need %d bytes, and %d are free; they are kept as JPEG, which "
                "needs about %d and is slower to read.",
                *(where, raw, free, jpeg),
            )
    if needed[packing] <= USABLE * free:
        return packing
    about, other = "about ", ""
    if packing == "raw":
        about, other = "", f", or packing='jpeg', which needs about {jpeg} bytes"
    raise DatasetError(
        f"{where}: decoded frames need {about}{needed[packing]} bytes, and {free} are free, of "
        f"which they may take {USABLE:.0%}. Make room, or take a smaller size, a larger stride, "
        f"fewer views{other}."
    )
