"""Where robosuite's MJCF files lie; nothing of robosuite is imported."""

import importlib.util
from pathlib import Path

from vjepa_gym.errors import VJEPAGymError


def assets() -> Path:
    """Return the folder of robosuite's MJCF files.

    Raises:
        VJEPAGymError: robosuite is not installed.
    """
    found = importlib.util.find_spec("robosuite")
    if found is None or found.origin is None:
        raise VJEPAGymError(
            "The scene is composed from robosuite's models, and robosuite is not installed: "
            "pip install robosuite==1.5.2"
        )
    return Path(found.origin).parent / "models" / "assets"
