"""The same tasks without pictures, as goal-conditioned environments for Stable-Baselines3."""

from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

from vjepa_gym.envs.tabletop import TabletopEnv
from vjepa_gym.envs.task import Task
from vjepa_gym.errors import UnknownNameError

REWARDS = ("sparse", "distance", "dense")


class StateEnv(TabletopEnv):
    """A tabletop task with the true state as observation and nothing drawn.

    The observation is a dictionary, as hindsight experience replay needs it: `observation`, float32
    [7] the pose and, where the task is about an object, [19]: the object's position [m] and
    quaternion (w x y z), its offset from the tool centre [m], and whether each finger touches it;
    `achieved_goal` and `desired_goal`, float32 [3], places in the base frame [m].

    The reward is `compute_reward`'s, 0 when near enough and -1 before (`sparse`), or minus the
    distance between the two goals [m] (`distance`), which a replay buffer may compute again for
    other goals. With `dense` it is the share of the task that is done, which no buffer can.
    """

    def __init__(self, task: Task, *, reward: str = "sparse", **kwargs: Any) -> None:
        """Load the lab; the other arguments are those of `TabletopEnv`.

        Raises:
            UnknownNameError: There is no such reward.
        """
        if reward not in REWARDS:
            raise UnknownNameError("reward", reward, REWARDS)
        super().__init__(
            task,
            reward="dense" if reward == "dense" else "sparse",
            **{"goal_images": False, "image_size": 128} | kwargs,
        )
        self._reward = reward
        size = 19 if task.target else 7
        place = Box(-3.0, 3.0, (3,), np.float32)
        self.observation_space = cast(
            "gym.Space[Any]",
            gym.spaces.Dict(
                {
                    "observation": Box(-10.0, 10.0, (size,), np.float32),
                    "achieved_goal": place,
                    "desired_goal": place,
                }
            ),
        )

    def step(self, action: Any) -> Any:
        """Move, and reward by the two goals unless told otherwise."""
        observation, reward, terminated, truncated, info = super().step(action)
        if self._reward != "dense":
            achieved = self.task.achieved_goal(self.world)
            reward = float(self.compute_reward(achieved, self.task.desired_goal(self.world), info))
        return observation, reward, terminated, truncated, info

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """Return the reward of being at one place when another was wanted; see `TabletopEnv`."""
        if self._reward == "distance":
            away = np.asarray(achieved_goal) - np.asarray(desired_goal)
            return -np.linalg.norm(away, axis=-1).astype(np.float32)
        return super().compute_reward(achieved_goal, desired_goal, info)

    def observe(self) -> Any:
        """Return the true state and the two goals."""
        world, target = self.world, self.task.target
        parts = [world.arm.pose]
        if target:
            pose = world.object_pose(target)
            parts += [pose, pose[:3] - world.arm.tool, world.touches(target)]
        return {
            "observation": np.concatenate(parts).astype(np.float32),
            "achieved_goal": self.task.achieved_goal(world).astype(np.float32),
            "desired_goal": self.task.desired_goal(world).astype(np.float32),
        }
