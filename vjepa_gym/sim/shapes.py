"""Shapes of the things on the table, made of primitives.

A shape's own axes are turned within its body, so that a hand with the same yaw as the body has its
fingers on both sides along the shape's y axis.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import mujoco
import numpy as np

from vjepa_gym.sim.solids import BOX, CYLINDER, HIDDEN, FreeBody

STANDS_OFF = 0.001
"""A cup's wall begins this far above its bottom [m], which alone touches the table: that saves the
solver dozens of contacts."""
FINGERS = 0.028
"""The tool centre goes at most this far below the top of what is gripped [m], so that the palm
stays clear of it."""


@runtime_checkable
class Prop(Protocol):
    """A thing that stands on the table: whatever has these members can be one.

    A frozen dataclass is asked for, since a compiled scene is kept under its `repr`.
    """

    @property
    def height(self) -> float:
        """How far the top lies above the table [m]."""
        ...

    @property
    def grip_width(self) -> float:
        """How far apart the fingers are that hold it, hand and object turned alike [m]."""
        ...

    @property
    def grip_height(self) -> float:
        """How far above its bottom the tool centre goes to grip it [m]."""
        ...

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        """Add a body of that name with a free joint of that name, its origin at the centre.

        It is added as it rests on the table, whose top is at z = 0; geoms that are drawn are in
        group 1.
        """
        ...


def _grip_height(height: float) -> float:
    """Return where to grip something solid: its middle, or higher if it is tall [m]."""
    return max(height / 2, height - FINGERS)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A solid box.

    Attributes:
        size: Full extent along x, y (between the fingers), z [m].
        rgba: Colour.
        mass: [kg].
    """

    size: tuple[float, float, float] = (0.045, 0.045, 0.07)
    rgba: tuple[float, float, float, float] = (0.16, 0.35, 0.75, 1.0)
    mass: float = 0.1

    @property
    def height(self) -> float:
        """How far the top lies above the table [m]."""
        return self.size[2]

    @property
    def grip_width(self) -> float:
        """How far apart the fingers are that hold it [m]."""
        return self.size[1]

    @property
    def grip_height(self) -> float:
        """How far above its bottom the tool centre goes [m]."""
        return _grip_height(self.height)

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        """Add this object to `spec`, resting on the table; the body's origin is its centre."""
        body = FreeBody(spec, name, self.height, self.rgba)
        body.add(BOX, np.array(self.size) / 2, mass=self.mass)


@dataclass(frozen=True, kw_only=True)
class Cup:
    """An open cup: a disc for the bottom and a ring of thin boxes for the wall.

    Attributes:
        radius: Outer radius [m].
        height: [m].
        wall: Thickness of wall and bottom [m].
        facets: How many boxes make the wall.
        rgba: Colour.
        mass: [kg].
        handle: How far a handle stands out, away from the fingers [m]; 0 for none.
    """

    radius: float = 0.032
    height: float = 0.09
    wall: float = 0.005
    facets: int = 16
    rgba: tuple[float, float, float, float] = (0.86, 0.78, 0.66, 1.0)
    mass: float = 0.1
    handle: float = 0.0

    @property
    def grip_width(self) -> float:
        """How far apart the fingers are that hold it [m]."""
        return 2 * self.radius

    @property
    def grip_height(self) -> float:
        """How far above its bottom the tool centre goes [m]."""
        return _grip_height(self.height)

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        """Add this object to `spec`, resting on the table; the body's origin is its centre."""
        body = FreeBody(spec, name, self.height, self.rgba)
        parts = self.facets + 1 + 3 * (self.handle > 0)
        share, middle = self.mass / parts, self.radius - self.wall / 2
        bottom = [0, 0, (self.wall - self.height) / 2]
        body.add(CYLINDER, [middle, self.wall / 2, 0], bottom, mass=share, group=HIDDEN)
        half_width = 1.02 * self.radius * np.tan(np.pi / self.facets)
        size = [self.wall / 2, half_width, (self.height - STANDS_OFF) / 2]
        for angle in 2 * np.pi * np.arange(self.facets) / self.facets:
            centre = [middle * np.cos(angle), middle * np.sin(angle), STANDS_OFF / 2]
            body.add(BOX, size, centre, float(angle), mass=share, group=HIDDEN)
        # Drawn as one piece: that is quicker than seventeen, and round.
        outside, inside, top = self.radius, self.radius - self.wall, self.height / 2
        floor = self.wall - top
        body.turn(
            [
                (0.0, -top),
                (outside, -top),
                (outside, top),
                (inside, top),
                (inside, floor),
                (0.0, floor),
            ]
        )
        if self.handle:
            self._add_handle(body, share)

    def _add_handle(self, body: FreeBody, share: float) -> None:
        thick, reach, tall = 0.004, self.handle, 0.22 * self.height
        out = self.radius + reach
        for z in (tall, -tall):
            middle = [self.radius + reach / 2 - thick, 0, z]
            body.add(BOX, [reach / 2, thick, thick], middle, mass=share)
        body.add(BOX, [thick, thick, tall + thick], [out - thick, 0, 0], mass=share)


@dataclass(frozen=True, kw_only=True)
class Can:
    """An upright cylinder: a can, a jar, a pot's lid.

    Attributes:
        radius: [m].
        height: [m].
        rgba: Colour.
        mass: [kg].
    """

    radius: float = 0.03
    height: float = 0.10
    rgba: tuple[float, float, float, float] = (0.72, 0.16, 0.14, 1.0)
    mass: float = 0.15

    @property
    def grip_width(self) -> float:
        """How far apart the fingers are that hold it [m]."""
        return 2 * self.radius

    @property
    def grip_height(self) -> float:
        """How far above its bottom the tool centre goes [m]."""
        return _grip_height(self.height)

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        """Add this object to `spec`, resting on the table; the body's origin is its centre."""
        body = FreeBody(spec, name, self.height, self.rgba)
        body.add(CYLINDER, [self.radius, self.height / 2, 0], mass=self.mass)


@dataclass(frozen=True, kw_only=True)
class Corner:
    """Two boxes at a right angle: a low one with a taller one at its end.

    Attributes:
        size: Full extent along x, y (between the fingers), z [m].
        thickness: Of both boxes [m].
        rgba: Colour.
        mass: [kg].
    """

    size: tuple[float, float, float] = (0.07, 0.04, 0.06)
    thickness: float = 0.025
    rgba: tuple[float, float, float, float] = (0.20, 0.55, 0.30, 1.0)
    mass: float = 0.12

    @property
    def height(self) -> float:
        """How far the top lies above the table [m]."""
        return self.size[2]

    @property
    def grip_width(self) -> float:
        """How far apart the fingers are that hold it [m]."""
        return self.size[1]

    @property
    def grip_height(self) -> float:
        """How far above its bottom the tool centre goes [m]."""
        return self.thickness / 2

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        """Add this object to `spec`, resting on the table; the body's origin is its centre."""
        body, half = FreeBody(spec, name, self.height, self.rgba), self.mass / 2
        x, y, z = np.array(self.size) / 2
        thick = self.thickness / 2
        body.add(BOX, [x, y, thick], [0, 0, thick - z], mass=half)
        body.add(BOX, [thick, y, z - thick], [thick - x, 0, thick], mass=half)
