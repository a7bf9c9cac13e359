"""Variations by name."""

from collections.abc import Mapping
from typing import Any

RANDOM = "random"
"""Instead of a value: one is drawn for each episode."""
CAMERA = ("camera_azimuth", "camera_height", "camera_fovy")
NARROW = ("camera_azimuth", "light_brightness", "light_azimuth")
WIDE = (
    *NARROW,
    "camera_height",
    "camera_fovy",
    "table_colour",
    "wall_colour",
    "table_texture",
    "cup_colour",
    "box_colour",
    "distractors",
)
ANYWHERE = {
    "camera_azimuth": (80.0, 155.0),
    "camera_height": (0.5, 1.05),
    "camera_fovy": (32.0, 44.0),
}
PRESETS: dict[str, Mapping[str, Any]] = {
    "none": {},
    "camera": dict.fromkeys(CAMERA, RANDOM),
    "narrow": dict.fromkeys(NARROW, RANDOM),
    "wide": dict.fromkeys(WIDE, RANDOM),
    "roaming": dict.fromkeys(WIDE, RANDOM) | ANYWHERE,
}
"""Which factors of `envs.factors` are random in each; a pair is what they are drawn between.
`roaming` is `wide` with a camera that stands anywhere in front of the robot, on its left."""
