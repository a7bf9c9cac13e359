"""Compiles every module whole and compares it with what runs uncompiled; fails at the first break.

Run in a process of its own, since shapes that are checked at run time cannot be traced. Dynamo
alone is run, not a compiler behind it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vjepa_gym.learning.layers import Memory, RopeForm, initialise
from vjepa_gym.world_models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa_gym.world_models.encoder import EncoderConfig, Positions, Stem, VisionTransformer
from vjepa_gym.world_models.predictor import MaskedPredictor, PredictorConfig

GENERATOR = torch.Generator().manual_seed(0)
NEW = {"rope": RopeForm.interleaved, "rope_grid": 3, "levels": 2, "image_tokens": True}


def check(function: Callable[..., Any], weight: Tensor, *arguments: Any, **named: Any) -> None:
    """Refuse a graph that is broken, other outputs, and another gradient of `weight`."""
    torch._dynamo.reset()
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    outputs, gradients = [], []
    for one in (function, compiled):
        output = one(*arguments, **named)
        # Of the dense prediction, the masked and the visible tokens.
        output = torch.cat(output, 1) if isinstance(output, tuple) else output
        outputs.append(output)
        gradients += torch.autograd.grad(output.square().mean(), weight)
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*gradients)


def drawn(tokens: int) -> tuple[Tensor, Tensor]:
    order = torch.stack([torch.randperm(tokens, generator=GENERATOR) for _ in range(2)])
    return order[:, :6], order[:, 6:10]


def check_encoder(video: Tensor, checkpointing: bool, **changes: Any) -> None:
    sizes: dict[str, Any] = {"image_size": 16, "patch_size": 4, "width": 24, "depth": 2, "heads": 2}
    config = EncoderConfig(**{**sizes, "mlp_ratio": 2.0, **changes})
    encoder = VisionTransformer(config)
    initialise(encoder, GENERATOR)
    encoder.checkpointing = checkpointing
    weight = encoder.get_parameter("blocks.0.attn.qkv.weight")
    keep = drawn(16)[0]
    if changes:
        check(encoder.levels, weight, video, keep)
    else:
        check(encoder, weight, video)
        check(encoder, weight, video, keep)


def check_predictor(checkpointing: bool, **changes: Any) -> None:
    config = PredictorConfig(width=12, depth=2, heads=2, dense=True, **changes)
    predictor = MaskedPredictor(config, 8)
    initialise(predictor, GENERATOR)
    predictor.checkpointing = checkpointing
    keep, masked = drawn(16)
    context = torch.randn(2, 6, 8 * config.levels, generator=GENERATOR)
    weight = predictor.get_parameter("predictor_blocks.0.attn.qkv.weight")
    predict = predictor.dense if changes else predictor
    check(predict, weight, context, keep, masked, grid=(2, 2, 4), mask_index=1)


def check_ac_predictor(checkpointing: bool, use_extrinsics: bool) -> None:
    config = ACPredictorConfig(
        width=24, depth=2, heads=2, grid_size=2, use_extrinsics=use_extrinsics
    )
    predictor = ACPredictor(config, 8)
    initialise(predictor, GENERATOR)
    predictor.checkpointing = checkpointing
    latents, poses = torch.randn(2, 3, 6, 8), torch.randn(2, 3, 7)
    views = torch.randn(2, 3, 6) if use_extrinsics else None
    weight = predictor.get_parameter("predictor_blocks.0.attn.qkv.weight")
    check(predictor, weight, latents, poses, poses, extrinsics=views, grid=(2, 3))
    if checkpointing or use_extrinsics:
        return

    def two_steps(latents: Tensor, poses: Tensor) -> Tensor:
        memories = [Memory() for _ in predictor.predictor_blocks]
        predictor(latents[:, :1], poses[:, :1], poses[:, :1], memories, 0, grid=(2, 3))
        return predictor(latents[:, 1:2], poses[:, 1:2], poses[:, 1:2], memories, 1, grid=(2, 3))

    check(two_steps, weight, latents, poses)


def main() -> None:
    video = torch.randn(2, 3, 4, 16, 16, generator=GENERATOR)
    check_encoder(video, checkpointing=False)
    check_encoder(video, checkpointing=True, **NEW)
    check_encoder(video[:, :, :1], checkpointing=False, **NEW)
    check_encoder(video, checkpointing=False, positions=Positions.sincos, stem=Stem.conv)
    large = torch.randn(2, 3, 4, 32, 32, generator=GENERATOR)
    in_large_patches = {"stem": Stem.hierarchical, "image_size": 32, "patch_size": 8}
    check_encoder(large, checkpointing=False, **in_large_patches)
    check_predictor(checkpointing=True)
    check_predictor(checkpointing=False, **NEW)
    check_ac_predictor(checkpointing=False, use_extrinsics=False)
    check_ac_predictor(checkpointing=True, use_extrinsics=True)


if __name__ == "__main__":
    main()
