"""Bodies that lie free, built piece by piece from primitives."""

from collections.abc import Sequence
from itertools import pairwise

import mujoco
import numpy as np
from numpy.typing import ArrayLike

TURN = np.pi / 4
"""From the axes of a body to those of its shape [rad]. A hand with the same yaw as the body has
its fingers on both sides along the shape's y axis, since it sits at 45 degrees on the flange."""
# Without stiff, slip-free contacts a gripped cup creeps out of the fingers.
GRIP = {"solref": [0.006, 1.0], "solimp": [0.97, 0.99, 0.001, 0.5, 2.0], "condim": 4}
FRICTION = [1.2, 0.01, 0.0005]
DRAWN, HIDDEN = 1, 3
"""Groups of geoms that pictures show and do not show."""
BOX, CYLINDER = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER


class FreeBody:
    """A free body that rests on the table, with geoms in the shape's own axes."""

    def __init__(
        self, spec: mujoco.MjSpec, name: str, height: float, rgba: Sequence[float]
    ) -> None:
        """Add an empty body to `spec`, its origin at the centre of a thing `height` [m] tall."""
        self._spec, self._name, self._rgba = spec, name, rgba
        self._body = spec.worldbody.add_body(name=name, pos=[0.5, 0.0, height / 2])
        self._body.add_freejoint(name=name)

    def add(
        self,
        kind: mujoco.mjtGeom,
        size: ArrayLike,
        position: ArrayLike = (0.0, 0.0, 0.0),
        yaw: float = 0.0,
        *,
        mass: float,
        group: int = DRAWN,
    ) -> None:
        """Add a primitive: half sizes and centre [m], turned by `yaw` [rad], with its mass [kg]."""
        turned = TURN + yaw
        x, y, z = np.asarray(position, np.float64)
        cos, sin = np.cos(TURN), np.sin(TURN)
        self._body.add_geom(
            type=kind,
            size=np.asarray(size, np.float64),
            pos=[cos * x - sin * y, sin * x + cos * y, z],
            quat=[np.cos(turned / 2), 0, 0, np.sin(turned / 2)],
            rgba=self._rgba,
            mass=mass,
            friction=FRICTION,
            group=group,
            **GRIP,
        )

    def turn(self, profile: Sequence[tuple[float, float]], segments: int = 24) -> None:
        """Draw a solid of revolution, which collides with nothing and has no mass.

        Args:
            profile: Radius and height [m] of its outline, from the axis round to the axis, its
                outside on the right of the way.
            segments: How many flat pieces go round.
        """
        angles = 2 * np.pi * np.arange(segments) / segments
        around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        vertices, faces = [], []
        here, there = np.arange(segments), (np.arange(segments) + 1) % segments
        # Rings of neighbouring pieces are not shared, so that edges stay sharp.
        for i, ends in enumerate(pairwise(profile)):
            low, high = 2 * i * segments, (2 * i + 1) * segments
            for radius, z in ends:
                vertices.append(np.column_stack([radius * around, np.full(segments, z)]))
            if ends[0][0]:
                faces.append(np.stack([low + here, low + there, high + there], axis=1))
            if ends[1][0]:
                faces.append(np.stack([low + here, high + there, high + here], axis=1))
        mesh = self._spec.add_mesh(
            name=f"{self._name}_turned",
            uservert=np.concatenate(vertices).ravel().tolist(),
            userface=np.concatenate(faces).ravel().tolist(),
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
        )
        self._body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=mesh.name,
            rgba=self._rgba,
            mass=0.0,
            contype=0,
            conaffinity=0,
            group=DRAWN,
        )
