"""Collections by name: what `vjepa-gym collect job.preset=small` sets."""

from collections.abc import Callable, Mapping
from typing import Any


def _droid_like(episodes: int, variation: str) -> dict[str, Any]:
    """Return settings with DROID's three views at the 16:9 of its cameras."""
    return {
        "episodes": episodes,
        "steps": 24,
        "cameras": ["left", "right", "wrist"],
        "image_size": [180, 320],
        "variation": variation,
    }


def tiny() -> dict[str, Any]:
    """To try things out: a minute or two."""
    return _droid_like(8, "none")


def small() -> dict[str, Any]:
    """To debug a training: the camera's azimuth and the light differ between episodes."""
    return _droid_like(500, "narrow")


def medium() -> dict[str, Any]:
    """To train: colours, textures, the camera's height and field of view, and distractors too."""
    return _droid_like(5000, "wide")


COLLECTIONS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "tiny": tiny,
    "small": small,
    "medium": medium,
}
