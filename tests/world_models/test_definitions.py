"""Masked encoding and action-conditioned prediction equal their definitions, written out plainly.

Everything below `plain_` works on one sample, from the weights by name: layers, rotations and masks
are restated with loops, so that nothing is shared with what they check.
"""

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from vjepa_gym.world_models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa_gym.world_models.encoder import EncoderConfig, VisionTransformer

Weights = Mapping[str, Tensor]
SIZES = {"l": (1024, 16, 4.0), "h": (1280, 16, 4.0), "g": (1408, 22, 48 / 11)}


def filled(module: nn.Module) -> nn.Module:
    """Return a module made on the meta device with every weight another random number."""
    generator = torch.Generator().manual_seed(0)
    module.double().to_empty(device="cpu").requires_grad_(False)
    for name, weight in module.named_parameters():
        gain = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        nn.init.uniform_(weight, gain - 0.05, gain + 0.05, generator=generator)
    for name, buffer in module.named_buffers():
        buffer.fill_(0.0 if name.endswith("mean") else 1.0)
    return module


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def plain_norm(x: Tensor, weights: Weights | None = None, name: str = "") -> Tensor:
    epsilon = 1e-5 if weights is None else 1e-6
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + epsilon).sqrt()
    if weights is None:
        return scaled
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def plain_linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def plain_rotation(x: Tensor, places: list[tuple[float, float, float]]) -> Tensor:
    """Turn the neighbours of each token's head by the released angles (tokens, heads, width)."""
    out = x.clone()
    part = 2 * (x.shape[-1] // 3 // 2)
    at = torch.tensor(places, dtype=torch.float64)
    for axis in range(3):
        for i in range(0, part, 2):
            # The tables are tiled: feature i of a part has frequency i modulo half of it.
            a, b = (
                at[:, axis, None] / 10_000 ** (((i + j) % (part // 2)) / (part / 2)) for j in (0, 1)
            )
            one, two = axis * part + i, axis * part + i + 1
            out[..., one] = x[..., one] * a.cos() - x[..., two] * a.sin()
            out[..., two] = x[..., two] * b.cos() + x[..., one] * b.sin()
    return out


def plain_block(
    x: Tensor, weights: Weights, name: str, heads: int, places: list, may_see: Tensor
) -> Tensor:
    """Return the tokens after one block; `may_see` says which (column) each (row) looks at."""
    normed = plain_norm(x, weights, f"{name}.norm1")
    query, key, value = plain_linear(normed, weights, f"{name}.attn.qkv").chunk(3, -1)
    query, key = (plain_rotation(part.unflatten(-1, (heads, -1)), places) for part in (query, key))
    value = value.unflatten(-1, (heads, -1))
    gathered = torch.zeros_like(value)
    for head in range(heads):
        scores = query[:, head] @ key[:, head].T / math.sqrt(query.shape[-1])
        weight = torch.where(may_see, scores, -math.inf).softmax(-1)
        gathered[:, head] = weight @ value[:, head]
    x = x + plain_linear(gathered.flatten(1), weights, f"{name}.attn.proj")
    hidden = plain_linear(plain_norm(x, weights, f"{name}.norm2"), weights, f"{name}.mlp.fc1")
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    return x + plain_linear(hidden, weights, f"{name}.mlp.fc2")


def plain_encoding(weights: Weights, config: EncoderConfig, video: Tensor, keep: list) -> Tensor:
    """Return the encodings of the tokens `keep` of one video, all others dropped beforehand."""
    rows, columns = (n // 16 for n in video.shape[2:])
    tokens, places = [], []
    for index in keep:
        time, row, column = index // (rows * columns), index // columns % rows, index % columns
        tubelet = video[
            :, 2 * time : 2 * time + 2, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16
        ]
        kernel, bias = weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"]
        tokens.append((kernel * tubelet).sum((1, 2, 3, 4)) + bias)
        places.append((time, row, column))
    x, all_see_all = torch.stack(tokens), torch.ones(len(keep), len(keep), dtype=torch.bool)
    for i in range(config.depth):
        x = plain_block(x, weights, f"blocks.{i}", config.heads, places, all_see_all)
    return plain_norm(x, weights, "norm")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 96)])
def test_masked_encoding_is_encoding_with_tokens_dropped(
    size: str, height: int, width: int
) -> None:
    features, heads, mlp_ratio = SIZES[size]
    config = EncoderConfig(width=features, depth=2, heads=heads, mlp_ratio=mlp_ratio)
    with torch.device("meta"):
        encoder = VisionTransformer(config)
    filled(encoder)
    video = random(2, 3, 4, height, width)
    count = 2 * (height // 16) * (width // 16)
    generator = torch.Generator().manual_seed(3)
    keep = torch.stack([torch.randperm(count, generator=generator)[:7] for _ in range(2)])
    encoded, weights = encoder(video, keep), dict(encoder.named_parameters())
    for sample, kept, got in zip(video, keep, encoded, strict=True):
        expected = plain_encoding(weights, config, sample, kept.tolist())
        torch.testing.assert_close(got, expected, atol=1e-9, rtol=0)
    assert not torch.allclose(encoded, encoder(video)[torch.arange(2)[:, None], keep])


def plain_prediction(
    weights: Weights,
    config: ACPredictorConfig,
    grid: tuple[int, int],
    latents: Tensor,
    conditions: list[tuple[str, Tensor]],
) -> Tensor:
    """Return the latents that one clip is predicted to have a step later.

    Args:
        weights: By name.
        config: Sizes.
        grid: Rows and columns.
        latents: Of each frame, each token.
        conditions: What else each step has a token of, in order, and the map that embeds it.
    """
    tokens, places, steps = [], [], []
    for time, frame in enumerate(latents):
        for name, values in conditions:
            tokens.append(plain_linear(values[time], weights, name))
            places.append((time, 0, 0))
        for index, patch in enumerate(frame):
            tokens.append(plain_linear(patch, weights, "predictor_embed"))
            row, column = index // grid[1], index % grid[1]
            places.append(
                (time, row * config.grid_size / grid[0], column * config.grid_size / grid[1])
            )
        steps += [time] * (len(tokens) - len(steps))
    x = torch.stack(tokens)
    may_see = torch.tensor([[seen <= own for seen in steps] for own in steps])
    for i in range(config.depth):
        x = plain_block(x, weights, f"predictor_blocks.{i}", config.heads, places, may_see)
    x = x.unflatten(0, (len(latents), -1))[:, len(conditions) :]
    return plain_norm(
        plain_linear(plain_norm(x, weights, "predictor_norm"), weights, "predictor_proj")
    )


@pytest.mark.parametrize("use_extrinsics", [False, True], ids=["", "extrinsics"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_action_conditioned_prediction_is_as_defined(steps: int, use_extrinsics: bool) -> None:
    config = ACPredictorConfig(depth=2, use_extrinsics=use_extrinsics)
    with torch.device("meta"):
        predictor = ACPredictor(config, 1408)
    filled(predictor)
    weights = dict(predictor.named_parameters())
    poses, actions, views = (part for part in random(3, 2, steps, 7).tanh())
    extrinsics = views[..., :6] if use_extrinsics else None
    for grid in [(3, 3), (2, 4)]:
        latents = plain_norm(random(2, steps, grid[0] * grid[1], 1408))
        predicted = predictor(
            latents,
            poses,
            actions,
            extrinsics=extrinsics,
            grid=None if grid[0] == grid[1] else grid,
        )
        for i in range(2):
            conditions = [("action_encoder", actions[i]), ("state_encoder", poses[i])]
            conditions += [("extrinsics_encoder", views[i, :, :6])] if use_extrinsics else []
            expected = plain_prediction(weights, config, grid, latents[i], conditions)
            torch.testing.assert_close(predicted[i], expected, atol=1e-9, rtol=0)
