"""Masked pretraining with the recovery of actions beside it, as one task."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from vjepa_gym import kinematics
from vjepa_gym.errors import DatasetError, TrainingError
from vjepa_gym.learning.layers import initialise
from vjepa_gym.types import Frames
from vjepa_gym.world_models.heads.inverse import InverseDynamics
from vjepa_gym.world_models.heads.key_poses import KeyPoses
from vjepa_gym.world_models.masked_objective import MaskedObjective
from vjepa_gym.world_models.preprocessing import Preprocessing
from vjepa_gym.world_models.presets import ModelConfig
from vjepa_gym.world_models.pretraining_task import MaskedPretraining, PretrainingPlan
from vjepa_gym.world_models.recovery import RecoveryConfig, RecoveryObjective
from vjepa_gym.world_models.warping import draw_warps, warp

TOLD = 0.5
"""How often the head is told in how many steps the second view is reached."""


@dataclass(frozen=True, kw_only=True)
class RecoveryPlan:
    """What is recovered in a step.

    Attributes:
        rows: Of the views of each episode, in order.
        first: Which of them each pair begins with.
        second: Which it ends with.
        told: Whether the head is told how far apart they are.
        gains: By how much the contrast of each colour is changed, the same for an episode.
        warps: How views are scaled, moved and turned, the same for an episode; None for not at all.
    """

    rows: Int64[np.ndarray, "episodes views"]
    first: Int64[np.ndarray, "episodes pairs"]
    second: Int64[np.ndarray, "episodes pairs"]
    told: Bool[np.ndarray, "episodes pairs"]
    gains: Float[Tensor, "episodes 3"]
    warps: Float64[np.ndarray, "episodes 2 3"] | None


@dataclass(frozen=True, kw_only=True)
class JointPlan:
    """The batch of a step: clips that are masked, and views of episodes.

    Attributes:
        masked: The clips.
        recovery: The views.
        alone: Whether the views are all that is looked at.
    """

    masked: PretrainingPlan
    recovery: RecoveryPlan
    alone: bool

    @property
    def size(self) -> int:
        """Clips in it."""
        return self.masked.size


class JointObjective(nn.Module):
    """Masked prediction, and a weight times the recovery."""

    def __init__(self, masked: MaskedObjective, recovery: RecoveryObjective, weight: float) -> None:
        super().__init__()
        self.masked, self.recovery, self._weight = masked, recovery, weight

    def forward(
        self, recovery: dict[str, Tensor], **masked: Any
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss and the metrics of both; without clips those of the recovery."""
        recovered, more = self.recovery(**recovery)
        more["recovery"] = recovered.detach()
        if not masked:
            # Processes exchange the gradients of all that is trained, in every step.
            nothing = sum(weight.sum() for weight in self.masked.predictor.parameters())
            return self._weight * recovered + 0.0 * nothing, more
        loss, metrics = self.masked(**masked)
        return loss + self._weight * recovered, {**metrics, "masked": loss.detach(), **more}


class RecoveringPretraining:
    """Trains an encoder by masked prediction, and so that the robot's doings can be told from it.

    Attributes:
        head: Tells them.
    """

    def __init__(
        self,
        masked: MaskedPretraining,
        frames: Frames,
        model: ModelConfig,
        recovery: RecoveryConfig,
        *,
        jitter: float = 0.0,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        """Put the term beside masked pretraining.

        Args:
            masked: The task as it is.
            frames: Episodes with poses, at the encoder's resolution.
            model: Sizes of the encoder.
            recovery: What is to be recovered.
            jitter: Most by which the contrast of each colour is changed.
            generator: Of new weights.
            device: Where to compute.

        Raises:
            DatasetError: No episode has as many views.
        """
        self._masked, self._frames, self._config, self._jitter = masked, frames, recovery, jitter
        starts, ends = np.asarray(frames.offsets[:-1]), np.asarray(frames.offsets[1:])
        long = ends - starts >= recovery.views
        if not long.any():
            raise DatasetError(
                f"Recovery looks at {recovery.views} views of an episode, and the longest of"
                f" {len(starts)} has {int((ends - starts).max(initial=0))} rows: collect longer"
                " ones, or set job.training.recovery.views."
            )
        self._starts, self._ends = starts[long], ends[long]
        last = np.minimum(np.arange(len(frames.poses)) + 1, len(frames.poses) - 1)
        actions = kinematics.difference(frames.poses, frames.poses[last])
        self._poses, self._actions = torch.tensor(frames.poses), torch.from_numpy(actions)
        self._keys = KeyPoses(self._poses, np.asarray(frames.offsets))
        self.head = InverseDynamics(recovery.head, model)
        initialise(self.head, generator)
        inside = np.ones(len(actions), bool)
        inside[ends - 1] = False
        self.head.fit_normalisation(self._poses, self._actions[torch.from_numpy(inside)])
        self._preprocessing = Preprocessing(model.preprocessing, model.encoder.image_size)
        self._objective = JointObjective(
            masked.objective,
            RecoveryObjective(masked.encoder, self.head).to(device),
            recovery.weight,
        )

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Return those of masked pretraining, and the head."""
        return {**self._masked.modules, "recovery": self.head}

    @property
    def objective(self) -> nn.Module:
        """Return what maps a batch to its loss."""
        return self._objective

    def plan(self, step: int, steps: int, generator: torch.Generator) -> JointPlan:
        """Draw clips and masks, then episodes, their views, and pairs of these, near ones first."""
        masked = self._masked.plan(step, steps, generator)
        alone = step <= self._config.alone * steps
        return JointPlan(masked=masked, recovery=self._draw(generator), alone=alone)

    def load(self, plan: JointPlan, part: slice) -> dict[str, Any]:
        """Read a part of the batch.

        Raises:
            DatasetError: A clip cannot be read.
            TrainingError: Episodes cannot be shared out as clips are.
        """
        chosen, drawn = self._share(plan, part), plan.recovery
        rows, first, second = drawn.rows[chosen], drawn.first[chosen], drawn.second[chosen]
        begin = np.take_along_axis(rows, first, 1)
        apart = np.take_along_axis(rows, second, 1) - begin
        within = np.arange(self.head.config.horizon)
        done = self._actions[np.minimum(begin[..., None] + within, len(self._actions) - 1)]
        before = torch.from_numpy(within < apart[..., None])
        views = np.asarray(self._frames.images[rows.ravel()])
        if drawn.warps is not None:
            views = warp(views, np.repeat(drawn.warps[chosen], rows.shape[1], 0))
        images = self._preprocessing(torch.from_numpy(views))
        images = images.unflatten(0, rows.shape) * drawn.gains[chosen][:, None, :, None, None]
        recovery = {
            "images": images,
            "poses": self._poses[rows],
            "first": torch.from_numpy(first),
            "second": torch.from_numpy(second),
            "steps": torch.from_numpy(np.where(drawn.told[chosen], apart, 0)),
            "actions": torch.where(before[..., None], done, 0.0),
            "key_poses": self._keys.between(begin, begin + apart),
        }
        masked = {} if plan.alone else self._masked.load(plan.masked, part)
        return {**masked, "recovery": recovery}

    def describe(self, plan: JointPlan, part: slice) -> list[str]:
        """Return which clips are in a part of the batch."""
        return self._masked.describe(plan.masked, part)

    def after_step(self, done: float) -> None:
        """Move the target encoder."""
        self._masked.after_step(done)

    def export(
        self, folder: Path, weights: Mapping[str, Mapping[str, Tensor]], step: int, steps: int
    ) -> None:
        """Write what masked pretraining writes; the head is dropped."""
        self._masked.export(folder, weights, step, steps)

    def _draw(self, generator: torch.Generator) -> RecoveryPlan:
        config = self._config
        seed = int(torch.randint(2**60, (), generator=generator))
        rng = np.random.default_rng(seed)
        which = rng.integers(len(self._starts), size=config.episodes)
        rows = np.stack([self._views(rng, episode) for episode in which.tolist()])
        begin, end = np.triu_indices(config.views, 1)
        apart = rows[:, end] - rows[:, begin]
        near = np.where(apart <= config.head.goal_steps, apart**-0.5, 1e-9)
        # The largest of these keys are a draw without replacement, by weight (Efraimidis and
        # Spirakis, Weighted random sampling with a reservoir, 2006).
        keys = -rng.exponential(size=near.shape) / near
        pairs = np.argsort(-keys, axis=1)[:, : config.pairs]
        told = rng.random(pairs.shape) < TOLD
        gains = rng.uniform(1 - self._jitter, 1 + self._jitter, (config.episodes, 3))
        warps = None
        if config.warp:
            side = self._frames.images.shape[1]
            warps = draw_warps(rng, config.episodes, config.warp, side)
        return RecoveryPlan(
            rows=rows,
            first=begin[pairs],
            second=end[pairs],
            told=told,
            gains=torch.from_numpy(gains).float(),
            warps=warps,
        )

    def _views(self, rng: np.random.Generator, episode: int) -> Int64[np.ndarray, " views"]:
        start, end = self._starts[episode], self._ends[episode]
        return np.sort(start + rng.permutation(end - start)[: self._config.views])

    def _share(self, plan: JointPlan, part: slice) -> slice:
        """Return which episodes belong to a part of the clips.

        Raises:
            TrainingError: They do not come out even.
        """
        episodes = len(plan.recovery.rows)
        first, end = part.start * episodes / plan.size, part.stop * episodes / plan.size
        if first != int(first) or end != int(end):
            raise TrainingError(
                f"{episodes} episodes of recovery cannot be shared out as the {plan.size} clips"
                " are: set job.training.recovery.episodes to a multiple of processes times"
                " accumulate."
            )
        return slice(int(first), int(end))
