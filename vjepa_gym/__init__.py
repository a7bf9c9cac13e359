"""A simulation-first robotics research gym: plan with V-JEPA 2-AC for a Franka in MuJoCo."""

from importlib.metadata import version

from vjepa_gym.envs import register as _register

__version__ = version("vjepa-gym")

_register()
