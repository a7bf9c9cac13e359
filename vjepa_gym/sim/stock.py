"""Importing robosuite's Python, which only comparisons need, without what it says and changes."""

import importlib
import logging
import os
from typing import Any

from vjepa_gym.errors import VJEPAGymError


def import_robosuite(module: str = "robosuite") -> Any:
    """Return a module of robosuite: its notices are kept back, `MUJOCO_GL` stays as it was.

    Raises:
        VJEPAGymError: robosuite, or something that it needs, is not installed.
    """
    drawing, silenced = os.environ.get("MUJOCO_GL"), logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise VJEPAGymError(
            f"robosuite cannot be imported ({error}): pip install robosuite==1.5.2"
        ) from error
    finally:
        logging.disable(silenced)
        os.environ.pop("MUJOCO_GL", None)
        if drawing is not None:
            os.environ["MUJOCO_GL"] = drawing
    logging.getLogger("robosuite_logs").setLevel(logging.ERROR)
    return found
