"""Gymnasium environments that mirror V-JEPA 2's tabletop tasks (arXiv 2506.09985, section 4)."""

import gymnasium as gym

from vjepa_gym.errors import UnknownNameError

REACH = "vjepa_gym/FrankaReach-v0"


def check_id(env_id: str) -> None:
    """Do nothing if Gymnasium knows the id, or will once it has imported the module that it names.

    Raises:
        UnknownNameError: It does not; lists ours.
    """
    if ":" not in env_id and env_id not in gym.registry:
        ours = [name for name in gym.registry if name.startswith("vjepa_gym/")]
        raise UnknownNameError("environment", env_id, ours)


def register() -> None:
    """Tell Gymnasium our ids; nothing heavy is imported until an environment is made."""
    gym.register(REACH, entry_point="vjepa_gym.envs.tasks.reach:make_reach", max_episode_steps=10)
