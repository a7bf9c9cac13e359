"""Sizes of whole models, by name: those that a desk can train, and the published ones."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from vjepa_gym.learning.layers import RopeForm
from vjepa_gym.world_models.ac_predictor import ACPredictorConfig
from vjepa_gym.world_models.encoder import EncoderConfig, Stem
from vjepa_gym.world_models.positions import Positions
from vjepa_gym.world_models.predictor import PredictorConfig
from vjepa_gym.world_models.preprocessing import PreprocessingConfig

__all__ = [
    "MODELS",
    "ACPredictorConfig",
    "ModelConfig",
    "debug",
    "small",
    "tiny",
    "tiny_21",
    "tiny_128",
]


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
    return _tiny(EncoderConfig(image_size=64, width=192, depth=4, heads=3))


def tiny_128() -> ModelConfig:
    """Return `tiny` for 128 px (4.2 M parameters without `predictor`).

    Few large patches, into which a small network looks: as many tokens as 64 px have in patches of
    16, and more detail.
    """
    return _tiny(
        EncoderConfig(
            image_size=128, patch_size=32, width=256, depth=4, heads=4, stem=Stem.hierarchical
        )
    )


def _tiny(encoder: EncoderConfig) -> ModelConfig:
    return ModelConfig(
        encoder=encoder,
        predictor=PredictorConfig(width=96, depth=3, heads=4),
        ac_predictor=ACPredictorConfig(
            width=96, depth=3, heads=4, context_frames=3, grid_size=encoder.grid_size
        ),
    )


def tiny_21() -> ModelConfig:
    """Return `tiny` as V-JEPA 2.1 would have it: four depths, images, visible tokens predicted."""
    model = tiny()
    rope = {"rope": RopeForm.interleaved, "rope_grid": model.encoder.grid_size}
    shared = {**rope, "levels": 4, "image_tokens": True}
    return replace(
        model,
        encoder=replace(model.encoder, **shared),
        predictor=replace(model.predictor, dense=True, **shared),
    )


def small() -> ModelConfig:
    """Return what one GPU can train within half an hour (7.2 M parameters without `predictor`)."""
    encoder = EncoderConfig(image_size=128, width=256, depth=6, heads=4)
    return ModelConfig(
        encoder=encoder,
        predictor=PredictorConfig(width=128, depth=4, heads=4),
        ac_predictor=ACPredictorConfig(width=192, depth=4, heads=4, grid_size=encoder.grid_size),
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


def _encoder(size: str, image_size: int) -> EncoderConfig:
    """Return a published vision transformer, with patches of 16 px."""
    width, depth, heads, mlp_ratio = {
        "b": (768, 12, 12, 4.0),
        "l": (1024, 24, 16, 4.0),
        "h": (1280, 32, 16, 4.0),
        "g": (1408, 40, 22, 48 / 11),
        "G": (1664, 48, 26, 64 / 13),
    }[size]
    return EncoderConfig(
        image_size=image_size, width=width, depth=depth, heads=heads, mlp_ratio=mlp_ratio
    )


def _model(encoder: EncoderConfig, predictor: PredictorConfig) -> ModelConfig:
    return ModelConfig(
        encoder=encoder,
        predictor=predictor,
        ac_predictor=ACPredictorConfig(grid_size=encoder.grid_size),
    )


def _vjepa2(size: str, image_size: int) -> ModelConfig:
    """Return a model of V-JEPA 2 (arXiv 2506.09985)."""
    return _model(_encoder(size, image_size), PredictorConfig())


def _vjepa21(size: str, distilled: bool = False) -> ModelConfig:
    """Return a model of V-JEPA 2.1 (arXiv 2603.14482), at the 384 px that it was released at.

    Args:
        size: Letter of the encoder.
        distilled: Whether the predictor is that of the released B and L, which were taught by G
            and predict its last depth only.
    """
    encoder = replace(
        _encoder(size, 384),
        rope=RopeForm.interleaved,
        rope_grid=16,
        levels=4,
        # The public definition of G takes block 37, not 35, for the third quarter.
        level_blocks=[11, 23, 37, 47] if size == "G" else [],
        image_tokens=True,
    )
    predictor = PredictorConfig(
        depth=12 if distilled or size == "b" else 24,
        mask_tokens=8,
        rope=RopeForm.interleaved,
        rope_grid=16,
        levels=1 if distilled else 4,
        dense=True,
        image_tokens=True,
        target_width=1664 if distilled else 0,
    )
    return _model(encoder, predictor)


def _vjepa(size: str, image_size: int) -> ModelConfig:
    """Return a model of V-JEPA (arXiv 2404.08471)."""
    encoder = replace(_encoder(size, image_size), positions=Positions.sincos)
    predictor = PredictorConfig(
        heads=encoder.heads,
        mask_tokens=2,
        positions=Positions.sincos,
        base_grid=list(encoder.base_grid),
    )
    return _model(encoder, predictor)


def _ijepa() -> ModelConfig:
    """Return I-JEPA's ViT-H/14 (arXiv 2301.08243), to which an image is a video of one frame."""
    encoder = replace(
        _encoder("h", 256),
        image_size=224,
        patch_size=14,
        tubelet_size=1,
        frames=1,
        positions=Positions.sincos_2d,
    )
    predictor = PredictorConfig(
        heads=encoder.heads,
        mask_tokens=1,
        positions=Positions.sincos_2d,
        base_grid=list(encoder.base_grid),
    )
    return _model(encoder, predictor)


MODELS: dict[str, Callable[[], ModelConfig]] = {
    "debug": debug,
    "tiny": tiny,
    "tiny_128": tiny_128,
    "tiny_21": tiny_21,
    "small": small,
    "vit_b": partial(_vjepa2, "b", 384),
    "vit_l": partial(_vjepa2, "l", 256),
    "vit_h": partial(_vjepa2, "h", 256),
    "vit_g": partial(_vjepa2, "g", 256),
    "vit_g_384": partial(_vjepa2, "g", 384),
    "vit_G": partial(_vjepa2, "G", 384),
    "vit_b_21": partial(_vjepa21, "b"),
    "vit_l_21": partial(_vjepa21, "l"),
    "vit_h_21": partial(_vjepa21, "h"),
    "vit_g_21": partial(_vjepa21, "g"),
    "vit_G_21": partial(_vjepa21, "G"),
    "vit_b_21_distilled": partial(_vjepa21, "b", distilled=True),
    "vit_l_21_distilled": partial(_vjepa21, "l", distilled=True),
    "vjepa_l": partial(_vjepa, "l", 224),
    "vjepa_h": partial(_vjepa, "h", 224),
    "vjepa_h_384": partial(_vjepa, "h", 384),
    "ijepa_h": _ijepa,
}
"""Whole models by name: `vit_*` of V-JEPA 2, `vit_*_21` of V-JEPA 2.1, then V-JEPA and I-JEPA."""
