"""One simulated lab: the scene, the arm, what lies on the table, and pictures of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import mujoco
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.images import ImageSize, image_shape
from vjepa_gym.sim import labs
from vjepa_gym.sim.arm import SimulatedArm
from vjepa_gym.sim.cameras import CAMERAS, CameraPose, calibration
from vjepa_gym.sim.objects import ObjectSet, Prop
from vjepa_gym.sim.open_scene import OpenScenes
from vjepa_gym.sim.scene import Actuation, SceneConfig
from vjepa_gym.spaces import IMAGE_SIZE
from vjepa_gym.types import Image

OBJECTS = ("cup", "box")


class World:
    """A lab that can be arranged, looked at, and put back as it was.

    `model`, `data` and `arm` change when the world is configured anew: take them from the world.
    """

    def __init__(
        self,
        *,
        image_size: ImageSize = IMAGE_SIZE,
        lab: str | labs.Lab = "train",
        gripper: str = "panda",
        objects: str | ObjectSet | None = None,
        distractors: int = 0,
        actuation: Actuation = "servo",
    ) -> None:
        """Load the scene; nothing is drawn until a picture is asked for.

        Args:
            image_size: A side of the pictures, or height and width [px].
            lab: One of `labs.LABS`, or a lab of one's own.
            gripper: One of `grippers.GRIPPERS`.
            objects: One of `objects.OBJECT_SETS`, or a set of one's own; None for the lab's.
            distractors: How many further things stand on the table.
            actuation: Whether the joints hold angles or are driven by torques.

        Raises:
            UnknownNameError: A name that does not exist.
            VariationError: There are not so many distractors.
            ValueError: It is no size of a picture.
        """
        self.lab = labs.lab(lab)
        self.image_shape = image_shape(image_size)
        self._gripper = gripper
        self._opened = OpenScenes(
            partial(SceneConfig, lab=self.lab, gripper=gripper, actuation=actuation)
        )
        self._scene = self._opened(objects or self.lab.objects, distractors)
        self.arrange({})

    @property
    def model(self) -> mujoco.MjModel:
        """The scene in use."""
        return self._scene.model

    @property
    def data(self) -> mujoco.MjData:
        """The state of the scene in use."""
        return self._scene.data

    @property
    def arm(self) -> SimulatedArm:
        """The arm of the scene in use."""
        return self._scene.arm

    @property
    def gripper(self) -> str:
        """The name of the gripper."""
        return self._gripper

    @property
    def objects(self) -> Mapping[str, Prop]:
        """The shapes in use by name: `cup`, `box`, and `distractor1` and so on."""
        return self._scene.shapes

    def configure(
        self, *, objects: str | ObjectSet | None = None, distractors: int | None = None
    ) -> None:
        """Change what there is to stand on the table; what is None stays.

        If anything changed, the table is bare and the arm at home. The lab looks as it was made.

        Raises:
            UnknownNameError: There is no such object set.
            VariationError: There are not so many distractors.
        """
        before = self._scene
        self._scene = self._opened(
            before.config.objects if objects is None else objects,
            before.config.distractors if distractors is None else distractors,
        )
        self.restore_look()
        if self._scene is not before:
            self.arrange({})

    def arrange(self, objects: Mapping[str, ArrayLike]) -> None:
        """Clear the lab and put each object at `x y yaw` [m, m, rad], standing on the table.

        Objects that are not named are out of sight and out of the way. The arm is at home, its hand
        open.

        Raises:
            UnknownNameError: There is no such object.
        """
        for name in objects:
            self._scene.joint(name)
        mujoco.mj_resetData(self.model, self.data)
        self._scene.rest()
        for name, place in objects.items():
            x, y, yaw = np.asarray(place, np.float64)
            self._scene.stand(name, [x, y, self.objects[name].height / 2], yaw)
        mujoco.mj_forward(self.model, self.data)

    def put(self, name: str, position: ArrayLike, yaw: float = 0.0) -> None:
        """Put one object's centre somewhere [m], upright, turned by `yaw` [rad], at rest.

        Raises:
            UnknownNameError: There is no such object.
        """
        self._scene.stand(name, position, yaw)
        mujoco.mj_forward(self.model, self.data)

    def settle(self, seconds: float = 0.1) -> None:
        """Let everything come to rest."""
        steps = max(1, round(seconds / self.model.opt.timestep))
        self._scene.step(steps)
        mujoco.mj_forward(self.model, self.data)

    def push(self, name: str, velocity: Float[np.ndarray, "2"], seconds: float) -> None:
        """Shove an object along x and y at a velocity [m/s] for a while, then stop it.

        It stays upright, and may meet resistance.

        Raises:
            UnknownNameError: There is no such object.
        """
        joint = self._scene.joint(name)
        for _ in range(round(seconds / self.model.opt.timestep)):
            joint.qvel[:2], joint.qvel[3:] = velocity, 0.0
            self._scene.step()
        joint.qvel[:] = 0.0
        self.settle()

    def object_pose(self, name: str) -> Float[np.ndarray, "7"]:
        """Return where an object is: position [m] and quaternion (w x y z), in the base frame."""
        return self._scene.joint(name).qpos.copy()

    def object_speed(self, name: str) -> float:
        """Return how fast an object's centre moves [m/s]."""
        return float(np.linalg.norm(self._scene.joint(name).qvel[:3]))

    def tilt(self, name: str) -> float:
        """Return how far an object is from standing upright [rad]."""
        _, x, y = self.object_pose(name)[3:6]
        return float(np.arccos(np.clip(1.0 - 2.0 * (x * x + y * y), -1.0, 1.0)))

    def touches(self, name: str) -> tuple[bool, bool]:
        """Return whether each of the two fingers touches an object."""
        self._scene.joint(name)
        geoms = self.data.contact.geom
        ours = self.model.geom_bodyid[geoms] == self.model.body(name).id
        others = set(geoms[:, ::-1][ours].tolist())
        first, second = self.arm.gripper.finger_geoms
        return not others.isdisjoint(first), not others.isdisjoint(second)

    def grasped(self, name: str) -> bool:
        """Return whether both fingers touch an object."""
        return all(self.touches(name))

    def image(self, camera: str = "left") -> Image:
        """Return what a camera sees now.

        Raises:
            UnknownNameError: There is no such camera.
            RenderingError: This machine has no working OpenGL.
        """
        _check_camera(camera, CAMERAS)
        return self._scene.renderer(self.image_shape).render(self.data, camera)

    def calibration(self, camera: str = "left") -> dict[str, np.ndarray]:
        """Return a camera's extrinsics and intrinsics now, see `types.Episode.cameras`.

        Raises:
            UnknownNameError: There is no such camera.
        """
        _check_camera(camera, CAMERAS)
        return calibration(self.model, self.data, camera, self.image_shape)

    def camera(self, name: str = "left") -> CameraPose:
        """Return where an exterior camera of this lab stands, unless it was moved.

        Raises:
            UnknownNameError: There is no such camera, or it is on the hand.
        """
        _check_camera(name, CAMERAS[:2])
        return self.lab.left if name == "left" else self.lab.right

    def set_camera(self, name: str, pose: CameraPose) -> None:
        """Put an exterior camera somewhere else.

        Raises:
            UnknownNameError: There is no such camera, or it is on the hand.
        """
        _check_camera(name, CAMERAS[:2])
        self._scene.look.camera(name, pose)
        mujoco.mj_camlight(self.model, self.data)

    def set_light(self, brightness: float = 1.0, azimuth: float = 0.0) -> None:
        """Dim or brighten the light, 1 as usual, and turn it about the vertical [deg]."""
        self._scene.look.light(brightness, azimuth)
        mujoco.mj_camlight(self.model, self.data)

    def set_colour(self, part: str, rgb: ArrayLike) -> None:
        """Paint one of `looks.PARTS`, each of red, green and blue from 0 to 1.

        Raises:
            UnknownNameError: There is no such part.
        """
        self._scene.look.colour(part, rgb)

    def set_table_texture(self, name: str) -> None:
        """Give the table's top one of `labs.TABLE_TEXTURES`; its colour tints it.

        Raises:
            UnknownNameError: There is no such texture.
        """
        self._scene.look.table_texture(name)

    def restore_look(self) -> None:
        """Make colours, lights and cameras what they are in this lab."""
        self._scene.look.restore()
        mujoco.mj_camlight(self.model, self.data)

    @property
    def state(self) -> Float[np.ndarray, " size"]:
        """Everything that the physics goes on from."""
        size = mujoco.mj_stateSize(self.model, mujoco.mjtState.mjSTATE_INTEGRATION)
        state = np.empty(size)
        mujoco.mj_getState(self.model, self.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        return state

    @contextmanager
    def watched(self, watcher: Callable[[], None]) -> Iterator[None]:
        """Call `watcher` after every step of the physics, except for those that are `undone`.

        What it measures and takes pictures of is to be `caught_up`. The scene must stay the same.
        """
        with self.arm.watched(watcher):
            yield

    @contextmanager
    def caught_up(self) -> Iterator[None]:
        """Between two steps, poses and pictures inside are those of now.

        Nothing may move there, so that the physics goes on to the last bit as if nobody had looked.
        """
        with self._scene.caught_up():
            yield

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Whatever moves inside is taken back on leaving, unseen; the look is not touched."""
        scene, state, closedness = self._scene, self.state, self.arm.closedness
        watcher, self.arm.on_step = self.arm.on_step, None
        floating = self.model.body_gravcomp.copy()
        try:
            yield
        finally:
            self._scene = scene
            self.model.body_gravcomp[:] = floating
            mujoco.mj_setState(self.model, self.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
            self.arm.closedness, self.arm.on_step = closedness, watcher
            mujoco.mj_forward(self.model, self.data)

    def close(self) -> None:
        """Give the drawing contexts back; a world can be looked at again afterwards."""
        self._scene.close()
        self._opened.close()


def _check_camera(name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UnknownNameError("camera", name, known)
