"""How encoders are pretrained: everything that a recipe of the V-JEPA family may vary."""

import math
from dataclasses import dataclass, field
from enum import Enum

from vjepa_gym.learning.training import TrainingConfig
from vjepa_gym.world_models.masking import MaskConfig, published_masks
from vjepa_gym.world_models.recovery import RecoveryConfig


class MaskedBy(Enum):
    """What becomes of masked tokens on their way into the encoder."""

    remove = "remove"
    """They are left out before the first block, as released weights were trained."""
    noise = "noise"
    """Their pixels are replaced by Gaussian noise, and all tokens are encoded: mask denoising."""


class Difference(Enum):
    """What is averaged between prediction and target."""

    l1 = "l1"
    """The absolute difference, as in V-JEPA."""
    smooth_l1 = "smooth_l1"
    """The same, but half the square below 1, as in I-JEPA."""


class Schedule(Enum):
    """How the learning rate goes after the warm-up."""

    constant = "constant"
    """It stays, and falls in a line at the end, as in V-JEPA 2."""
    cosine = "cosine"
    """It falls along half a cosine, as in V-JEPA and I-JEPA."""


PARTS = (
    ("ema_start", 0.0, 1.0),
    ("ema_end", 0.0, 1.0),
    ("crop_scale", 1e-3, 1.0),
    ("crop_aspect", 1e-3, 1e3),
    ("context_weight", 0.0, 1e6),
    ("context_warmup", 0.0, 1.0),
    ("image_share", 1e-3, 0.999),
    ("jitter", 0.0, 0.9),
    ("image_weight", 1e-3, 0.999),
)
"""Numbers, and pairs of them in order, with the smallest and the largest that they may be."""


@dataclass(kw_only=True)
class PretrainingConfig(TrainingConfig):
    """How the encoder is pretrained; the masks and rates are those of V-JEPA 2."""

    frames: int = 16
    """Frames in a clip: whole tubelets, or 1, which is repeated to fill one."""
    stride: int = 1
    """Rows of the data from one frame of a clip to the next."""
    fps: float | None = None
    """Frames a second of a clip, whatever the rate of the video; `stride` is not heeded then."""
    masks: list[MaskConfig] = field(default_factory=published_masks)
    """Kinds of mask; every clip is predicted under each."""
    mask_token_each: bool = True
    """Whether each kind has a mask token of its own, as in V-JEPA; all have the first in V-JEPA 2's
    code."""
    masked_by: MaskedBy = MaskedBy.remove
    """What becomes of masked tokens before the encoder."""
    difference: Difference = Difference.l1
    """What is averaged between prediction and target."""
    ema_start: float = 0.99925
    """Part of the target encoder that a step keeps, at first."""
    ema_end: float = 0.99925
    """The same at the last step; linear in between."""
    schedule: Schedule = Schedule.constant
    """How the learning rate goes after the warm-up."""
    stretch: float = 1.0
    """Length of the whole cosine, of the learning rate and of the weight decay, over that of the
    training, which stops before its end."""
    random_crop: bool = False
    """Whether to crop and scale clips at random. It destroys where things are in metres."""
    crop_scale: list[float] = field(default_factory=lambda: [0.3, 1.0])
    """Smallest and largest part of the frame that a crop covers."""
    crop_aspect: list[float] = field(default_factory=lambda: [0.75, 1.35])
    """Smallest and largest width of a crop over its height."""
    random_flip: bool = False
    """Whether to mirror every other clip. It destroys which way robots move."""
    context_weight: float = 0.0
    """Weight of the loss on visible tokens (lambda of V-JEPA 2.1); 0 leaves it out."""
    context_warmup: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Parts of the training at which that weight begins to rise from 0, and arrives."""
    by_distance: bool = True
    """Whether visible tokens count less the farther the nearest masked one is."""
    cooldown_by_distance: bool = True
    """The same while the learning rate falls."""
    cooldown_frames: int | None = None
    """Frames in a clip while the learning rate falls; as before if None."""
    cooldown_image_size: int | None = None
    """Height and width [px] while the learning rate falls; as before if None."""
    image_share: float = 0.25
    """Part of each batch that is still images, if there are any."""
    image_weight: float | None = None
    """Part of the loss that is theirs; as large as `image_share` if None."""
    image_frames: int = 1
    """Frames that an image is repeated to; at least a tubelet, unless images have tokens of their
    own."""
    image_masks: list[MaskConfig] = field(default_factory=list)
    """Kinds of mask of images; those of videos if there are none."""
    jitter: float = 0.0
    """Most by which the contrast of each colour of a clip is changed, as a part of it."""
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    """What of the robot's own doings is to be told from latents, beside what is masked: a variant
    of ours for small models, off by default."""
    readers: int = 1
    """Threads that read, crop and scale clips at once; decoding video takes many."""

    def __post_init__(self) -> None:
        super().__post_init__()
        lengths = [self.frames, self.stride, self.image_frames, self.cooldown_frames or 1]
        if min(lengths) < 1 or not self.masks:
            raise ValueError("frames and stride must be positive, and masks has at least one kind")
        if self.readers < 1:
            raise ValueError(f"readers must be positive, got {self.readers}")
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps must be positive, got {self.fps}")
        if (self.cooldown_frames or self.cooldown_image_size) and not self.decay:
            raise ValueError(
                "cooldown_frames and cooldown_image_size hold while the learning rate falls: decay"
                " must be above 0"
            )
        if self.stretch < 1:
            raise ValueError(f"stretch must be at least 1, got {self.stretch}")
        for name, lowest, highest in PARTS:
            value = getattr(self, name)
            pair = value if isinstance(value, list) else [value, value]
            if value is not None and not (
                len(pair) == 2 and lowest <= pair[0] <= pair[1] <= highest
            ):
                kind = "[smallest, largest]" if isinstance(value, list) else "a number"
                raise ValueError(f"{name} is {kind} in [{lowest:g}, {highest:g}], got {value}")

    def cooling(self, step: int, steps: int) -> bool:
        """Return whether the learning rate falls at this step, from 1."""
        return step > round((1 - self.decay) * steps)

    def context_weight_at(self, done: float) -> float:
        """Return the weight of the loss on visible tokens when a part `done` is over."""
        start, end = self.context_warmup
        if done >= end:
            return self.context_weight
        return self.context_weight * max(0.0, done - start) / max(end - start, 1e-9)

    def rate_at(self, done: float) -> float:
        """Return the learning rate when a part `done` of the steps, in [0, 1], is over."""
        if self.schedule is Schedule.constant or done < self.warmup:
            return super().rate_at(done)
        fallen = (done - self.warmup) / (self.stretch - self.warmup)
        part = 0.5 * (1 + math.cos(math.pi * fallen))
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * part)

    def weight_decay_at(self, done: float) -> float:
        """Return the weight decay when a part `done` of the steps, in [0, 1], is over."""
        return super().weight_decay_at(done / self.stretch)
