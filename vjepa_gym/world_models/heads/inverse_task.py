"""Training of the inverse-dynamics head: whatever an episode came to show was its goal.

Every later view of an episode is taken for the goal of what was done before it (hindsight; Ghosh
et al., Learning to Reach Goals via Iterated Supervised Learning, 2021).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from vjepa_gym import kinematics
from vjepa_gym.learning.clips import clip_starts
from vjepa_gym.learning.training_config import TrainingConfig
from vjepa_gym.world_models.heads.inverse import (
    MOVED,
    ActionChunk,
    InverseDynamics,
    InverseDynamicsConfig,
    gripper_moves,
)
from vjepa_gym.world_models.heads.key_poses import KeyPoses
from vjepa_gym.world_models.heads.registry import HeadData

STEPS_TOLD = 0.75
"""How often the head is told in how many steps a goal is to be reached."""
SPREAD_WEIGHT, GRIPPER_WEIGHT = 0.1, 0.1
"""What the likelihood of the spread and the gripper's cross-entropy count beside the error of a
displacement."""
READER_WEIGHT = 1.0
"""Likewise the error of the poses that are read off the two views."""
KEY_WEIGHT = 1.0
"""Likewise the error of the next key pose."""


def inverse_sizes() -> InverseDynamicsConfig:
    """Return the sizes of a new head: one that reads poses, and tells the next key pose."""
    return InverseDynamicsConfig(width=384, depth=3, reader_width=256, key_poses=True)


def inverse_training() -> TrainingConfig:
    """Return how the head is trained by default."""
    return TrainingConfig(steps=4000, batch_size=256, learning_rate=2e-3, decay=0.5)


@dataclass(frozen=True, kw_only=True)
class GoalPlan:
    """The moments of a batch.

    Attributes:
        rows: Of the present views.
        steps: How many rows later their goals are.
        told: Whether the head is told so.
    """

    rows: Int64[np.ndarray, " batch"]
    steps: Int64[np.ndarray, " batch"]
    told: Bool[np.ndarray, " batch"]

    @property
    def size(self) -> int:
        """How many moments there are."""
        return len(self.rows)


class InverseObjective(nn.Module):
    """The loss of a batch of moments: how far off the head is, and how far off it says it is."""

    def __init__(self, head: InverseDynamics) -> None:
        super().__init__()
        self.head = head

    def forward(
        self,
        latents: Float[Tensor, "batch tokens dim"],
        goals: Float[Tensor, "batch tokens dim"],
        poses: Float[Tensor, "batch 7"],
        steps: Int64[Tensor, " batch"],
        actions: Float[Tensor, "batch horizon 7"],
        goal_poses: Float[Tensor, "batch 7"],
        key_poses: Float[Tensor, "batch 7"],
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss, and what it is made of.

        Args:
            latents: Of the present views.
            goals: Of the later ones.
            poses: At the present views.
            steps: How much later; 0 where the head is not told.
            actions: What was done; nothing once the goal was reached.
            goal_poses: At the later views.
            key_poses: Where the hand next opened or closed before that, or else was at the goal.
        """
        chunk: ActionChunk = self.head(latents.float(), goals.float(), poses, steps)
        wanted = actions[..., :MOVED] / self.head.action_scale
        off = (chunk.median - wanted).abs()
        # The median is not learnt through the likelihood: what can be told exactly, such as that
        # the hand does not turn, would drown all else.
        spread = (off.detach() / chunk.spread + chunk.spread.log()).mean()
        gripper = nn.functional.cross_entropy(
            chunk.gripper.flatten(0, 1), gripper_moves(actions[..., 6]).flatten()
        )
        metrics = {
            "displacement": off[:, 0, :3].mean().detach(),
            "spread": spread.detach(),
            "gripper": gripper.detach(),
        }
        loss = off.mean() + SPREAD_WEIGHT * spread + GRIPPER_WEIGHT * gripper
        if chunk.read is not None:
            wrong = pose_error(self.head, chunk.read, torch.stack([poses, goal_poses], 1))
            metrics["read"] = wrong[..., :3].mean().detach()
            loss = loss + READER_WEIGHT * wrong.mean()
        if chunk.key is not None:
            away = (chunk.key - self.head.normalise(key_poses)).abs()
            metrics["key"] = away[:, :3].mean().detach()
            loss = loss + KEY_WEIGHT * away.mean()
        return loss, metrics


def pose_error(
    head: InverseDynamics, read: Float[Tensor, "*n 7"], poses: Float[Tensor, "*n 7"]
) -> Float[Tensor, "*n 7"]:
    """Return how far off poses are that a head read off views, in units of how much they vary.

    Of closedness it is the square: most hands are open, and the least absolute error says that all
    are.
    """
    off = read - head.normalise(poses)
    return torch.cat([off[..., :6].abs(), off[..., 6:].square()], -1)


class InverseTask:
    """Trains the head on pairs of views of an episode, near ones more often than far ones."""

    def __init__(self, data: HeadData, head: InverseDynamics, training: TrainingConfig) -> None:
        """Look up what was done when, and fit the head's scales.

        Raises:
            DatasetError: No episode has two views.
        """
        frames = data.frames
        self._data, self._training = data, training
        self._goal_steps, self._horizon = head.config.goal_steps, head.config.horizon
        self._starts = clip_starts(frames.offsets, 2)
        ends = np.asarray(frames.offsets[1:])
        self._left = ends[np.searchsorted(ends, self._starts, "right")] - 1 - self._starts
        self._poses = torch.tensor(frames.poses)
        self._keys = KeyPoses(self._poses, np.asarray(frames.offsets))
        # A step out of an episode is never looked at: goals are within it.
        last = np.minimum(np.arange(len(frames.poses)) + 1, len(frames.poses) - 1)
        self._actions = torch.from_numpy(kinematics.difference(frames.poses, frames.poses[last]))
        head.fit_normalisation(
            self._poses.to(head.state_mean.device),
            self._actions[self._starts].to(head.state_mean.device),
        )
        self._objective = InverseObjective(head)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Return the head."""
        return {"head": self._objective.head}

    @property
    def objective(self) -> nn.Module:
        """Return what maps a batch to its loss."""
        return self._objective

    def plan(self, step: int, steps: int, generator: torch.Generator) -> GoalPlan:  # noqa: ARG002
        """Draw views, and later ones of the same episodes: `n` steps ahead as often as `1 / n`."""
        size = (self._training.batch_size,)
        drawn = torch.randint(len(self._starts), size, generator=generator).numpy()
        where = torch.rand(size, generator=generator, dtype=torch.float64).numpy()
        told = torch.rand(size, generator=generator).numpy() < STEPS_TOLD
        most = np.minimum(self._left[drawn], self._goal_steps)
        ahead = np.floor(np.exp(where * np.log(most + 1.0))).astype(np.int64)
        return GoalPlan(rows=self._starts[drawn], steps=np.clip(ahead, 1, most), told=told)

    def load(self, plan: GoalPlan, part: slice) -> dict[str, Any]:
        """Return the moments `part` of a batch, as `InverseObjective.forward` takes them."""
        rows, steps = plan.rows[part], plan.steps[part]
        within = np.arange(self._horizon)
        before = torch.from_numpy(within < steps[:, None])
        last = len(self._actions) - 1
        done = self._actions[np.minimum(rows[:, None] + within, last)]
        return {
            "latents": torch.from_numpy(np.asarray(self._data.latents[rows])),
            "goals": torch.from_numpy(np.asarray(self._data.latents[rows + steps])),
            "poses": self._poses[rows],
            "steps": torch.from_numpy(np.where(plan.told[part], steps, 0)),
            "actions": torch.where(before[..., None], done, 0.0),
            "goal_poses": self._poses[rows + steps],
            "key_poses": self._keys.between(rows, rows + steps),
        }

    def describe(self, plan: GoalPlan, part: slice) -> list[str]:
        """Return which episodes the moments are of, and how far their goals are."""
        offsets = self._data.frames.offsets
        rows = plan.rows[part]
        episodes = np.searchsorted(offsets, rows, "right") - 1
        return [
            f"episode {episode} at frame {row - offsets[episode]}, {steps} steps before its goal"
            for episode, row, steps in zip(episodes, rows, plan.steps[part], strict=True)
        ]

    def after_step(self, done: float) -> None:
        """Do nothing: there is no moving average."""

    def export(
        self, folder: Path, weights: Mapping[str, Mapping[str, Tensor]], step: int, steps: int
    ) -> None:
        """Write nothing: the head is written when it is finished."""
