"""What a compiled scene looks like: changed at run time, and put back."""

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.sim.cameras import CameraPose
from vjepa_gym.sim.labs import TABLE_TEXTURES, Light

PARTS = ("table", "floor", "wall", "cup", "box")
"""What has a colour that can be set."""
SAVED = (
    *("geom_rgba", "geom_matid", "cam_pos", "cam_quat", "cam_fovy"),
    *("light_pos", "light_dir", "light_diffuse", "light_ambient", "light_specular"),
)
SAVED_HEADLIGHT = ("ambient", "diffuse", "specular")
UNSET = 0.5
"""MuJoCo takes a geom whose colour is exactly this grey for one without a colour of its own."""


class Look:
    """The colours, lights and cameras of a model, as they were when this was made."""

    def __init__(self, model: mujoco.MjModel, light: Light) -> None:
        """Remember what `model` looks like."""
        self._model, self._nominal = model, light
        self._saved = {name: getattr(model, name).copy() for name in SAVED}
        self._headlight = {
            name: getattr(model.vis.headlight, name).copy() for name in SAVED_HEADLIGHT
        }
        self._light = model.light("ceiling").id
        self._geoms = {part: _geoms(model, part) for part in PARTS}

    def restore(self) -> None:
        """Make the model look as it did."""
        for name, value in self._saved.items():
            getattr(self._model, name)[:] = value
        for name, value in self._headlight.items():
            getattr(self._model.vis.headlight, name)[:] = value

    def camera(self, name: str, pose: CameraPose) -> None:
        """Put an exterior camera somewhere else."""
        camera = self._model.camera(name).id
        self._model.cam_pos[camera], self._model.cam_quat[camera] = (
            pose.position(),
            pose.quaternion(),
        )
        self._model.cam_fovy[camera] = pose.fovy

    def light(self, brightness: float, azimuth: float) -> None:
        """Dim or brighten all light, 1 as it was, and turn the ceiling's by `azimuth` [deg]."""
        model, light = self._model, self._light
        direction = self._nominal.direction(azimuth)
        model.light_pos[light] += 2.0 * (model.light_dir[light] - direction)
        model.light_dir[light] = direction
        for name in ("light_diffuse", "light_ambient", "light_specular"):
            getattr(model, name)[light] = brightness * self._saved[name][light]
        for name, value in self._headlight.items():
            getattr(model.vis.headlight, name)[:] = brightness * value

    def colour(self, part: str, rgb: ArrayLike) -> None:
        """Paint one of `PARTS`.

        Raises:
            UnknownNameError: There is no such part.
        """
        if part not in PARTS:
            raise UnknownNameError("coloured part", part, PARTS)
        red, green, blue = np.asarray(rgb, np.float32)
        if red == green == blue == UNSET:
            blue = np.nextafter(np.float32(UNSET), np.float32(1.0))
        self._model.geom_rgba[self._geoms[part], :3] = [red, green, blue]

    def table_texture(self, name: str) -> None:
        """Give the table one of `TABLE_TEXTURES`.

        Raises:
            UnknownNameError: There is no such texture.
        """
        if name not in TABLE_TEXTURES:
            raise UnknownNameError("table texture", name, TABLE_TEXTURES)
        self._model.geom_matid[self._geoms["table"]] = self._model.material(name).id


def _geoms(model: mujoco.MjModel, part: str) -> list[int]:
    """Return the geoms that are painted together."""
    if part in ("cup", "box"):
        body = model.body(part)
        return list(range(body.geomadr[0], body.geomadr[0] + body.geomnum[0]))
    if part == "table":
        return [model.geom("table_visual").id]
    return [i for i in range(model.ngeom) if model.geom(i).name.startswith(part)]
