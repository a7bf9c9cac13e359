"""What may differ from one episode to the next: a space, one factor an entry.

Each factor has a nominal value, a range of what is possible and a narrower one of what `"random"`
draws from, so that one factor can be swept while the others stand still:
`reset(options={"variation": {"camera_azimuth": 140}})`. A pair, such as `(100, 140)`, has a value
drawn from between the two.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from gymnasium.spaces import Box

from vjepa_gym.envs.factors import COLOURED, factors, variation_space
from vjepa_gym.envs.placement import Placement
from vjepa_gym.envs.presets import PRESETS, RANDOM
from vjepa_gym.envs.task import Task
from vjepa_gym.errors import UnknownNameError, VariationError
from vjepa_gym.sim.cameras import CameraPose
from vjepa_gym.sim.labs import TABLE_TEXTURES, Lab
from vjepa_gym.sim.objects import OBJECT_SETS
from vjepa_gym.sim.shapes import Prop
from vjepa_gym.sim.world import World

Choice: TypeAlias = Mapping[str, Any]
"""Values by factor; `"random"` has one drawn, and so has a pair, from between the two; a word
stands for its place in the list of names."""

DRAWN = ("object_start", "arm_start", "goal")
"""Factors that the task draws unless they are given."""


class Variation:
    """The factors of one lab, of which some were chosen."""

    def __init__(self, lab: Lab, chosen: Choice | str | None = None) -> None:
        """Choose values that hold for all episodes.

        Args:
            lab: Where.
            chosen: Values by factor, or the name of one of `PRESETS`.

        Raises:
            UnknownNameError: There is no such factor or preset.
            VariationError: A value is impossible.
        """
        self.factors = factors(lab)
        self.space = variation_space(lab)
        self._chosen = self._check(chosen)

    def draw(self, seed: int, chosen: Choice | str | None = None) -> dict[str, Any]:
        """Return a value for each factor but those that the task draws.

        Args:
            seed: What is drawn for one factor is a function of it and of the factor alone.
            chosen: Values for this episode; they go before those given at the beginning.
        """
        merged = {**self._chosen, **self._check(chosen)}
        drawn = {}
        for i, (name, factor) in enumerate(self.factors.items()):
            value = merged.get(name, factor.nominal)
            if isinstance(value, str) and name in DRAWN:
                value = None
            if isinstance(value, str | Box):
                within = value if isinstance(value, Box) else None
                value = factor.draw(np.random.default_rng([seed, i]), within)
            if value is not None:
                drawn[name] = value
        return drawn

    def _check(self, chosen: Choice | str | None) -> dict[str, Any]:
        if isinstance(chosen, str):
            if chosen not in PRESETS:
                raise UnknownNameError("variation", chosen, PRESETS)
            chosen = PRESETS[chosen]
        if chosen is not None and not isinstance(chosen, Mapping):
            raise VariationError(
                f"A variation is a dictionary of values by factor, or one of {', '.join(PRESETS)}; "
                f"got {chosen!r}."
            )
        checked = {}
        for name, value in (chosen or {}).items():
            if name not in self.factors:
                raise UnknownNameError("factor of variation", name, self.factors)
            if isinstance(value, str) and value == RANDOM:
                checked[name] = value
            elif (within := self.factors[name].range(name, value)) is not None:
                checked[name] = within
            else:
                checked[name] = self.factors[name].check(name, value)
        return checked


def apply(world: World, drawn: Mapping[str, Any]) -> None:
    """Make a lab look as drawn; where things stand is the task's affair, see `placement`."""
    world.configure(
        objects=tuple(OBJECT_SETS)[drawn["object_set"]], distractors=int(drawn["distractors"])
    )
    pose = replace(
        world.camera("left"),
        azimuth=float(drawn["camera_azimuth"]),
        fovy=float(drawn["camera_fovy"]),
    )
    world.set_camera("left", _raised(pose, float(drawn["camera_height"])))
    world.set_light(float(drawn["light_brightness"]), float(drawn["light_azimuth"]))
    world.set_table_texture(TABLE_TEXTURES[drawn["table_texture"]])
    for part in COLOURED:
        if f"{part}_colour" in drawn:
            world.set_colour(part, drawn[f"{part}_colour"])


def placement(drawn: Mapping[str, Any]) -> Placement:
    """Return where things are to stand, as far as that was said."""
    return Placement(**{name: drawn.get(name) for name in DRAWN})


def recorded(drawn: Mapping[str, Any], world: World, task: Task) -> dict[str, Any]:
    """Return a value for every factor: what was drawn, and what the lab and the task decided.

    The same seed and all of it but `DRAWN` bring about the same episode again; `DRAWN` with another
    seed, the same places of hand, object and goal among other surroundings.
    """
    x, y = world.object_pose(task.target or "cup")[:2]
    w, *_, z = world.object_pose(task.target or "cup")[3:]
    found = {
        "table_colour": world.lab.table_rgb,
        "floor_colour": world.lab.floor_rgb,
        "wall_colour": world.lab.wall_rgb,
        "cup_colour": _colour(world.objects["cup"]),
        "box_colour": _colour(world.objects["box"]),
        "arm_start": world.arm.tool,
        "object_start": (x, y, 2 * np.arctan2(z, w)),
        "goal": task.desired_goal(world),
    }
    # What is handed out may be changed by whom it was given to.
    return {name: np.array(value, np.float32) for name, value in found.items()} | {
        name: np.array(value) if isinstance(value, np.ndarray) else value
        for name, value in drawn.items()
    }


def _colour(shape: Prop) -> Any:
    # A shape of somebody's own need not say.
    return getattr(shape, "rgba", (0.5, 0.5, 0.5, 1.0))[:3]


def _raised(pose: CameraPose, height: float) -> CameraPose:
    """Return the camera at another height [m], as far away along the table as before."""
    away = pose.distance * np.cos(np.radians(pose.elevation))
    up = height - pose.target[2]
    return replace(
        pose,
        elevation=float(np.degrees(np.arctan2(up, away))),
        distance=float(np.hypot(up, away)),
    )
