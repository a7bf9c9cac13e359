"""The scene: robosuite's Panda, hand and table with a cup and a box, composed once and cached.

Only robosuite's MJCF files are read, not its Python: one model is compiled with MuJoCo's MjSpec,
its visual meshes are decimated, and the binary is kept on disk, so that later starts take a
fraction of a second. The robot's base frame is the world frame and the table's top is at z = 0.
"""

import hashlib
import importlib.metadata
import inspect
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np

from vjepa_gym.sim import cameras, meshes, objects, panda
from vjepa_gym.sim.panda import assets


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """What stands in the scene.

    Attributes:
        cup: The cup.
        box: The box.
        camera: Where the exterior camera `left` stands.
        table_rgb: Colour of the table's top and of its holes.
    """

    cup: objects.Cup = field(default_factory=objects.Cup)
    box: objects.Box = field(default_factory=objects.Box)
    camera: cameras.CameraPose = cameras.LEFT
    table_rgb: tuple[float, float, float] = (0.17, 0.17, 0.19)


def load_scene(config: SceneConfig | None = None) -> mujoco.MjModel:
    """Return the compiled scene, from the cache if it was composed before."""
    config = config or SceneConfig()
    file = cache_folder() / f"{_key(config)}.mjb"
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


def cache_folder() -> Path:
    """Return where compiled scenes are kept: `$VJEPA_GYM_CACHE` or `~/.cache/vjepa_gym`."""
    root = os.environ.get("VJEPA_GYM_CACHE") or Path.home() / ".cache" / "vjepa_gym"
    return Path(root) / "scenes"


def compose(config: SceneConfig) -> mujoco.MjSpec:
    """Return the scene as an editable specification."""
    spec = mujoco.MjSpec.from_file(str(assets() / "arenas" / "table_arena.xml"))
    spec.option.timestep = 0.002
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.noslip_iterations = 10
    _furnish(spec, config)
    _light(spec)
    robot = panda.panda()
    spec.worldbody.add_frame().attach_body(robot.body("link0"), "", "")
    config.cup.add_to(spec, "cup")
    config.box.add_to(spec, "box")
    camera = spec.worldbody.add_camera(name="left", fovy=config.camera.fovy)
    camera.pos = config.camera.position()
    camera.quat = config.camera.quaternion()
    meshes.decimate_visuals(spec)
    return spec


def _furnish(spec: mujoco.MjSpec, config: SceneConfig) -> None:
    """Set the table under the robot, and the floor and walls around it."""
    for camera in list(spec.cameras):
        spec.delete(camera)
    top = spec.body("table")
    top.pos = [0.35, 0.0, -0.025]
    for name in ("table_collision", "table_visual"):
        spec.geom(name).size = [0.65, 0.75, 0.025]
    spec.geom("table_visual").material = _perforated(spec, config.table_rgb)
    for leg, (x, y) in enumerate([(0.6, 0.7), (-0.6, 0.7), (0.6, -0.7), (-0.6, -0.7)], start=1):
        geom = spec.geom(f"table_leg{leg}_visual")
        geom.pos, geom.size = [x, y, -0.4], [0.025, 0.375, 0]
    spec.geom("floor").pos = [0, 0, -0.8]
    for site in spec.sites:
        site.group = 4
    # Nearer walls: they are what the camera sees behind the robot.
    spec.geom("wall_rear_visual").pos = [-1.2, -0.3, 0.7]
    spec.geom("wall_right_visual").pos = [0.5, -1.8, 0.7]
    for corner in ("wall_leftcorner_visual", "wall_rightcorner_visual"):
        spec.delete(spec.geom(corner))


def _perforated(spec: mujoco.MjSpec, rgb: tuple[float, float, float]) -> str:
    """Add the look of an optical table, a dark plate with a hole every 25 mm; return its name."""
    cell = 32
    x = np.linspace(-1, 1, cell)
    hole = (x[:, None] ** 2 + x[None] ** 2) < 0.3**2
    plate = np.where(hole[..., None], 0.25, 1.0) * np.array(rgb) * 255
    spec.add_texture(
        name="perforated",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        width=cell,
        height=cell,
        nchannel=3,
        data=plate.astype(int).ravel().tolist(),
    )
    material = spec.add_material(
        name="perforated", texuniform=True, texrepeat=[40, 40], specular=0.2, reflectance=0.0
    )
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "perforated"
    return "perforated"


def _light(spec: mujoco.MjSpec) -> None:
    for light in list(spec.lights):
        spec.delete(light)
    spec.worldbody.add_light(
        name="ceiling",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0.9, 0.5, 2.0],
        dir=[-0.2, -0.25, -1.0],
        diffuse=[0.45] * 3,
        ambient=[0.1] * 3,
        specular=[0.2] * 3,
        castshadow=True,
    )
    for material in spec.materials:
        material.reflectance = 0.0  # each mirror draws the scene once more
    spec.visual.headlight.ambient = [0.35] * 3
    spec.visual.headlight.diffuse = [0.25] * 3
    spec.visual.headlight.specular = [0.0] * 3
    spec.visual.quality.shadowsize = 512
    spec.visual.quality.offsamples = 0
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 1280
    # The shadow map covers what the camera sees, and no more.
    spec.stat.center, spec.stat.extent = [0.4, 0.0, 0.2], 1.0
    spec.visual.map.shadowclip = 1.0
    spec.visual.map.znear, spec.visual.map.zfar = 0.05, 8.0


def _key(config: SceneConfig) -> str:
    """Return a name that changes with everything that the compiled scene depends on."""
    source = "".join(inspect.getsource(module) for module in (meshes, objects, cameras, panda))
    own = Path(__file__).read_text(encoding="utf-8")
    parts = (repr(config), source, own, mujoco.__version__, importlib.metadata.version("robosuite"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
