"""How far views are from those that a model was trained on, measured in its own latents.

A view is a few numbers: its tokens averaged over a coarse grid, so that a camera that moved shows
as well as other colours do. Training views span a subspace of these. How far a view lies inside of
it, in standard deviations, and how far outside of it, are two distances (Moghaddam and Pentland,
PAMI 1997; of networks' features, Lee et al., arXiv 1807.03888), and each misses views that the
other tells. They are scaled by views of other episodes of the same kind, and taken together.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from vjepa_gym.errors import CheckpointError, DatasetError, PlanningError
from vjepa_gym.learning.checkpoints import digest_of_tensors, read_tensors, write_tensors
from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import WorldModel

FAMILIARITY_FILE = "familiarity.safetensors"
GRID = 2
"""Tokens are averaged over so many parts of a view's height, and of its width."""
MOST_DIRECTIONS = 64
"""Directions of the subspace."""
VIEWS_A_DIRECTION = 8
"""With fewer views than this for each direction, deviations along them would be of chance."""
SHARE = 0.99
"""Part of the views of other episodes that is nearer than 1."""
FITTED, JUDGED = 2048, 1024
"""Views that are drawn from the training episodes, and from the others."""
FEWEST = 8
"""With fewer views nothing is said."""
LEAST = 1e-4
"""Deviations below this part of the largest count as this: no direction is known exactly."""
TOGETHER = 64
"""Frames encoded at once."""
ENCODER = "encoder"
"""What the file calls the digest of the encoder."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Familiarity:
    """What training views look like to a model.

    Attributes:
        mean: Of their features: width of a token times `GRID` squared.
        directions: In which they vary most, orthonormal.
        deviations: Standard deviation along each.
        scales: Root mean square, over views of other episodes, of the distance inside the subspace
            (in deviations) and of that to it.
        limit: `SHARE` of these views have a distance below this, in those scales.
    """

    mean: Float32[Tensor, " features"]
    directions: Float32[Tensor, "directions features"]
    deviations: Float32[Tensor, " directions"]
    scales: Float32[Tensor, "2"]
    limit: Float32[Tensor, ""]

    @classmethod
    def fit(
        cls, world_model: WorldModel, frames: Frames, held_out: Frames, generator: torch.Generator
    ) -> "Familiarity":
        """Return what the views of some episodes look like.

        Args:
            world_model: Encodes them.
            frames: Episodes that it was trained on.
            held_out: Other episodes of the same kind, which say what distance is usual.
            generator: Chooses the views, `FITTED` and `JUDGED` at most.

        Raises:
            DatasetError: There are too few views, or all are alike.
            PlanningError: The model's latents are not finite.
        """
        known, others = (
            _features_of(world_model, _drawn(part, most, generator))
            for part, most in ((frames, FITTED), (held_out, JUDGED))
        )
        mean = known.mean(0)
        _, values, axes = torch.linalg.svd(known - mean, full_matrices=False)
        most = min(MOST_DIRECTIONS, known.shape[1] // 2)
        count = max(1, min(most, len(known) // VIEWS_A_DIRECTION))
        deviations = values[:count] / (len(known) - 1) ** 0.5
        if not deviations[0] > LEAST * mean.abs().max():
            raise DatasetError("All training views look alike to the model: nothing is usual.")
        # Rounded at once, so that distances are the same when it is read from a file.
        directions = axes[:count].contiguous().half().float()
        deviations = deviations.clamp_min(LEAST * float(deviations[0]))
        inside, outside = _distances(others, mean, directions, deviations)
        both = torch.stack([inside, outside]).square().mean(1).sqrt()
        scales = both.clamp_min(LEAST * float(both[0]))
        limit = _together(inside, outside, scales).quantile(SHARE)
        return cls(
            mean=mean, directions=directions, deviations=deviations, scales=scales, limit=limit
        )

    def distance(self, latents: Float[Tensor, "n tokens dim"]) -> Float32[Tensor, " n"]:
        """Return how far views are from those of the training, on the CPU.

        It is 1 where 99 % of the views of other episodes of the same kind are nearer.

        Args:
            latents: Of the views, as the model's `encode` gives them.

        Raises:
            ValueError: They are not of this model.
            PlanningError: They are not finite.
        """
        features = _features(latents)
        if features.shape[1] != len(self.mean):
            raise ValueError(
                f"these are statistics of tokens of {len(self.mean) // GRID**2} features, got"
                f" {latents.shape[2]}; take the latents of the model that they came with"
            )
        inside, outside = _distances(features, self.mean, self.directions, self.deviations)
        return _together(inside, outside, self.scales) / self.limit

    def save(self, path: Path, encoder: nn.Module) -> None:
        """Write it to a file, with a digest of the encoder whose latents it knows."""
        tensors = {**vars(self), "directions": self.directions.half()}
        write_tensors(path, tensors, {ENCODER: fingerprint(encoder)})

    @classmethod
    def load(cls, path: Path, encoder: nn.Module) -> "Familiarity | None":
        """Return what `save` wrote; None if that was of another encoder.

        Raises:
            CheckpointError: The file is missing, damaged, or of another kind.
        """
        tensors, words = read_tensors(path)
        names = cls.__dataclass_fields__.keys()
        if tensors.keys() != names:
            raise CheckpointError(
                f"{path} holds {', '.join(sorted(tensors))}; expected {', '.join(sorted(names))}."
                " Delete it, and `vjepa-gym gates` measures it again."
            )
        if words.get(ENCODER) != fingerprint(encoder):
            return None
        return cls(**{name: tensor.float() for name, tensor in tensors.items()})


def fingerprint(encoder: nn.Module) -> str:
    """Return a digest of an encoder's biases and norms, in 16 bits, as weights may be stored."""
    few = {name: x.half() for name, x in encoder.named_parameters() if x.ndim == 1}
    return digest_of_tensors(few)[:16]


def _drawn(frames: Frames, most: int, generator: torch.Generator) -> "_Some":
    count = len(frames.images)
    if count < FEWEST:
        raise DatasetError(
            f"To know what a model's training views look like takes {FEWEST} views of episodes that"
            f" it was trained on, and as many of others; found {count}."
        )
    rows = torch.randperm(count, generator=generator)[:most].sort().values
    return _Some(frames, rows.numpy())


@dataclass(frozen=True)
class _Some:
    """Some rows of frames."""

    frames: Frames
    rows: Int64[np.ndarray, " rows"]


def _features_of(world_model: WorldModel, some: _Some) -> Float32[Tensor, "rows features"]:
    found = []
    for first in range(0, len(some.rows), TOGETHER):
        images = np.asarray(some.frames.images[some.rows[first : first + TOGETHER]])
        found.append(_features(world_model.encode(torch.from_numpy(images.copy()))))
    return torch.cat(found)


def _features(latents: Float[Tensor, "n tokens dim"]) -> Float32[Tensor, "n features"]:
    """Return tokens averaged over `GRID` x `GRID` parts of each view.

    Raises:
        PlanningError: They are not finite.
    """
    side = round(latents.shape[1] ** 0.5)
    if side**2 != latents.shape[1]:
        raise ValueError(f"tokens must be those of a square of patches, got {latents.shape[1]}")
    tokens = latents.detach().float().cpu().unflatten(1, (side, side))
    features = adaptive_avg_pool2d(tokens.permute(0, 3, 1, 2), GRID).flatten(1)
    if bad := int((~features.isfinite().all(1)).sum()):
        raise PlanningError(
            f"The latents of {bad} of {len(latents)} views are not finite, so that their distance"
            " from the model's training views is none; are the model's weights damaged?"
        )
    return features


def _distances(
    features: Float32[Tensor, "n features"],
    mean: Float32[Tensor, " features"],
    directions: Float32[Tensor, "directions features"],
    deviations: Float32[Tensor, " directions"],
) -> tuple[Float32[Tensor, " n"], Float32[Tensor, " n"]]:
    """Return how far views lie inside the subspace, in deviations, and how far from it."""
    away = features - mean
    along = away @ directions.T
    inside = (along / deviations).square().mean(1).sqrt()
    return inside, (away - along @ directions).norm(dim=1)


def _together(
    inside: Float32[Tensor, " n"], outside: Float32[Tensor, " n"], scales: Float32[Tensor, "2"]
) -> Float32[Tensor, " n"]:
    return torch.hypot(inside / scales[0], outside / scales[1])
