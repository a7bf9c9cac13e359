"""Where robosuite's MJCF files lie; nothing of robosuite is imported."""

import importlib.metadata
import importlib.util
from pathlib import Path

from vjepa_gym.errors import VJEPAGymError

VERSION = "1.5.2"
"""Of robosuite, that scenes are composed from where it is installed as this package asks."""


def version() -> str:
    """Return which robosuite scenes are composed from.

    Where none is installed, scenes that were composed elsewhere are found under their names.
    """
    try:
        return importlib.metadata.version("robosuite")
    except importlib.metadata.PackageNotFoundError:
        return VERSION


def assets() -> Path:
    """Return the folder of robosuite's MJCF files.

    Raises:
        VJEPAGymError: robosuite is not installed.
    """
    found = importlib.util.find_spec("robosuite")
    if found is None or found.origin is None:
        raise VJEPAGymError(
            "The scene is composed from robosuite's models, and robosuite is not installed: "
            f"pip install robosuite=={VERSION}"
        )
    return Path(found.origin).parent / "models" / "assets"
