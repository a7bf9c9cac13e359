"""Post-training as a task of the training loop: clips of latents, and what is lost on them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor, nn

from vjepa_gym import kinematics
from vjepa_gym.learning.checkpoints import save_model, to_json
from vjepa_gym.learning.clips import clip_starts
from vjepa_gym.types import Frames
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.post_training_config import PostTrainingConfig
from vjepa_gym.world_models.rollout_loss import prediction_losses
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

Encode = Callable[[UInt8[Tensor, "n height width 3"]], Float[Tensor, "n tokens dim"]]


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """The clips of a batch.

    Attributes:
        rows: Of the frames of each clip.
        start: True frames that a rollout is given, the same in the whole batch.
    """

    rows: Int64[np.ndarray, "batch frames"]
    start: int

    @property
    def size(self) -> int:
        """How many clips there are."""
        return len(self.rows)


class PredictionObjective(nn.Module):
    """The loss of a batch of clips; only the predictor has weights that are trained."""

    def __init__(
        self, predictor: ACPredictor, training: PostTrainingConfig, encode: Encode
    ) -> None:
        """Point at the predictor.

        Args:
            predictor: What is trained.
            training: How.
            encode: Gives the latents of frames where a batch has none. What it computes with is
                frozen and no part of this module, so that it is neither saved nor sharded.
        """
        super().__init__()
        self.predictor = predictor
        self._training, self._encode = training, encode

    def forward(
        self,
        poses: Float[Tensor, "batch frames 7"],
        actions: Float[Tensor, "batch steps 7"],
        start: int,
        latents: Float[Tensor, "batch frames tokens dim"] | None = None,
        images: UInt8[Tensor, "batch frames height width 3"] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the sum of the two losses, and each of them.

        Args:
            poses: Measured poses.
            actions: What was done between the frames.
            start: True frames that the rollout is given.
            latents: Latents of the frames.
            images: The frames themselves, if there are no latents of them.
        """
        known = self._encoded(images) if latents is None else latents.float()
        forced, rolled = prediction_losses(
            self.predictor,
            known,
            poses,
            actions,
            start=start,
            steps=self._training.rollout_steps,
            exponent=self._training.loss_exponent,
        )
        metrics = {
            "teacher_forcing": forced.detach(),
            "rollout": rolled.detach(),
            "persistence": (known[:, 1:] - known[:, :-1]).abs().mean(),
        }
        return forced + rolled, metrics

    @torch.no_grad()
    def _encoded(
        self, images: UInt8[Tensor, "batch frames height width 3"] | None
    ) -> Float[Tensor, "batch frames tokens dim"]:
        if images is None:
            raise ValueError("a batch has latents or images")
        # As latents that are kept: in a precision of the encoder's own, then in 16 bits.
        with torch.autocast(images.device.type, enabled=False):
            latents = self._encode(images.flatten(0, 1)).half().float()
        return latents.unflatten(0, images.shape[:2])


class PostTraining:
    """Trains a predictor on clips of latents, which were computed once or are when needed.

    Attributes:
        latents: Of all frames; None has the frames of each batch encoded.
    """

    latents: Shaped[np.ndarray, "rows tokens dim"] | None = None

    def __init__(
        self,
        frames: Frames,
        world_model: VJEPA2AC,
        training: PostTrainingConfig,
        *,
        fit_normalisation: bool = True,
        encode: Encode | None = None,
    ) -> None:
        """Look up clips and actions, and make the predictor ready.

        Args:
            frames: Episodes.
            world_model: Whose predictor is trained.
            training: How.
            fit_normalisation: Whether poses and actions are scaled by their spread in these data
                from now on, as a new predictor wants it; a trained one knows its own scales.
            encode: Gives the latents of frames where they are computed when needed; the world
                model does if None.

        Raises:
            DatasetError: No episode is long enough for a clip.
            ValueError: The predictor wants the camera's extrinsics, which frames do not have.
        """
        if world_model.config.ac_predictor.use_extrinsics:
            raise ValueError(
                "the predictor takes the camera's extrinsics, and there are none beside the frames"
                " that it is trained on; take one with use_extrinsics=false"
            )
        self._frames, self._world_model, self._training = frames, world_model, training
        stride = training.stride
        self._starts = clip_starts(frames.offsets, training.frames, stride)
        self._poses = torch.tensor(frames.poses)
        self._actions = torch.from_numpy(
            kinematics.difference(frames.poses[:-stride], frames.poses[stride:])
        )
        predictor = world_model.predictor.requires_grad_(True)
        predictor.checkpointing = training.activation_checkpointing
        if fit_normalisation:
            moves = self._actions[clip_starts(frames.offsets, 2, stride)]
            predictor.fit_normalisation(
                self._poses.to(world_model.device), moves.to(world_model.device)
            )
        self._objective = PredictionObjective(predictor, training, encode or world_model.encode)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Return the predictor: the encoder is frozen."""
        return {"predictor": self._world_model.predictor}

    @property
    def objective(self) -> nn.Module:
        """Return what maps a batch to its loss."""
        return self._objective

    def plan(self, step: int, steps: int, generator: torch.Generator) -> ClipPlan:  # noqa: ARG002
        """Draw clips, and how many true frames the rollout of all of them begins with."""
        training = self._training
        drawn = torch.randint(len(self._starts), (training.batch_size,), generator=generator)
        within = training.stride * np.arange(training.frames)
        rows = self._starts[drawn.numpy()][:, None] + within
        return ClipPlan(rows=rows, start=self._draw_start(generator))

    def load(self, plan: ClipPlan, part: slice) -> dict[str, Any]:
        """Return the clips `part` of a batch, as `PredictionObjective.forward` takes them."""
        rows = plan.rows[part]
        indices = torch.from_numpy(rows)
        batch: dict[str, Any] = {
            "poses": self._poses[indices],
            "actions": self._actions[indices[:, :-1]],
            "start": plan.start,
        }
        if self.latents is not None:
            return batch | {"latents": torch.from_numpy(self.latents[rows])}
        images = np.asarray(self._frames.images[rows.ravel()])
        return batch | {"images": torch.from_numpy(images).unflatten(0, rows.shape)}

    def describe(self, plan: ClipPlan, part: slice) -> list[str]:
        """Return which episodes the clips are of, and where they begin."""
        offsets = self._frames.offsets
        firsts = plan.rows[part, 0]
        episodes = np.searchsorted(offsets, firsts, "right") - 1
        return [
            f"episode {episode} from frame {first - offsets[episode]}"
            for episode, first in zip(episodes, firsts, strict=True)
        ]

    def after_step(self, done: float) -> None:
        """Do nothing: there is no moving average."""

    def export(
        self, folder: Path, weights: Mapping[str, Mapping[str, Tensor]], step: int, steps: int
    ) -> None:
        """Write the whole world model."""
        encoder = self._world_model.encoder.state_dict()
        whole = {f"encoder.{name}": x for name, x in encoder.items()}
        whole |= {f"predictor.{name}": x for name, x in weights["predictor"].items()}
        save_model(
            folder,
            weights=whole,
            config=to_json(self._world_model.config),
            training={"step": step, "steps": steps},
        )

    def _draw_start(self, generator: torch.Generator) -> int:
        """Return how many true frames a rollout is given."""
        if not self._training.random_start:
            return 1
        most = self._training.frames - self._training.rollout_steps
        return int(torch.randint(1, most + 1, (), generator=generator))
