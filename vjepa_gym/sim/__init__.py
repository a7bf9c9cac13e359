"""Physics and pictures, no tasks: the scene, the arm, the cameras."""

from vjepa_gym.sim.gl import import_mujoco

import_mujoco()
