"""The scene: a robot at a table in a lab, composed once and cached.

Of robosuite only the MJCF files of arms and grippers are read, not its Python: one model is
compiled with MuJoCo's MjSpec, its visual meshes are decimated, and the binary is kept on disk, so
that later starts take a fraction of a second. The robot's base frame is the world frame and the
table's top is at z = 0.
"""

import hashlib
import inspect
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import mujoco
import numpy as np

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.sim import (
    assets,
    backdrop,
    cameras,
    grippers,
    labs,
    meshes,
    objects,
    panda,
    shapes,
    solids,
    textures,
)
from vjepa_gym.sim.objects import ObjectSet, Prop, object_set

Actuation: TypeAlias = Literal["servo", "torque"]
ACTUATIONS = get_args(Actuation)
THICKNESS = 0.05
"""Of the table's top [m]."""
PARKED = np.array([-20.0, 0.0, 0.0])
"""Where things are that are not in the lab [m]: nothing is seen or touched there."""
PLANE = [4.0, 4.0, 8.0]
"""Half the extent of floor and walls, and the distance of their grid lines [m]: one tile is drawn
faster than many."""


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """What is compiled into a scene.

    Attributes:
        lab: Where it is.
        gripper: One of `grippers.GRIPPERS`.
        objects: What stands on the table; None for the lab's own set.
        distractors: How many further things stand there.
        actuation: Whether the joints hold angles or are driven by torques.
    """

    lab: labs.Lab = labs.TRAIN
    gripper: str = "panda"
    objects: str | ObjectSet | None = None
    distractors: int = 0
    actuation: Actuation = "servo"

    def __post_init__(self) -> None:
        """Check the names and the number."""
        grippers.gripper_named(self.gripper)
        if self.actuation not in ACTUATIONS:
            raise UnknownNameError("actuation", self.actuation, ACTUATIONS)
        _ = self.shapes

    @property
    def shapes(self) -> dict[str, Prop]:
        """The things on the table by name."""
        chosen = self.lab.objects if self.objects is None else self.objects
        return object_set(chosen).shapes(self.distractors)


def load_scene(config: SceneConfig | None = None) -> mujoco.MjModel:
    """Return the compiled scene, from the cache if it was composed before."""
    config = config or SceneConfig()
    file = scene_file(config)
    if file.is_file():
        return mujoco.MjModel.from_binary_path(str(file))
    model = compose(config).compile()
    file.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may compose at once: each writes its own file, the last rename wins.
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".part")
    os.close(handle)
    mujoco.mj_saveModel(model, temporary)
    Path(temporary).replace(file)
    return model


def scene_file(config: SceneConfig) -> Path:
    """Return where the compiled scene is kept, whether it is there yet or not."""
    return cache_folder() / f"{_key(config)}.mjb"


def cache_folder() -> Path:
    """Return where compiled scenes are kept: `$VJEPA_GYM_CACHE` or `~/.cache/vjepa_gym`."""
    root = os.environ.get("VJEPA_GYM_CACHE") or Path.home() / ".cache" / "vjepa_gym"
    return Path(root) / "scenes"


def compose(config: SceneConfig) -> mujoco.MjSpec:
    """Return the scene as an editable specification."""
    spec = mujoco.MjSpec()
    spec.option.timestep = 0.002
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # What is held creeps 0.1 mm in 6 s; without cones, only the slow no-slip solver holds as well.
    spec.option.cone, spec.option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10.0
    _furnish(spec, config.lab)
    _light(spec, config.lab.light)
    robot = panda.panda(config.gripper, config.actuation)
    spec.worldbody.add_frame().attach_body(robot.body("link0"), "", "")
    config.lab.left.add_to(spec, "left")
    config.lab.right.add_to(spec, "right")
    cameras.add_wrist_camera(spec)
    meshes.decimate_visuals(spec)
    for place, (name, shape) in zip(parking(), config.shapes.items(), strict=False):
        shape.add_to(spec, name)
        spec.body(name).pos = place
    backdrop.add_backdrop(spec, config.lab.backdrop)
    for material in spec.materials:
        material.reflectance = 0.0  # each mirror draws the scene once more
    return spec


def parking() -> Iterator[np.ndarray]:
    """Yield places behind the walls, a metre apart."""
    return (PARKED - [i, 0.0, 0.0] for i in count())


def _furnish(spec: mujoco.MjSpec, lab: labs.Lab) -> None:
    """Set the table under the robot, and the floor, the walls and the backdrop around it."""
    for texture in labs.TABLE_TEXTURES:
        textures.add_material(spec, texture)
    (x0, x1), (y0, y1) = lab.table_x, lab.table_y
    table = spec.worldbody.add_body(
        name="table", pos=[(x0 + x1) / 2, (y0 + y1) / 2, -THICKNESS / 2]
    )
    box, half = mujoco.mjtGeom.mjGEOM_BOX, [(x1 - x0) / 2, (y1 - y0) / 2, THICKNESS / 2]
    table.add_geom(name="table_collision", type=box, size=half, group=0)
    seen = {"contype": 0, "conaffinity": 0, "group": 1}
    table.add_geom(
        name="table_visual",
        type=box,
        size=half,
        material=lab.table_texture,
        rgba=[*lab.table_rgb, 1.0],
        **seen,
    )
    plane = mujoco.mjtGeom.mjGEOM_PLANE
    spec.worldbody.add_geom(
        name="floor",
        type=plane,
        pos=[0, 0, labs.FLOOR],
        size=PLANE,
        rgba=[*lab.floor_rgb, 1.0],
        group=1,
    )
    x, y = lab.walls
    # Planes are seen from their front alone, so cameras on either side look through the near ones.
    for name, position, quat in (
        ("wall_rear", [x, 0, 0], [1, 0, 1, 0]),
        ("wall_right", [0, y, 0], [1, -1, 0, 0]),
        ("wall_left", [0, -y, 0], [1, 1, 0, 0]),
        ("wall_front", [-x + 1.0, 0, 0], [1, 0, -1, 0]),
    ):
        spec.worldbody.add_geom(
            name=name,
            type=plane,
            pos=position,
            quat=np.array(quat) / np.sqrt(2),
            size=PLANE,
            rgba=[*lab.wall_rgb, 1.0],
            **seen,
        )


def _light(spec: mujoco.MjSpec, light: labs.Light) -> None:
    spec.worldbody.add_light(
        name="ceiling",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=-2.0 * light.direction() + [0.4, 0.0, 0.0],
        dir=light.direction(),
        diffuse=[light.direct] * 3,
        ambient=[0.0] * 3,
        specular=[0.2] * 3,
        castshadow=True,
    )
    spec.visual.headlight.ambient = [light.ambient] * 3
    spec.visual.headlight.diffuse = [light.headlight] * 3
    spec.visual.headlight.specular = [0.0] * 3
    spec.visual.quality.shadowsize = 384
    spec.visual.quality.offsamples = 0
    # Light from one direction looks the same on a side in one piece.
    spec.visual.quality.numquads, spec.visual.quality.numslices = 1, 24
    spec.visual.quality.numstacks = 8
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 1280
    # The shadow map covers what the camera sees, and no more.
    spec.stat.center, spec.stat.extent = [0.4, 0.0, 0.2], 1.0
    spec.visual.map.shadowclip = 0.8
    spec.visual.map.znear, spec.visual.map.zfar = 0.05, 8.0


# Read once, together with the code itself: a file may be edited while this process runs.
SOURCES = [
    inspect.getsource(module)
    for module in (
        assets,
        backdrop,
        cameras,
        grippers,
        labs,
        meshes,
        objects,
        panda,
        shapes,
        solids,
        textures,
    )
] + [Path(__file__).read_text(encoding="utf-8")]


def _key(config: SceneConfig) -> str:
    """Return a name that changes with everything that the compiled scene depends on."""
    classes = {type(shape) for shape in config.shapes.values()}
    parts = (*SOURCES, *sorted(map(_source, classes)), repr(config), repr(config.shapes))
    versions = (mujoco.__version__, assets.version())
    return hashlib.sha256("\0".join((*parts, *versions)).encode()).hexdigest()[:16]


def _source(shape: type) -> str:
    """Return a class's source, if it has any, say not from a prompt."""
    try:
        return inspect.getsource(shape)
    except (OSError, TypeError):
        return repr(shape)
