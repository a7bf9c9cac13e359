"""What a world model sees in some scenes of the simulator: images like those it is for."""

from contextlib import closing
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vjepa_gym.envs import REACH
from vjepa_gym.world_models.base import Context
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

REACHED = torch.tensor([0.05, 0.05, 0.05, 0.0, 0.0, 0.0, 0.5])
"""Deviation of random actions [m, rad, closedness]."""


@dataclass(frozen=True)
class Scenes:
    """Frames of several scenes, each with random moves between them.

    Attributes:
        images: What was seen.
        latents: What the model makes of it.
        poses: Where the arm was.
        actions: What was done between them.
    """

    images: UInt8[Tensor, "scenes frames height width 3"]
    latents: Float[Tensor, "scenes frames tokens dim"]
    poses: Float[Tensor, "scenes frames 7"]
    actions: Float[Tensor, "scenes moves 7"]

    def context(self, past: int) -> Context:
        """Return the last `past` frames of the first scene."""
        first = slice(0, 1)
        return Context(
            latents=self.latents[first, -past:],
            poses=self.poses[first, -past:],
            actions=self.actions[first, self.actions.shape[1] - past + 1 :],
        )


def look(model: VJEPA2AC, scenes: int, frames: int, seed: int) -> Scenes:
    """Return `frames` frames of so many scenes that the simulator draws.

    Raises:
        RenderingError: This machine has no working OpenGL.
    """
    images, poses, actions = [], [], []
    moves = draw_actions(scenes, max(frames - 1, 1), seed)[0].numpy()
    with closing(gym.make(REACH, goal_images=False)) as env:
        for scene in range(scenes):
            observation, _ = env.reset(seed=seed + scene)
            seen = [observation]
            seen += [env.step(moves[scene, i])[0] for i in range(frames - 1)]
            images.append(np.stack([view["image"] for view in seen]))
            poses.append(np.stack([view["pose"] for view in seen]))
            actions.append(moves[scene, : frames - 1])
    pixels = torch.from_numpy(np.stack(images))
    latents = model.encode(pixels.flatten(0, 1)).unflatten(0, (scenes, frames))
    return Scenes(
        pixels,
        latents,
        torch.from_numpy(np.stack(poses)).to(latents.device),
        torch.from_numpy(np.stack(actions)).to(latents.device),
    )


def draw_actions(samples: int, horizon: int, seed: int) -> Float[Tensor, "1 samples horizon 7"]:
    """Return random actions such as a search draws first, of one robot."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(1, samples, horizon, 7, generator=generator) * REACHED
    drawn[..., :3] = drawn[..., :3].clamp(-0.075, 0.075)
    drawn[..., 6] = drawn[..., 6].clamp(-0.75, 0.75)
    return drawn
