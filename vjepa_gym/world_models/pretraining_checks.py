"""Whether a recipe fits a model, told before any data are read and any weights are made."""

import torch

from vjepa_gym.learning.clips import ClipShape
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.masked_objective import MaskedObjective
from vjepa_gym.world_models.masking import draw_masks
from vjepa_gym.world_models.predictor import MaskedPredictor
from vjepa_gym.world_models.presets import ModelConfig
from vjepa_gym.world_models.pretraining_config import PretrainingConfig
from vjepa_gym.world_models.pretraining_forms import Form, image_form, video_form

DRAWS = 16
"""How often each kind of mask is drawn: blocks have another size each time."""
SAMPLES = 8
"""Samples in each of these draws."""


def check_recipe(model: ModelConfig, training: PretrainingConfig, *, with_images: bool) -> None:
    """Look whether clips and masks of every phase suit a model; weights take no memory.

    Args:
        model: Sizes of encoder and predictor.
        training: The recipe.
        with_images: Whether part of each batch is still images.

    Raises:
        ValueError: They do not; says what does not.
    """
    with torch.device("meta"):
        encoder = VisionTransformer(model.encoder)
        predictor = MaskedPredictor(model.predictor, model.encoder.width)
    MaskedObjective(encoder, predictor, encoder, dense=training.context_weight > 0)
    for form in _forms(encoder, training, with_images):
        _check_masks(form)


def clip_shapes(training: PretrainingConfig) -> list[ClipShape]:
    """Return how long clips are in each phase of a recipe, the first phase first."""
    lengths = [training.frames, *([training.cooldown_frames] if training.cooldown_frames else [])]
    return [
        ClipShape(frames=frames, stride=training.stride, fps=training.fps) for frames in lengths
    ]


def _forms(
    encoder: VisionTransformer, training: PretrainingConfig, with_images: bool
) -> list[Form]:
    forms = []
    for cooling in (False, True) if training.decay > 0 else (False,):
        forms.append(video_form(encoder, training, cooling=cooling, with_images=with_images))
        if with_images:
            forms.append(image_form(encoder, training, cooling=cooling))
    return forms


def _check_masks(form: Form) -> None:
    generator = torch.Generator().manual_seed(0)
    for kind in form.masks:
        for _ in range(DRAWS):
            draw_masks(kind, SAMPLES, form.grid, generator)
