"""The training of a macro model: teacher forcing and a roll-out, both by the L1 of latents."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa_gym import kinematics
from vjepa_gym.learning.clips import clip_starts
from vjepa_gym.learning.training_config import TrainingConfig
from vjepa_gym.world_models.heads.macro import MacroModel
from vjepa_gym.world_models.heads.registry import HeadData

STANDARDISED_BY = 16_384
"""Chunks of actions, evenly spread over the data, that the macro-actions are standardised by."""


@dataclass(frozen=True, kw_only=True)
class MacroPlan:
    """The clips of a batch.

    Attributes:
        firsts: The first row of each.
    """

    firsts: Int64[np.ndarray, " batch"]

    @property
    def size(self) -> int:
        """How many clips there are."""
        return len(self.firsts)


class MacroObjective(nn.Module):
    """The loss of a batch of clips."""

    def __init__(self, model: MacroModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        latents: Float[Tensor, "batch views tokens dim"],
        chunks: Float[Tensor, "batch steps stride 7"],
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the sum of both losses, and each of them beside that of predicting no change.

        Args:
            latents: Views a stride apart.
            chunks: The actions between them.
        """
        latents = latents.float()
        known, following = latents[:, :-1], latents[:, 1:]
        macros = self.model.encode_actions(chunks)
        forced = self.model(known.flatten(0, 1), macros.flatten(0, 1)).view_as(known)
        parts = [forced[:, :1]]
        if macros.shape[1] > 1:
            parts.append(self.model.roll_out(forced[:, 0], macros[:, 1:]))
        losses = {
            "teacher_forcing": (forced - following).abs().mean(),
            "rollout": (torch.cat(parts, 1) - following).abs().mean(),
        }
        metrics = {name: loss.detach() for name, loss in losses.items()}
        metrics["persistence"] = (known - following).abs().mean()
        return losses["teacher_forcing"] + losses["rollout"], metrics


class MacroTask:
    """Trains a macro model on clips of latents, and standardises its macro-actions at the end."""

    def __init__(self, data: HeadData, head: MacroModel, training: TrainingConfig) -> None:
        """Look up clips and actions, and scale the actions by their spread.

        Args:
            data: What to learn from.
            head: What is trained.
            training: How.

        Raises:
            DatasetError: No episode is long enough for a clip.
        """
        self._data, self._head, self._training = data, head, training
        offsets, poses = data.frames.offsets, data.frames.poses
        config = head.config
        self._reach = config.horizon * config.stride
        self._starts = clip_starts(offsets, self._reach + 1)
        self._chunk_starts = clip_starts(offsets, config.stride + 1)
        self._actions = torch.from_numpy(kinematics.difference(poses[:-1], poses[1:]))
        device = head.action_scale.device
        head.fit_normalisation(self._actions[clip_starts(offsets, 2)].to(device))
        self._objective = MacroObjective(head)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Return the macro model."""
        return {"macro": self._head}

    @property
    def objective(self) -> nn.Module:
        """Return what maps a batch to its loss."""
        return self._objective

    def plan(self, step: int, steps: int, generator: torch.Generator) -> MacroPlan:  # noqa: ARG002
        """Draw clips."""
        count = (self._training.batch_size,)
        drawn = torch.randint(len(self._starts), count, generator=generator)
        return MacroPlan(firsts=self._starts[drawn.numpy()])

    def load(self, plan: MacroPlan, part: slice) -> dict[str, Any]:
        """Return the clips `part` of a batch, as `MacroObjective.forward` takes them."""
        firsts, stride = plan.firsts[part], self._head.config.stride
        views = firsts[:, None] + np.arange(0, self._reach + 1, stride)
        moves = torch.from_numpy(firsts[:, None] + np.arange(self._reach))
        return {
            "latents": torch.from_numpy(self._data.latents[views]),
            "chunks": self._actions[moves].unflatten(1, (-1, stride)),
        }

    def describe(self, plan: MacroPlan, part: slice) -> list[str]:
        """Return which episodes the clips are of, and where they begin."""
        offsets, firsts = self._data.frames.offsets, plan.firsts[part]
        episodes = np.searchsorted(offsets, firsts, "right") - 1
        return [
            f"episode {episode} from frame {first - offsets[episode]}"
            for episode, first in zip(episodes, firsts, strict=True)
        ]

    def after_step(self, done: float) -> None:
        """Standardise the macro-actions after the last step."""
        if done < 1:
            return
        every = max(1, len(self._chunk_starts) // STANDARDISED_BY)
        starts = torch.from_numpy(self._chunk_starts[::every])
        rows = starts[:, None] + torch.arange(self._head.config.stride)
        self._head.standardise(self._actions[rows].to(self._head.action_scale.device))

    def export(
        self, folder: Path, weights: Mapping[str, Mapping[str, Tensor]], step: int, steps: int
    ) -> None:
        """Do nothing: whoever trains a head writes it."""


def macro_training() -> TrainingConfig:
    """Return a training that takes two busy cores less than ten minutes for the model `tiny`."""
    return TrainingConfig(
        steps=3500, batch_size=32, learning_rate=1e-3, decay=0.4, checkpoint_every=500
    )
