"""The task of masked pretraining: what a batch is, where it comes from, what is kept of it."""

import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from vjepa_gym.learning.averaging import update_average
from vjepa_gym.learning.checkpoints import save_model, to_json
from vjepa_gym.learning.clips import NAMED, ClipShape, ClipSpace
from vjepa_gym.learning.layers import initialise
from vjepa_gym.types import Videos
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.masked_objective import MaskedObjective
from vjepa_gym.world_models.predictor import MaskedPredictor
from vjepa_gym.world_models.presets import ModelConfig
from vjepa_gym.world_models.pretraining_batches import ClipGroup, GroupPlan
from vjepa_gym.world_models.pretraining_config import PretrainingConfig
from vjepa_gym.world_models.pretraining_forms import image_form, video_form
from vjepa_gym.world_models.vjepa2 import VJEPA2

ENCODER, PREDICTOR = "encoder.", "predictor."
"""What the names of the weights of each begin with in a model folder."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PretrainingPlan:
    """The batch of a step.

    Attributes:
        size: Samples in it.
        groups: The clips (`video`), and the still images (`image`) if there are any.
        cooling: Whether the learning rate falls: clips may be longer and larger then.
        context_weight: Weight of the loss on visible tokens.
    """

    size: int
    groups: dict[str, GroupPlan]
    cooling: bool
    context_weight: float


class MaskedPretraining:
    """Trains an encoder to make what is masked predictable from what is not.

    Attributes:
        encoder: What is trained.
        predictor: What is trained with it.
        target: The slow moving average of the encoder, which gives the targets and is kept.
        objective: The loss of a batch.
    """

    def __init__(
        self,
        videos: Videos,
        model: ModelConfig,
        training: PretrainingConfig,
        *,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        images: Videos | None = None,
        weights: Float64[np.ndarray, " videos"] | None = None,
        initial: VJEPA2 | None = None,
        skip_bad: bool = False,
    ) -> None:
        """Build the models, and look for clips.

        Args:
            videos: What clips are cut from.
            model: Sizes of encoder and predictor.
            training: The recipe.
            generator: Of new weights.
            device: Where to compute.
            images: Still images, or videos that single frames are taken of; part of each batch.
            weights: Chances of each video; all clips have the same if None.
            initial: A model of these sizes to start from; its predictor too, if it has one.
            skip_bad: Whether to leave out videos that are too short, and to take others in place of
                clips that cannot be read.

        Raises:
            DatasetError: Videos are too short, and not to be left out.
            ValueError: The recipe does not fit the model.
        """
        self._model, self._training = model, training
        self.encoder, self.predictor = _networks(model, generator, initial)
        self.target = deepcopy(self.encoder).requires_grad_(False)
        for network in (self.encoder, self.predictor):
            network.checkpointing = training.activation_checkpointing
        self.objective = MaskedObjective(
            self.encoder,
            self.predictor,
            self.target,
            difference=training.difference,
            dense=training.context_weight > 0,
            mask_token_each=training.mask_token_each,
        ).to(device)
        sources = {"video": (videos, weights)} | (
            {} if images is None else {"image": (images, None)}
        )
        stages = (False, True) if training.decay > 0 else (False,)
        self._told: set[tuple[str, str]] = set()
        self._groups = {
            (kind, cooling): self._group(kind, cooling, source, images is not None, skip_bad)
            for kind, source in sources.items()
            for cooling in stages
        }

    def _group(
        self,
        kind: str,
        cooling: bool,
        source: tuple[Videos, Float64[np.ndarray, " videos"] | None],
        with_images: bool,
        skip_bad: bool,
    ) -> ClipGroup:
        """Return what plans and reads the clips of one kind and stage."""
        training, (videos, weights) = self._training, source
        if kind == "image":
            form = image_form(self.encoder, training, cooling=cooling)
        else:
            form = video_form(self.encoder, training, cooling=cooling, with_images=with_images)
        shape = ClipShape(frames=form.read, stride=training.stride, fps=training.fps)
        space = ClipSpace(videos, shape, weights=weights, skip_bad=skip_bad)
        if space.left_out and (kind, str(shape)) not in self._told:
            self._told.add((kind, str(shape)))
            logger.warning(
                "%d of %d videos hold no clip of %s and are left out, such as %s.",
                len(space.left_out),
                len(videos.lengths),
                shape,
                ", ".join(space.left_out[:NAMED]),
            )
        return ClipGroup(space, form, training, self._model.preprocessing, skip_bad=skip_bad)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Return the encoder, the predictor, and the moving average that gives the targets."""
        return {"encoder": self.encoder, "predictor": self.predictor, "target": self.target}

    @property
    def unreadable(self) -> dict[str, str]:
        """What was wrong with each video that could not be read so far, by its name."""
        return {k: v for group in self._groups.values() for k, v in group.unreadable.items()}

    def plan(self, step: int, steps: int, generator: torch.Generator) -> PretrainingPlan:
        """Draw the batch of a step: clips, crops and masks."""
        training, cooling = self._training, self._training.cooling(step, steps)
        size = training.batch_size
        if ("image", cooling) in self._groups:
            # Spread evenly, so that equal parts of a batch have equally many.
            still = np.diff(np.floor(np.arange(size + 1) * training.image_share + 0.5)) > 0
        else:
            still = np.zeros(size, bool)
        places = {"video": np.flatnonzero(~still), "image": np.flatnonzero(still)}
        groups = {
            kind: group.plan(places[kind], size, generator)
            for (kind, when), group in self._groups.items()
            if when == cooling
        }
        weight = training.context_weight_at((step - 1) / steps)
        return PretrainingPlan(size=size, groups=groups, cooling=cooling, context_weight=weight)

    def load(self, plan: PretrainingPlan, part: slice) -> dict[str, Any]:
        """Read a part of the batch: clips, images, and their masks.

        Raises:
            DatasetError: A clip cannot be read; the message names its video.
            TrainingError: The part is too small to have both clips and images.
        """
        batch: dict[str, Any] = {
            kind: self._groups[kind, plan.cooling].load(group, part)
            for kind, group in plan.groups.items()
        }
        if self._training.context_weight > 0:
            batch["context_weight"] = torch.tensor(plan.context_weight)
        return batch

    def describe(self, plan: PretrainingPlan, part: slice) -> list[str]:
        """Return which clips are in a part of the batch, in order."""
        told: dict[int, str] = {}
        for kind, group in plan.groups.items():
            told |= self._groups[kind, plan.cooling].describe(group, part)
        return [told[place] for place in sorted(told)]

    def after_step(self, done: float) -> None:
        """Move the target encoder a little towards the encoder."""
        start, end = self._training.ema_start, self._training.ema_end
        update_average(self.target, self.encoder, start + (end - start) * done)

    def export(
        self, folder: Path, weights: Mapping[str, Mapping[str, Tensor]], step: int, steps: int
    ) -> None:
        """Write the target encoder, which is what later stages use, and the predictor."""
        parts = {ENCODER: weights["target"], PREDICTOR: weights["predictor"]}
        save_model(
            folder,
            weights={prefix + key: x for prefix, part in parts.items() for key, x in part.items()},
            config=to_json(self._model),
            training={"step": step, "steps": steps},
        )


def _networks(
    model: ModelConfig, generator: torch.Generator, initial: VJEPA2 | None
) -> tuple[VisionTransformer, MaskedPredictor]:
    """Return new networks, or those that a training is to start from."""
    encoder = VisionTransformer(model.encoder)
    predictor = MaskedPredictor(model.predictor, model.encoder.width)
    initialise(encoder, generator)
    initialise(predictor, generator)
    if initial is not None:
        encoder.load_state_dict(initial.encoder.state_dict())
        if initial.predictor is not None:
            predictor.load_state_dict(initial.predictor.state_dict())
    return encoder, predictor
