"""Planning problems to compare searches on: what is seen now, and what should be."""

from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.agents.base import Cost, Energy
from vjepa_gym.experiments.benchmark.rollout import imagine_plainly
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.base import Context, Imagined, Target
from vjepa_gym.world_models.poses import follow
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

PLAIN_TOKENS = 65_536
"""Tokens that pass the predictor at once in the plain computation, which keeps its memory low."""


@runtime_checkable
class Imagines(Protocol):
    """Part of a world model: what tells what would be seen."""

    def imagine(self, context: Context, actions: Float[Tensor, "n samples horizon 7"]) -> Imagined:
        """Return what would be seen after each of the actions."""
        ...


@dataclass(frozen=True)
class Problems:
    """Some robots, each before a goal.

    Attributes:
        context: What each sees.
        target: What it should see.
    """

    context: Context
    target: Target

    def __len__(self) -> int:
        return len(self.target.latents)

    def part(self, rows: slice) -> "Problems":
        """Return some of them."""
        context = replace(
            self.context,
            latents=self.context.latents[rows],
            poses=self.context.poses[rows],
            actions=self.context.actions[rows],
        )
        return Problems(context, replace(self.target, latents=self.target.latents[rows]))

    def cost(self, world_model: Imagines, energy: Energy) -> Cost:
        """Return the energy of action sequences, imagined by a world model."""

        def cost(actions: Float[Tensor, "n samples horizon 7"]) -> Float[Tensor, "n samples"]:
            return energy(world_model.imagine(self.context, actions), self.target)

        return cost


class Uncached:
    """Imagines as the released code does: each sample's whole sequence is computed at each step."""

    def __init__(self, predictor: ACPredictor) -> None:
        self._predictor = predictor

    def imagine(self, context: Context, actions: Float[Tensor, "n samples horizon 7"]) -> Imagined:
        """Return what would be seen after each of the actions, as `VJEPA2AC.imagine` does."""
        frames = context.latents.shape[1] + actions.shape[2]
        tokens = len(actions) * frames * context.latents.shape[2]
        parts = actions.split(max(1, PLAIN_TOKENS // tokens), 1)
        latents = [imagine_plainly(self._predictor, context, part) for part in parts]
        start = context.poses[:, -1:].expand(-1, actions.shape[1], -1)
        return Imagined(
            context=context,
            actions=actions,
            latents=torch.cat(latents, 1),
            poses=follow(start, actions),
        )


def draw_problems(model: VJEPA2AC, env_id: str, count: int, seed: int) -> Problems:
    """Return the starts of `count` episodes of an environment, each with its first goal image.

    Args:
        model: Encodes what is seen.
        env_id: Registered name.
        count: How many.
        seed: Of the first episode; the others have the following ones.

    Raises:
        RenderingError: This machine has no working OpenGL.
    """
    images, goals, poses = [], [], []
    with closing(gym.make(env_id)) as env:
        for number in range(count):
            observation, info = env.reset(seed=seed + number)
            images.append(observation["image"])
            poses.append(observation["pose"])
            goals.append(info["goal"]["images"][0])
    latents = model.encode(np.stack(images))
    return Problems(
        Context(
            latents=latents[:, None],
            poses=torch.from_numpy(np.stack(poses)).to(latents.device)[:, None],
            actions=latents.new_zeros(count, 0, 7),
        ),
        Target(latents=model.encode(np.stack(goals))),
    )
