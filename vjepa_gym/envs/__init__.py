"""Gymnasium environments that mirror V-JEPA 2's tabletop tasks (arXiv 2506.09985, section 4)."""

import gymnasium as gym

REACH = "vjepa_gym/FrankaReach-v0"


def register() -> None:
    """Tell Gymnasium our ids; nothing heavy is imported until an environment is made."""
    gym.register(REACH, entry_point="vjepa_gym.envs.tasks.reach:make_reach", max_episode_steps=10)
