"""What stands behind the table: boxes and cylinders that are seen and never touched.

They are drawn as one mesh with a palette for a texture, since drawing costs by the piece.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np
from jaxtyping import Float, Int

RGB = tuple[float, float, float]
CELL = 4
"""Pixels of the palette that each colour has to each side."""
SIDES = 16
"""Of what is drawn for a cylinder."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A thing of the background.

    Attributes:
        position: Its centre [m].
        size: Full extent along x, y, z [m].
        rgb: Colour.
        yaw: How far it is turned about the vertical [deg].
        kind: Its shape.
    """

    position: tuple[float, float, float]
    size: tuple[float, float, float]
    rgb: RGB
    yaw: float = 0.0
    kind: Literal["box", "cylinder"] = "box"

    def mesh(self) -> tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]:
        """Return its surface in the base frame [m]; faces share no vertices, so edges are sharp."""
        sides = 4 if self.kind == "box" else SIDES
        angles = 2 * np.pi * (np.arange(sides) + 0.5) / sides
        around = np.stack([np.cos(angles), np.sin(angles)], axis=1) / np.cos(np.pi / sides)
        low, high = (np.column_stack([around, np.full(sides, z)]) for z in (-1.0, 1.0))
        faces = [high, low[::-1]]
        faces += [
            np.stack([low[i], low[j], high[j], high[i]])
            for i, j in zip(range(sides), [*range(1, sides), 0], strict=True)
        ]
        vertices = np.concatenate(faces) * np.array(self.size) / 2
        starts = np.cumsum([0] + [len(face) for face in faces])
        fans = [
            start + np.array([[0, k, k + 1] for k in range(1, len(face) - 1)])
            for start, face in zip(starts[:-1], faces, strict=True)
        ]
        cos, sin = np.cos(np.radians(self.yaw)), np.sin(np.radians(self.yaw))
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        return vertices @ turn.T + np.array(self.position), np.concatenate(fans)


def add_backdrop(spec: mujoco.MjSpec, pieces: Sequence[Piece]) -> None:
    """Add all pieces to `spec` as one geom that is drawn and touches nothing."""
    if not pieces:
        return
    vertices, faces, coordinates, start = [], [], [], 0
    for i, piece in enumerate(pieces):
        corners, triangles = piece.mesh()
        vertices.append(corners)
        faces.append(triangles + start)
        coordinates.append(np.tile([(i + 0.5) / len(pieces), 0.5], (len(corners), 1)))
        start += len(corners)
    spec.add_mesh(
        name="backdrop",
        uservert=np.concatenate(vertices).ravel().tolist(),
        userface=np.concatenate(faces).ravel().tolist(),
        usertexcoord=np.concatenate(coordinates).ravel().tolist(),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )
    spec.worldbody.add_geom(
        name="backdrop",
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname="backdrop",
        material=_palette(spec, [piece.rgb for piece in pieces]),
        contype=0,
        conaffinity=0,
        group=1,
    )


def _palette(spec: mujoco.MjSpec, colours: Sequence[RGB]) -> str:
    """Add a material whose texture has these colours side by side; return its name."""
    row = np.rint(255 * np.repeat(np.array(colours), CELL, axis=0)).astype(np.uint8)
    spec.add_texture(
        name="backdrop",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        width=len(row),
        height=CELL,
        nchannel=3,
        data=np.tile(row.ravel(), CELL).tolist(),
    )
    material = spec.add_material(name="backdrop", rgba=[1.0, 1.0, 1.0, 1.0], specular=0.1)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "backdrop"
    return "backdrop"
