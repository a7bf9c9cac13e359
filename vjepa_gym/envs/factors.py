"""The menu of what may differ between episodes: each factor, its range and its nominal value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from vjepa_gym.envs.placement import REGION_HIGH, REGION_LOW, TABLE_HIGH, TABLE_LOW
from vjepa_gym.errors import VariationError
from vjepa_gym.sim.labs import TABLE_TEXTURES, Lab
from vjepa_gym.sim.objects import MOST_DISTRACTORS, OBJECT_SETS
from vjepa_gym.spaces import WORKSPACE_HIGH, WORKSPACE_LOW

BUMPS = ("none", "object", "arm")
"""What is pushed once in mid-episode."""
COLOURED = ("table", "floor", "wall", "cup", "box")
"""What has a colour of its own; nominal colours are the lab's and the objects'."""
LONGEST_EPISODE = 100
"""A bump comes before this step."""


@dataclass(frozen=True, kw_only=True)
class Factor:
    """One thing that may differ.

    Attributes:
        meaning: What it is, with its unit.
        space: All that is possible.
        usual: What `"random"` draws from.
        nominal: What holds unless something is said; None where the task draws it.
        names: What the entries of a discrete factor are called.
    """

    meaning: str
    space: Box | Discrete
    usual: Box | Discrete
    nominal: Any
    names: tuple[str, ...] = ()

    def draw(self, rng: np.random.Generator, within: Box | None = None) -> Any:
        """Return a usual value, or one within a range."""
        if isinstance(self.usual, Discrete):
            return np.int64(self.usual.start + rng.integers(self.usual.n))
        within = within or self.usual
        return np.asarray(rng.uniform(within.low, within.high), np.float32)

    def check(self, name: str, value: Any) -> Any:
        """Return `value` as an element of the space.

        Raises:
            VariationError: It is none; the message says what would be.
        """
        if isinstance(value, str) and value in self.names:
            value = self.names.index(value)
        try:
            number = np.asarray(value, self.space.dtype)
        except (TypeError, ValueError):
            number = np.asarray(np.nan)
        exact = isinstance(self.space, Box) or np.array_equal(number, np.asarray(value))
        if isinstance(self.space, Discrete) and number.ndim == 0 and exact:
            number = np.int64(number)
        if not exact or not self.space.contains(number):
            raise VariationError(
                f"{name} is {self.meaning}: {self._valid()}, two of these for a range, or"
                f" 'random'; got {value!r}."
            )
        return number

    def range(self, name: str, value: Any) -> Box | None:
        """Return what lies between two values of a number, or of several; None for anything else.

        Raises:
            VariationError: One of the two is impossible, or the second is less than the first.
        """
        value = value.tolist() if isinstance(value, np.ndarray) else value
        if isinstance(self.space, Discrete) or not isinstance(value, Sequence):
            return None
        if len(value) != 2 or any(np.size(end) != self.space.low.size for end in value):
            return None
        low, high = (self.check(name, end) for end in value)
        if np.any(low > high):
            raise VariationError(f"{name} is a range from {low} to {high}: the first must be less.")
        return Box(low, high, dtype=np.float32)

    def _valid(self) -> str:
        if self.names:
            return "one of " + ", ".join(self.names)
        if isinstance(self.space, Discrete):
            first = self.space.start
            return f"a whole number from {first} to {first + self.space.n - 1}"
        ends = (self.space.low, self.space.high)
        low, high = (np.round(end.astype(np.float64), 3).tolist() for end in ends)
        return f"from {low} to {high}"


def factors(lab: Lab) -> dict[str, Factor]:
    """Return everything that may differ in a lab."""
    return dict([*_camera(lab), *_look(lab), *_things(lab), *_starts(), *_disturbances()])


def variation_space(lab: Lab) -> gym.spaces.Dict:
    """Return the space of all variations of a lab."""
    return gym.spaces.Dict({name: factor.space for name, factor in factors(lab).items()})


def _camera(lab: Lab) -> Iterator[tuple[str, Factor]]:
    camera = lab.left
    yield (
        "camera_azimuth",
        _number(
            "where the exterior camera stands, seen from above [deg], 0 behind the base and 90 on "
            "the robot's left",
            (20.0, 160.0),
            (camera.azimuth - 20, camera.azimuth + 20),
            camera.azimuth,
        ),
    )
    height = float(camera.position()[2])
    yield (
        "camera_height",
        _number(
            "how high the exterior camera stands above the table [m]",
            (0.3, 1.3),
            (height - 0.08, height + 0.08),
            height,
        ),
    )
    yield (
        "camera_fovy",
        _number(
            "the exterior camera's vertical field of view [deg]",
            (25.0, 70.0),
            (camera.fovy - 3, camera.fovy + 3),
            camera.fovy,
        ),
    )


def _look(lab: Lab) -> Iterator[tuple[str, Factor]]:
    yield (
        "light_brightness",
        _number("how bright the light is, 1 as usual", (0.3, 1.7), (0.7, 1.3), 1.0),
    )
    yield (
        "light_azimuth",
        _number(
            "how far the light is turned about the vertical [deg]",
            (-180.0, 180.0),
            (-60.0, 60.0),
            0.0,
        ),
    )
    yield (
        "table_texture",
        _choice("what the table's top looks like", TABLE_TEXTURES, lab.table_texture),
    )
    for part in COLOURED:
        yield f"{part}_colour", _colour(f"the colour of the {part}, red green blue")


def _things(lab: Lab) -> Iterator[tuple[str, Factor]]:
    yield "object_set", _choice("which cup and box there are", tuple(OBJECT_SETS), lab.objects)
    several = Discrete(MOST_DISTRACTORS + 1)
    yield (
        "distractors",
        Factor(
            meaning="how many further things lie about",
            space=several,
            usual=several,
            nominal=np.int64(0),
        ),
    )


def _starts() -> Iterator[tuple[str, Factor]]:
    turn = np.pi / 6
    yield (
        "object_start",
        _region(
            "where the object begins, x y [m] and yaw [rad]",
            [*TABLE_LOW, -turn],
            [*TABLE_HIGH, turn],
        ),
    )
    yield (
        "arm_start",
        _region(
            "where the tool centre begins, x y z [m]",
            WORKSPACE_LOW,
            WORKSPACE_HIGH,
            usual=(REGION_LOW, REGION_HIGH),
        ),
    )
    yield (
        "goal",
        _region(
            "where the tool centre or the object is to be, x y z [m]",
            WORKSPACE_LOW,
            WORKSPACE_HIGH,
            usual=(REGION_LOW, REGION_HIGH),
        ),
    )


def _disturbances() -> Iterator[tuple[str, Factor]]:
    yield (
        "actuation_noise",
        _number(
            "standard deviation of what is added to each displacement [m]",
            (0.0, 0.03),
            (0.0, 0.01),
            0.0,
        ),
    )
    yield "bump", _choice("what is pushed once in mid-episode", BUMPS, "none")
    yield (
        "bump_step",
        Factor(
            meaning="after which step it is pushed",
            space=Discrete(LONGEST_EPISODE, start=1),
            usual=Discrete(8, start=1),
            nominal=np.int64(4),
        ),
    )


def _number(
    meaning: str, space: tuple[float, float], usual: tuple[float, float], nominal: float
) -> Factor:
    low, high = space
    return Factor(
        meaning=meaning,
        space=Box(low, high, (), np.float32),
        usual=Box(max(low, usual[0]), min(high, usual[1]), (), np.float32),
        nominal=np.asarray(nominal, np.float32),
    )


def _choice(meaning: str, names: tuple[str, ...], nominal: str) -> Factor:
    space = Discrete(len(names))
    number = np.int64(names.index(nominal))
    return Factor(meaning=meaning, space=space, usual=space, nominal=number, names=names)


def _colour(meaning: str) -> Factor:
    return Factor(
        meaning=meaning,
        space=Box(0.0, 1.0, (3,), np.float32),
        usual=Box(0.1, 0.9, (3,), np.float32),
        nominal=None,
    )


def _region(
    meaning: str,
    low: Any,
    high: Any,
    *,
    usual: tuple[np.ndarray, np.ndarray] | None = None,
) -> Factor:
    space = Box(np.array(low, np.float32), np.array(high, np.float32), dtype=np.float32)
    narrow = space
    if usual:
        narrow = Box(usual[0].astype(np.float32), usual[1].astype(np.float32), dtype=np.float32)
    return Factor(meaning=meaning, space=space, usual=narrow, nominal=None)
