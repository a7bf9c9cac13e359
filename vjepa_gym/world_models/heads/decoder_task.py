"""Training of the decoder: frozen latents in, the frames that they are of out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from vjepa_gym.learning.training_config import TrainingConfig
from vjepa_gym.world_models.heads.decoder import Decoder
from vjepa_gym.world_models.heads.registry import HeadData

EMPHASIS = 1.0
"""How much more pixels count that differ from the mean image: the arm is a small part of all."""
EDGES = 0.5
"""Weight of the error of differences between neighbouring pixels, which keeps edges sharp."""
SAMPLE = 1024
"""Frames that the mean image is of."""


def decoder_training() -> TrainingConfig:
    """Return how a decoder is trained: minutes on two CPU cores for `tiny`."""
    return TrainingConfig(
        steps=3000,
        batch_size=64,
        learning_rate=1e-3,
        decay=0.4,
        clip_gradients=1.0,
        checkpoint_every=500,
    )


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The frames of a batch.

    Attributes:
        rows: Their numbers.
    """

    rows: Int64[np.ndarray, " batch"]

    @property
    def size(self) -> int:
        """How many frames there are."""
        return len(self.rows)


class DrawingObjective(nn.Module):
    """The loss of a batch of frames."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        latents: Float[Tensor, "batch tokens dim"],
        images: UInt8[Tensor, "batch height width 3"],
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss, and the mean absolute error of colours from 0 to 255.

        Args:
            latents: As they were kept.
            images: The frames that they are of.
        """
        wanted = self.decoder.framing(images)
        drawn = self.decoder(latents.float()).float()
        mean = self.decoder.mean_image
        loss = weighted_error(drawn, wanted, mean) + EDGES * edge_error(drawn, wanted)
        with torch.no_grad():
            metrics = {
                "error": 255 * (drawn - wanted).abs().mean(),
                "mean_image_error": 255 * (mean - wanted).abs().mean(),
            }
        return loss, metrics


def weighted_error(
    drawn: Float[Tensor, "n 3 height width"],
    wanted: Float[Tensor, "n 3 height width"],
    mean: Float[Tensor, "3 height width"],
) -> Float[Tensor, ""]:
    """Return the mean absolute error, pixels weighted by how unlike the mean image they are.

    The weights of an image are 1 on average: 1 / (1 + `EMPHASIS`) where it is the mean image, and
    above 1 where it differs by more than it does on average.
    """
    unlike = (wanted - mean).abs().mean(1, keepdim=True)
    relative = unlike / unlike.mean((2, 3), keepdim=True).clamp(min=1e-6)
    weights = 1 + EMPHASIS * relative
    weights = weights / weights.mean((2, 3), keepdim=True)
    return (weights * (drawn - wanted).abs()).mean()


def edge_error(
    drawn: Float[Tensor, "n 3 height width"], wanted: Float[Tensor, "n 3 height width"]
) -> Float[Tensor, ""]:
    """Return the mean absolute error of the differences of neighbours, down and across."""
    error = drawn - wanted
    return error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()


class DecoderTask:
    """Trains a decoder on latents that were computed before: nothing reaches the encoder."""

    def __init__(self, data: HeadData, decoder: Decoder, training: TrainingConfig) -> None:
        """Give the decoder the mean image of the data, and make it ready.

        Args:
            data: Latents, and the frames that they are of.
            decoder: What is trained.
            training: How.

        Raises:
            ValueError: There are not as many latents as frames, or none.
        """
        rows, frames = len(data.latents), len(data.frames.images)
        if rows != frames or not rows:
            raise ValueError(
                f"a decoder learns from latents and their frames, one each; got {rows} latents of"
                f" {frames} frames"
            )
        self._data, self._decoder, self._training = data, decoder, training
        decoder.mean_image.copy_(_mean_image(decoder, data))
        self._objective = DrawingObjective(decoder)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Return the decoder."""
        return {"decoder": self._decoder}

    @property
    def objective(self) -> nn.Module:
        """Return what maps a batch to its loss."""
        return self._objective

    def plan(self, step: int, steps: int, generator: torch.Generator) -> Rows:  # noqa: ARG002
        """Draw frames."""
        drawn = torch.randint(
            len(self._data.latents), (self._training.batch_size,), generator=generator
        )
        return Rows(rows=drawn.numpy())

    def load(self, plan: Rows, part: slice) -> dict[str, Any]:
        """Return the frames `part` of a batch, as `DrawingObjective.forward` takes them."""
        rows = plan.rows[part]
        return {
            "latents": torch.from_numpy(np.array(self._data.latents[rows])),
            "images": torch.from_numpy(np.array(self._data.frames.images[rows])),
        }

    def describe(self, plan: Rows, part: slice) -> list[str]:
        """Return which frames those are."""
        return [f"frame {row}" for row in plan.rows[part]]

    def after_step(self, done: float) -> None:
        """Do nothing: there is no moving average."""

    def export(
        self, folder: Path, weights: Mapping[str, Mapping[str, Tensor]], step: int, steps: int
    ) -> None:
        """Write nothing: a head is written when it is trained."""


@torch.no_grad()
def _mean_image(decoder: Decoder, data: HeadData) -> Float[Tensor, "3 height width"]:
    """Return the mean of some frames from all over the data, as the encoder sees them."""
    count = len(data.frames.images)
    rows = np.unique(np.linspace(0, count - 1, min(SAMPLE, count)).round().astype(np.int64))
    total = torch.zeros_like(decoder.mean_image)
    for part in np.array_split(rows, -(-len(rows) // 64)):
        images = torch.from_numpy(np.array(data.frames.images[part])).to(total.device)
        total += decoder.framing(images).sum(0)
    return total / len(rows)
