"""Batches for pretraining: which clips, cropped and masked how, and the tensors of a part of them.

A batch is drawn whole and small (numbers of clips, bits of masks) and read in parts, so that it is
the same on any number of processes.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from vjepa_gym.errors import DatasetError, TrainingError
from vjepa_gym.learning.clips import ClipSpace
from vjepa_gym.learning.crops import crop, crop_box, draw_crops
from vjepa_gym.world_models.dense_loss import context_weights
from vjepa_gym.world_models.masking import DrawnMasks, draw_masks
from vjepa_gym.world_models.preprocessing import Preprocessing, PreprocessingConfig
from vjepa_gym.world_models.pretraining_config import MaskedBy, PretrainingConfig
from vjepa_gym.world_models.pretraining_forms import Form

SPARES = 4
"""Clips drawn beside each, for where it cannot be read."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """The clips of one form in a batch.

    Attributes:
        batch: Clips in the whole batch, other forms included.
        places: Their places in the batch, ascending.
        video: The number of the video of each, and of its spares.
        start: The first frame of each, likewise.
        crops: What the boxes are made from; None to take the centre.
        flips: Whether each is mirrored.
        gains: By how much the contrast of each colour is changed.
        masks: Of each kind.
        noise_seed: Start of the noise; None if there is none.
    """

    batch: int
    places: Int64[np.ndarray, " n"]
    video: Int64[np.ndarray, "n spares"]
    start: Int64[np.ndarray, "n spares"]
    crops: Float[Tensor, "n tries 4"] | None
    flips: Bool[Tensor, " n"]
    gains: Float[Tensor, "n 3"]
    masks: list[DrawnMasks]
    noise_seed: int | None

    def part(self, part: slice) -> slice:
        """Return which of these clips lie in a part of the batch.

        Raises:
            TrainingError: None does.
        """
        first, end = np.searchsorted(self.places, [part.start, part.stop]).tolist()
        if first == end:
            raise TrainingError(
                f"Clips {part.start} to {part.stop} of a batch are computed at once, and none of"
                f" its {len(self.places)} of this kind is among them: use a larger batch_size, a"
                " smaller accumulate, or an image_share nearer to a half."
            )
        return slice(first, end)


class ClipGroup:
    """Plans and reads clips of one source and form.

    Attributes:
        space: The clips that there are.
        form: What they have in common.
        unreadable: What was wrong with each video that could not be read, by its name.
    """

    def __init__(
        self,
        space: ClipSpace,
        form: Form,
        training: PretrainingConfig,
        preprocessing: PreprocessingConfig,
        *,
        skip_bad: bool = False,
    ) -> None:
        """Make ready.

        Args:
            space: The clips that there are.
            form: What they have in common.
            training: How they are cropped and masked.
            preprocessing: How pixels are normalised.
            skip_bad: Whether to take another clip in place of one that cannot be read.
        """
        self.space, self.form = space, form
        self.unreadable: dict[str, str] = {}
        self._training = training
        self._preprocessing = Preprocessing(preprocessing, form.image_size)
        self._skip_bad = skip_bad

    def plan(
        self, places: Int64[np.ndarray, " n"], batch: int, generator: torch.Generator
    ) -> GroupPlan:
        """Draw clips for these places of a batch of so many."""
        training, n = self._training, len(places)
        video, start = self.space.draw((n, 1 + SPARES), generator)
        flips = torch.rand(n, generator=generator) < (0.5 if training.random_flip else 0.0)
        noisy = training.masked_by is MaskedBy.noise
        gains = torch.ones(n, 3)
        if training.jitter:
            gains += training.jitter * (2 * torch.rand(n, 3, generator=generator) - 1)
        return GroupPlan(
            batch=batch,
            places=places,
            video=video,
            start=start,
            crops=draw_crops(n, generator) if training.random_crop else None,
            flips=flips,
            gains=gains,
            masks=[draw_masks(kind, n, self.form.grid, generator) for kind in self.form.masks],
            noise_seed=int(torch.randint(2**60, (), generator=generator)) if noisy else None,
        )

    def load(self, plan: GroupPlan, part: slice) -> dict[str, Any]:
        """Return the clips of a part of the batch, their masks, and how much they count.

        Raises:
            DatasetError: A clip cannot be read, and no other is to take its place, or none can.
            TrainingError: None of the clips lies in this part.
        """
        chosen, form = plan.part(part), self.form
        samples = range(chosen.start, chosen.stop)
        masks = [kind.take(chosen) for kind in plan.masks]
        # With this, the mean over equal parts is that over the batch, whatever is in which part.
        share = form.share * len(samples) / len(plan.places) * plan.batch / (part.stop - part.start)
        batch: dict[str, Any] = {
            "clips": torch.stack(self._clips(plan, samples)),
            "keep": [kind.keep for kind in masks],
            "masked": [kind.masked for kind in masks],
            "share": torch.tensor(share),
        }
        if plan.noise_seed is not None:
            shape = batch["clips"].shape[1:]
            batch["noise"] = torch.stack([_noise(shape, plan.noise_seed + i) for i in samples])
        if form.by_distance is not None:
            batch["weights"] = [
                context_weights(kind.keep, kind.masked, form.grid, by_distance=form.by_distance)
                for kind in masks
            ]
        return batch

    def describe(self, plan: GroupPlan, part: slice) -> dict[int, str]:
        """Return which clips lie in a part of the batch, by their places in it."""
        chosen, names = plan.part(part), self.space.videos.names
        clips = zip(plan.video[chosen, 0].tolist(), plan.start[chosen, 0].tolist(), strict=True)
        told = [f"{names[video]} from frame {start}" for video, start in clips]
        return dict(zip(plan.places[chosen].tolist(), told, strict=True))

    def _clips(
        self, plan: GroupPlan, samples: range
    ) -> list[Float[Tensor, "3 frames height width"]]:
        """Return clips, read by several threads; which one reads what changes nothing."""
        if self._training.readers == 1:
            return [self._clip(plan, i) for i in samples]
        with ThreadPoolExecutor(self._training.readers, thread_name_prefix="reader") as pool:
            return list(pool.map(lambda i: self._clip(plan, i), samples))

    def _clip(self, plan: GroupPlan, sample: int) -> Float[Tensor, "3 frames height width"]:
        """Return one clip as the encoder takes it."""
        images = self._read(plan.video[sample].tolist(), plan.start[sample].tolist())
        preprocessing = self._preprocessing
        if plan.crops is None:
            clip = preprocessing(images)
        else:
            height, width = images.shape[1:3]
            scale, aspect = self._training.crop_scale, self._training.crop_aspect
            box = crop_box(plan.crops[sample], (height, width), scale, aspect)
            clip = crop(images, box, self.form.image_size)
            clip.mul_(preprocessing.scale[:, None, None]).add_(preprocessing.shift[:, None, None])
        if plan.flips[sample]:
            clip = clip.flip(-1)
        if self._training.jitter:
            clip = clip * plan.gains[sample, :, None, None]
        # A single frame, the only one there is, is repeated; of a video, all are there.
        return clip.transpose(0, 1).expand(-1, self.form.frames, -1, -1)

    def _read(self, videos: list[int], starts: list[int]) -> UInt8[Tensor, "frames height width 3"]:
        """Return the frames of the first of these clips that can be read."""
        for video, start in zip(videos, starts, strict=True):
            rows, repeats = np.unique(self.space.rows(video, start), return_inverse=True)
            try:
                images = self.space.videos.read(video, rows)
            except DatasetError as error:
                self._note(self.space.videos.names[video], error)
                continue
            return torch.from_numpy(images[repeats])
        tried = ", ".join(self.space.videos.names[video] for video in videos)
        raise DatasetError(
            f"None of {len(videos)} clips drawn for the same place can be read: {tried}. So many"
            " broken videos are no accident; look at the data."
        )

    def _note(self, name: str, error: DatasetError) -> None:
        """Refuse a clip that cannot be read, or count its video."""
        if not self._skip_bad:
            raise DatasetError(f"{error} job.skip_bad=true takes another clip instead.") from error
        if name not in self.unreadable:
            self.unreadable[name] = str(error)
            logger.warning(
                "%s Another clip is taken instead; %d videos could not be read so far.",
                error,
                len(self.unreadable),
            )


def _noise(shape: torch.Size, seed: int) -> Float[Tensor, "3 frames height width"]:
    """Return Gaussian noise as bright as normalised pixels are."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
