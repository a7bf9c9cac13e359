"""What the clips of a batch have in common: their length and size at this stage of a recipe."""

from dataclasses import dataclass

from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.mask_blocks import Grid
from vjepa_gym.world_models.masking import MaskConfig
from vjepa_gym.world_models.pretraining_config import PretrainingConfig


@dataclass(frozen=True, kw_only=True)
class Form:
    """What all clips of a group have in common.

    Attributes:
        read: Frames that are read of a video.
        frames: Frames that the encoder is given; a single one is repeated to as many.
        image_size: Height and width [px].
        grid: Times, rows and columns of tokens.
        masks: Kinds of mask.
        share: Part of the loss that is theirs.
        by_distance: Whether visible tokens count less the farther the nearest masked one is; None
            if they do not count.
    """

    read: int
    frames: int
    image_size: int
    grid: Grid
    masks: list[MaskConfig]
    share: float
    by_distance: bool | None


def video_form(
    encoder: VisionTransformer, training: PretrainingConfig, *, cooling: bool, with_images: bool
) -> Form:
    """Return the form of clips.

    Args:
        encoder: What they are for.
        training: The recipe.
        cooling: Whether the learning rate falls.
        with_images: Whether part of each batch is images.

    Raises:
        ValueError: The encoder cannot take such clips.
    """
    frames = (cooling and training.cooldown_frames) or training.frames
    share = 1.0 - _image_weight(training) if with_images else 1.0
    return _form(
        encoder, training, cooling, read=frames, frames=frames, masks=training.masks, share=share
    )


def image_form(encoder: VisionTransformer, training: PretrainingConfig, *, cooling: bool) -> Form:
    """Return the form of still images; see `video_form`."""
    return _form(
        encoder,
        training,
        cooling,
        read=1,
        frames=training.image_frames,
        masks=training.image_masks or training.masks,
        share=_image_weight(training),
    )


def _image_weight(training: PretrainingConfig) -> float:
    return training.image_share if training.image_weight is None else training.image_weight


def _form(
    encoder: VisionTransformer,
    training: PretrainingConfig,
    cooling: bool,
    *,
    read: int,
    frames: int,
    masks: list[MaskConfig],
    share: float,
) -> Form:
    config = encoder.config
    size = (cooling and training.cooldown_image_size) or config.image_size
    if frames == 1 and not config.image_tokens:
        frames = config.tubelet_size
    by_distance = training.cooldown_by_distance if cooling else training.by_distance
    return Form(
        read=read,
        frames=frames,
        image_size=size,
        grid=encoder.grid(frames, size, size),
        masks=masks,
        share=share,
        by_distance=by_distance if training.context_weight > 0 else None,
    )
