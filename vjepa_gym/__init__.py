"""A simulation-first robotics research gym: V-JEPA 2-AC planning for a Franka in MuJoCo, and beyond."""

from importlib.metadata import version

from vjepa_gym.envs import register as _register

__version__ = version("vjepa-gym")

_register()
