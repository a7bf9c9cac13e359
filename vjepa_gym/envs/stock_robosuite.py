"""robosuite as it comes, for comparison: its Panda at its table, its controller, its camera.

Its scene, meshes, lights, shadows and controller are the defaults of its `Lift`, at 5 Hz: one step
is 0.2 s of arm motion. Only the camera is moved, to where ours stands.
"""

from typing import Any

import numpy as np

from vjepa_gym.sim.stock import import_robosuite
from vjepa_gym.types import Image

STEP_SECONDS = 0.2
"""How long the arm moves in a step [s]."""
REACH = 0.05
"""Displacement that an action of 1 asks for [m]."""
CAMERA = "agentview"
TOOL = "gripper0_right_grip_site"
BASE = "robot0_base"
OPEN = -1.0


class StockRobosuite:
    """robosuite's own environment, with as much of ours around it as a comparison needs."""

    def __init__(self, image_size: int, seed: int = 0) -> None:
        """Make its environment; each step ends with a picture of `image_size` px.

        Raises:
            VJEPAGymError: robosuite is not installed.
        """
        self._env: Any = import_robosuite().make(
            "Lift",
            robots="Panda",
            control_freq=1 / STEP_SECONDS,
            has_renderer=False,
            has_offscreen_renderer=True,
            renderer="mujoco",
            camera_names=CAMERA,
            camera_heights=image_size,
            camera_widths=image_size,
            hard_reset=False,
            ignore_done=True,
            seed=seed,
        )
        self._joints = [f"robot0_joint{i}" for i in range(1, 8)]
        self.reset()

    def reset(self) -> None:
        """Put the arm back to its start, and the cube somewhere."""
        self._draw_here()
        self._env.reset()

    def step(self, displacement: np.ndarray) -> Image:
        """Ask for a displacement `x y z` [m] and return what the camera sees 0.2 s later."""
        self._draw_here()
        action = np.array([*(np.asarray(displacement) / REACH), 0.0, 0.0, 0.0, OPEN])
        seen, *_ = self._env.step(action)
        return seen[f"{CAMERA}_image"][::-1]

    @property
    def tool(self) -> np.ndarray:
        """Where the point between the finger tips is [m], relative to the robot's base."""
        data, model = self._env.sim.data, self._env.sim.model
        base = data.body_xpos[model.body_name2id(BASE)]
        return np.array(data.site_xpos[model.site_name2id(TOOL)] - base)

    def image(self, size: int) -> Image:
        """Return what the camera sees now."""
        self._draw_here()
        seen = self._env.sim.render(camera_name=CAMERA, width=size, height=size)
        return np.ascontiguousarray(seen[::-1])

    def imitate(
        self, joints: np.ndarray, position: np.ndarray, quat_wxyz: np.ndarray, fovy: float
    ) -> None:
        """Put the arm and the camera where ours are, for a picture of the same.

        Args:
            joints: Joint angles of the arm [rad].
            position: Of the camera, relative to the robot's base [m].
            quat_wxyz: Its orientation, as MuJoCo's cameras have it.
            fovy: Its vertical field of view [deg].
        """
        sim = self._env.sim
        camera = sim.model.camera_name2id(CAMERA)
        base = sim.data.body_xpos[sim.model.body_name2id(BASE)]
        sim.model.cam_pos[camera] = base + position
        sim.model.cam_quat[camera] = quat_wxyz
        sim.model.cam_fovy[camera] = fovy
        for name, angle in zip(self._joints, joints, strict=True):
            sim.data.set_joint_qpos(name, angle)
        sim.forward()

    def _draw_here(self) -> None:
        """Take OpenGL from whoever drew last: robosuite expects to be alone."""
        self._env.sim._render_context_offscreen.gl_ctx.make_current()

    def close(self) -> None:
        """Give the drawing context back."""
        self._env.close()
