"""Sizes of whole models, by name: one that two CPU cores can train, and the published ones."""

from collections.abc import Callable
from dataclasses import dataclass, field

from vjepa_gym.learning.layers import RopeForm
from vjepa_gym.world_models.encoder import EncoderConfig
from vjepa_gym.world_models.predictor import PredictorConfig
from vjepa_gym.world_models.preprocessing import PreprocessingConfig


@dataclass(kw_only=True)
class ACPredictorConfig:
    """Sizes of the action-conditioned predictor; the defaults are the published ones (300 M)."""

    width: int = 1024
    """Features of a token."""
    depth: int = 24
    """Transformer blocks."""
    heads: int = 16
    """Attention heads; each has an even number of features, at least 6."""
    mlp_ratio: float = 4.0
    """Hidden features of an MLP over `width`."""
    context_frames: int = 7
    """Most control steps that it looks back on, the current one included: one less than the frames
    of the clips that it is trained on."""
    grid_size: int = 16
    """Rows and columns of tokens that positions are stated for; other grids are scaled to it."""
    rope: RopeForm = RopeForm.released
    """Layout of the rotary tables."""

    def __post_init__(self) -> None:
        head_width = self.width // self.heads
        if self.width % self.heads or head_width % 2 or head_width < 6:
            raise ValueError(
                f"width / heads must be an even whole number of at least 6, got"
                f" {self.width} / {self.heads}"
            )
        if self.context_frames < 1:
            raise ValueError(f"context_frames must be positive, got {self.context_frames}")


@dataclass(kw_only=True)
class ModelConfig:
    """A whole V-JEPA 2-AC: the encoder, the predictor that it is trained with, and the AC one."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The encoder of video."""
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    """The masked predictor, needed in pretraining only."""
    ac_predictor: ACPredictorConfig = field(default_factory=ACPredictorConfig)
    """The action-conditioned predictor, which agents plan with."""
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    """How pixels are normalised."""


def tiny() -> ModelConfig:
    """Return what two CPU cores can train within the hour (2.3 M parameters in all)."""
    encoder = EncoderConfig(image_size=64, width=192, depth=4, heads=3)
    return ModelConfig(
        encoder=encoder,
        predictor=PredictorConfig(width=96, depth=3, heads=4),
        ac_predictor=ACPredictorConfig(
            width=96, depth=3, heads=4, context_frames=3, grid_size=encoder.grid_size
        ),
    )


def debug() -> ModelConfig:
    """Return a model of a few thousand parameters, for tests: it computes in milliseconds."""
    encoder = EncoderConfig(image_size=16, patch_size=4, width=24, depth=2, heads=2, mlp_ratio=2.0)
    return ModelConfig(
        encoder=encoder,
        predictor=PredictorConfig(width=16, depth=1, heads=2, mlp_ratio=2.0, mask_tokens=2),
        ac_predictor=ACPredictorConfig(
            width=16, depth=2, heads=2, mlp_ratio=2.0, context_frames=3, grid_size=encoder.grid_size
        ),
    )


def _published(
    width: int, depth: int, heads: int, mlp_ratio: float, image_size: int
) -> Callable[[], ModelConfig]:
    def preset() -> ModelConfig:
        encoder = EncoderConfig(
            image_size=image_size, width=width, depth=depth, heads=heads, mlp_ratio=mlp_ratio
        )
        return ModelConfig(
            encoder=encoder, ac_predictor=ACPredictorConfig(grid_size=encoder.grid_size)
        )

    return preset


MODELS: dict[str, Callable[[], ModelConfig]] = {
    "debug": debug,
    "tiny": tiny,
    "vit_b": _published(768, 12, 12, 4.0, 384),
    "vit_l": _published(1024, 24, 16, 4.0, 256),
    "vit_h": _published(1280, 32, 16, 4.0, 256),
    "vit_g": _published(1408, 40, 22, 48 / 11, 256),
    "vit_G": _published(1664, 48, 26, 64 / 13, 384),
}
"""Whole models by name; `vit_*` are those of V-JEPA 2 and 2.1 (arXiv 2506.09985, 2603.14482)."""
