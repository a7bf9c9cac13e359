"""A robot that is a point, its picture three blurred shadows, and a world model that is right."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from vjepa_gym import kinematics
from vjepa_gym.spaces import WORKSPACE_HIGH, WORKSPACE_LOW, action_space, clip_action
from vjepa_gym.world_models.base import Context, Imagined

SIZE = 12
BLUR = 0.12
LOW, HIGH = torch.tensor(WORKSPACE_LOW).float(), torch.tensor(WORKSPACE_HIGH).float()
TOY = "vjepa_gym_tests/Toy-v0"


def draw(poses: Tensor) -> Tensor:
    """Return pictures [... SIZE SIZE 3] in 0 .. 255: where the point is in xy, xz and yz."""
    grid = torch.linspace(0, 1, SIZE)
    shadows = [
        torch.exp(-((LOW[i] + grid * (HIGH - LOW)[i] - poses[..., i, None]) ** 2) / 2 / BLUR**2)
        for i in range(3)
    ]
    pairs = [(0, 1), (0, 2), (1, 2)]
    return 255 * torch.stack(
        [shadows[i][..., :, None] * shadows[j][..., None, :] for i, j in pairs], -1
    )


def picture(pose: np.ndarray) -> np.ndarray:
    return draw(torch.from_numpy(pose)).round().to(torch.uint8).numpy()


class ToyWorldModel:
    """Knows exactly how the toy moves and looks."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, images: Tensor) -> Tensor:
        self.encoded += len(images)
        return images.float().flatten(1, 2) / 255

    def imagine(self, context: Context, actions: Tensor) -> Imagined:
        poses = context.poses[:, -1, None, None] + actions.cumsum(2)
        latents = draw(poses).flatten(3, 4) / 255
        return Imagined(context=context, actions=actions, latents=latents, poses=poses)


class ToyReach(gym.Env):
    """Speaks as the real environments do."""

    def __init__(self, distance: float | None = None, near: float = 0.04) -> None:
        pixels = gym.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        pose = gym.spaces.Box(-np.inf, np.inf, (7,), np.float32)
        self.observation_space = gym.spaces.Dict({"image": pixels, "pose": pose})
        self.action_space = action_space()
        self._distance, self._near = distance, near

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        start, goal = np.zeros((2, 7), np.float32)
        start[:3] = self.np_random.uniform(WORKSPACE_LOW + 0.15, WORKSPACE_HIGH - 0.15)
        way = self.np_random.normal(size=3)
        far = self.np_random.uniform(0.1, 0.14) if self._distance is None else self._distance
        goal[:3] = start[:3] + way / np.linalg.norm(way) * far
        self._pose, self._goal = start, goal
        views = {"images": picture(goal)[None], "poses": goal[None], "steps": np.array([10])}
        info = {"goal": views, "distance": self._far(), "is_success": self._far() <= self._near}
        return self._observe(), info | {"expert_action": self._expert()}

    def step(self, action: np.ndarray):
        action, clipped = clip_action(action)
        self._pose = kinematics.integrate(self._pose, action)
        success = self._far() <= self._near
        info = {"distance": self._far(), "is_success": success, "clipped": clipped}
        info["expert_action"] = self._expert()
        return self._observe(), float(success), False, False, info

    def _expert(self) -> np.ndarray:
        return clip_action(kinematics.difference(self._pose, self._goal))[0]

    def _far(self) -> float:
        return float(np.linalg.norm(self._pose[:3] - self._goal[:3]))

    def _observe(self) -> dict[str, np.ndarray]:
        return {"image": picture(self._pose), "pose": self._pose.copy()}


def toy_envs(n: int, **kwargs: Any) -> gym.vector.VectorEnv:
    """Return `n` toys side by side that end after ten steps and do not restart by themselves."""
    if TOY not in gym.registry:
        gym.register(TOY, entry_point=ToyReach, max_episode_steps=10, disable_env_checker=True)
    mode = {"autoreset_mode": gym.vector.AutoresetMode.DISABLED}
    return gym.make_vec(TOY, num_envs=n, vectorization_mode="sync", vector_kwargs=mode, **kwargs)
