"""The same numbers as the public code, run from checkouts of it.

`VJEPA2_SOURCE` points at facebookresearch/vjepa2 as of 2025, `VJEPA21_SOURCE` at a later one, which
holds V-JEPA 2.1 (`app/vjepa_2_1`). Weights are ours, given over by name.
"""

import importlib
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vjepa_gym.learning.layers import RopeForm
from vjepa_gym.world_models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa_gym.world_models.encoder import (
    EncoderConfig,
    Positions,
    VisionTransformer,
    normalise_tokens,
)
from vjepa_gym.world_models.predictor import MaskedPredictor, PredictorConfig
from vjepa_gym.world_models.presets import MODELS

pytestmark = [
    pytest.mark.external,
    # The public code asks for attention kernels by an old name.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*sdp_kernel.*"),
]
WIDTH, HEADS, PIXELS, FRAMES = 96, 4, 64, 4
Build = Callable[..., nn.Module]


def source(variable: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Give a function that imports a module of a checkout, and forget its modules afterwards."""
    if variable not in os.environ:
        pytest.skip(f"{variable} does not point at the public code")
    monkeypatch.syspath_prepend(os.environ[variable])
    # What is taken from these packages is never called here.
    for name in ("timm", "timm.models", "timm.models.layers", "einops"):
        module = types.ModuleType(name)
        vars(module).update(drop_path=None, rearrange=None)
        monkeypatch.setitem(sys.modules, name, module)
    # The public code makes positions of the default type, which would round them here.
    torch.set_default_dtype(torch.float64)
    before = set(sys.modules)
    yield importlib.import_module
    torch.set_default_dtype(torch.float32)
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("src", "app"):
            del sys.modules[name]


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    yield from source("VJEPA2_SOURCE", monkeypatch)


@pytest.fixture
def public_21(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    yield from source("VJEPA21_SOURCE", monkeypatch)


def filled(module: nn.Module) -> Any:
    generator = torch.Generator().manual_seed(0)
    for name, weight in module.double().requires_grad_(False).named_parameters():
        gain = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        nn.init.uniform_(weight, gain - 0.2, gain + 0.2, generator=generator)
    return module


def give(ours: nn.Module, theirs: nn.Module, unused: set[str]) -> Any:
    """Give our weights to the public module, and check that only `unused` names differ."""
    weights = dict(ours.named_parameters())
    missing = theirs.double().eval().load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert set(missing.missing_keys) == unused
    return theirs


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def drawn(tokens: int, kept: int, masked: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    order = torch.stack([torch.randperm(tokens, generator=generator) for _ in range(2)])
    return order[:, :kept], order[:, kept : kept + masked]


def check(name: str, ours: Tensor, theirs: Tensor) -> None:
    difference = (ours - theirs).abs().max().item()
    print(f"{name}: differs by {difference:.1e}, deviation {ours.std().item():.2f}")
    assert ours.std() > 0.1
    assert difference < 1e-9


def encoder_pair(build: Any, changes: dict[str, Any], unused: set[str], **theirs: Any) -> Any:
    """Return our encoder and the public one, with two blocks."""
    config = EncoderConfig(
        image_size=PIXELS, width=WIDTH, depth=2, heads=HEADS, frames=FRAMES, **changes
    )
    ours = filled(VisionTransformer(config))
    size = {"img_size": (PIXELS, PIXELS), "num_frames": FRAMES, "tubelet_size": 2}
    size |= {"embed_dim": WIDTH, "depth": 2, "num_heads": HEADS, "mlp_ratio": 4}
    norm = {"norm_layer": lambda width: nn.LayerNorm(width, eps=1e-6)}
    return ours, give(ours, build(patch_size=16, **size, **norm, **theirs), unused)


@pytest.mark.parametrize("positions", [Positions.rope, Positions.sincos])
def test_encoders_of_v_jepa_and_v_jepa_2(positions: Positions, public: Any) -> None:
    rope = positions is Positions.rope
    ours, theirs = encoder_pair(
        public("src.models.vision_transformer").VisionTransformer,
        {"positions": positions},
        set() if rope else {"pos_embed"},
        use_rope=rope,
        uniform_power=True,
    )
    for shape in [(4, 64, 64), (2, 64, 64), (4, 32, 96), (8, 64, 64)]:
        video = random(2, 3, *shape)
        keep, _ = drawn(shape[0] // 2 * shape[1] // 16 * shape[2] // 16, 7, 0)
        check(f"{positions.name} {shape}", ours(video), theirs(video))
        check(f"{positions.name} {shape} masked", ours(video, keep), theirs(video, [keep]))


@pytest.mark.parametrize("positions", [Positions.rope, Positions.sincos])
def test_predictors_of_v_jepa_and_v_jepa_2(positions: Positions, public: Any) -> None:
    rope = positions is Positions.rope
    config = PredictorConfig(
        width=48, depth=2, heads=HEADS, mask_tokens=3, positions=positions, base_grid=[2, 4, 4]
    )
    ours = filled(MaskedPredictor(config, WIDTH))
    theirs = public("src.models.predictor").vit_predictor(
        img_size=(PIXELS, PIXELS),
        num_frames=FRAMES,
        embed_dim=WIDTH,
        predictor_embed_dim=48,
        depth=2,
        num_heads=HEADS,
        use_mask_tokens=True,
        num_mask_tokens=3,
        uniform_power=True,
        use_rope=rope,
        patch_size=16,
    )
    give(ours, theirs, set() if rope else {"predictor_pos_embed"})
    keep, masked = drawn(32, 11, 9)
    context = random(2, 11, WIDTH)
    for index in range(3):
        predicted = ours(context, keep, masked, grid=(2, 4, 4), mask_index=index)
        expected = theirs(context.clone(), [keep], [masked], mask_index=index)
        check(f"{positions.name} mask {index}", predicted, expected)


@pytest.mark.parametrize("use_extrinsics", [False, True], ids=["", "extrinsics"])
def test_action_conditioned_predictor(use_extrinsics: bool, public: Any) -> None:
    config = ACPredictorConfig(
        width=96, depth=2, heads=4, grid_size=4, use_extrinsics=use_extrinsics
    )
    for rows, columns in [(4, 4), (4, 2)]:
        ours = filled(ACPredictor(config, WIDTH))
        theirs = public("src.models.ac_predictor").vit_ac_predictor(
            img_size=(16 * rows, 16 * columns),
            patch_size=16,
            num_frames=8,
            tubelet_size=2,
            embed_dim=WIDTH,
            predictor_embed_dim=96,
            depth=2,
            num_heads=4,
            use_extrinsics=use_extrinsics,
        )
        # The public module has these weights even where it does not use them.
        unused = {"extrinsics_encoder.weight", "extrinsics_encoder.bias"}
        give(ours, theirs, set() if use_extrinsics else unused)
        for steps in range(1, 5):
            latents = random(2, steps, rows * columns, WIDTH)
            poses, actions, views = (part for part in random(3, 2, steps, 7).tanh())
            views = views[..., :6] if use_extrinsics else None
            predicted = ours(latents, poses, actions, extrinsics=views, grid=(rows, columns))
            expected = theirs(latents.flatten(1, 2), actions, poses, views)
            expected = normalise_tokens(expected).unflatten(1, (steps, -1))
            check(f"{rows} x {columns}, {steps} steps", predicted, expected)


NEW = {"rope": RopeForm.interleaved, "rope_grid": 16, "image_tokens": True}


@pytest.mark.parametrize("shape", [(4, 64, 64), (2, 96, 32), (1, 64, 64), (1, 32, 96)])
def test_encoder_of_v_jepa_21_with_levels_and_images(
    shape: tuple[int, int, int], public_21: Any
) -> None:
    config = EncoderConfig(image_size=64, width=WIDTH, depth=12, heads=HEADS, levels=4, **NEW)
    ours = filled(VisionTransformer(config))
    theirs = public_21("app.vjepa_2_1.models.vision_transformer").VisionTransformer(
        img_size=(PIXELS, PIXELS),
        patch_size=16,
        num_frames=FRAMES,
        embed_dim=WIDTH,
        depth=12,
        num_heads=HEADS,
        norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6),
        use_rope=True,
        interpolate_rope=True,
        img_temporal_dim_size=1,
    )
    give(ours, theirs, set())
    video = random(2, 3, *shape)
    keep, _ = drawn(-(-shape[0] // 2) * shape[1] // 16 * shape[2] // 16, 5, 0)
    check(f"{shape}", ours(video), theirs(video))
    check(f"{shape} levels", ours.levels(video), theirs(video, training=True))
    masked = ours.levels(video, keep), theirs(video, [keep], training=True)
    check(f"{shape} levels, masked", *masked)


@pytest.mark.parametrize("image", [False, True], ids=["video", "image"])
@pytest.mark.parametrize("distilled", [False, True], ids=["levels", "distilled"])
def test_predictor_of_v_jepa_21(distilled: bool, image: bool, public_21: Any) -> None:
    levels, target = (1, 40) if distilled else (4, 0)
    config = PredictorConfig(
        width=48,
        depth=4,
        heads=HEADS,
        mask_tokens=2,
        levels=levels,
        dense=True,
        target_width=target,
        **NEW,
    )
    ours = filled(MaskedPredictor(config, WIDTH))
    theirs = public_21("app.vjepa_2_1.models.predictor").vit_predictor(
        img_size=(PIXELS, PIXELS),
        patch_size=16,
        num_frames=FRAMES,
        embed_dim=WIDTH,
        predictor_embed_dim=48,
        depth=4,
        num_heads=HEADS,
        use_mask_tokens=True,
        num_mask_tokens=2,
        use_rope=True,
        interpolate_rope=True,
        img_temporal_dim_size=1,
        return_all_tokens=True,
        n_output_distillation=levels,
        teacher_embed_dim=target or None,
    )
    give(ours, theirs, set())
    grid = (1 if image else 2, 4, 4)
    keep, masked = drawn(grid[0] * 16, 7, 5)
    context = random(2, 7, WIDTH * levels)
    predicted = ours.dense(context, keep, masked, grid=grid, mask_index=1, image=image)
    expected = theirs(
        context.clone(), [keep], [masked], mod="image" if image else "video", mask_index=1
    )
    for name, got, wanted in zip(("masked", "visible"), predicted, expected, strict=True):
        check(name, got, wanted)


RELEASED = {
    "vit_b_21_distilled": "vjepa2_1_vit_base_384",
    "vit_l_21_distilled": "vjepa2_1_vit_large_384",
    "vit_g_21": "vjepa2_1_vit_giant_384",
    "vit_G_21": "vjepa2_1_vit_gigantic_384",
}


@pytest.mark.parametrize("name", RELEASED)
def test_presets_have_the_weights_of_the_released_v_jepa_21(name: str, public_21: Any) -> None:
    model = MODELS[name]()
    with torch.device("meta"):
        ours = (
            VisionTransformer(model.encoder),
            MaskedPredictor(model.predictor, model.encoder.width),
        )
        with pytest.MonkeyPatch.context() as patched:
            # How often paths are dropped is read from tensors, which hold nothing here.
            patched.setattr(Tensor, "item", lambda _: 0.0)
            theirs = getattr(public_21("src.hub.backbones"), RELEASED[name])(pretrained=False)
    for mine, published in zip(ours, theirs, strict=True):
        shapes = [
            {key: x.shape for key, x in module.named_parameters()} for module in (mine, published)
        ]
        assert shapes[0] == shapes[1]
    blocks = theirs[0].hierarchical_layers
    assert model.encoder.level_ends == blocks
