"""The things on the table, made of primitives: MuJoCo bodies that lie free."""

from dataclasses import dataclass

import mujoco
import numpy as np

# Drawn (group 1). Without stiff, slip-free contacts a gripped cup creeps out of the fingers.
GRIP = {"group": 1, "solref": [0.006, 1.0], "solimp": [0.97, 0.99, 0.001, 0.5, 2.0], "condim": 4}
STANDS_OFF = 0.001
"""A cup's wall begins this far above its bottom [m], which alone touches the table: that saves the
solver dozens of contacts."""
FRICTION = [1.2, 0.01, 0.0005]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A solid box.

    Attributes:
        size: Full extent along x, y, z [m].
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

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        """Add this object to `spec`, resting on the table; the body's origin is its centre."""
        body = _free_body(spec, name, self.height / 2)
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=np.array(self.size) / 2,
            rgba=self.rgba,
            mass=self.mass,
            friction=FRICTION,
            **GRIP,
        )


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
    """

    radius: float = 0.034
    height: float = 0.09
    wall: float = 0.005
    facets: int = 16
    rgba: tuple[float, float, float, float] = (0.86, 0.78, 0.66, 1.0)
    mass: float = 0.1

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        """Add this object to `spec`, resting on the table; the body's origin is its centre."""
        body = _free_body(spec, name, self.height / 2)
        share = self.mass / (self.facets + 1)
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[self.radius - self.wall / 2, self.wall / 2, 0],
            pos=[0, 0, (self.wall - self.height) / 2],
            rgba=self.rgba,
            mass=share,
            friction=FRICTION,
            **GRIP,
        )
        middle = self.radius - self.wall / 2
        half_width = 1.02 * self.radius * np.tan(np.pi / self.facets)
        for angle in 2 * np.pi * np.arange(self.facets) / self.facets:
            body.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=[self.wall / 2, half_width, (self.height - STANDS_OFF) / 2],
                pos=[middle * np.cos(angle), middle * np.sin(angle), STANDS_OFF / 2],
                quat=[np.cos(angle / 2), 0, 0, np.sin(angle / 2)],
                rgba=self.rgba,
                mass=share,
                friction=FRICTION,
                **GRIP,
            )


def _free_body(spec: mujoco.MjSpec, name: str, z: float) -> mujoco.MjsBody:
    body = spec.worldbody.add_body(name=name, pos=[0.5, 0.0, z])
    body.add_freejoint(name=name)
    return body
