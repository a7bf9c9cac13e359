"""How well the end effector's position can be read off latents."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.learning.probes import fit_mlp, fit_ridge
from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import WorldModel
from vjepa_gym.world_models.latents import encoded

MOST_FEATURES = 32_768
"""Features of a frame that readers are given; with those of ViT-g, 360 000, none would fit into the
memory of a GPU, and the more there are, the more rows a reader needs."""


def probe_errors(
    world_model: WorldModel, fitted: Frames, judged: Frames, generator: torch.Generator
) -> dict[str, list[float]]:
    """Return mean absolute errors along x, y, z [mm] on episodes that the probes have not seen.

    `ridge_error_mm` is of a linear reader, `mlp_error_mm` of a small network, and
    `chance_error_mm` of always saying the mean position.

    Args:
        world_model: Its latents are read.
        fitted: Episodes that the readers are fitted on.
        judged: Episodes that they are judged on.
        generator: Of the rows that are held back in fitting.
    """
    features, positions = _read(world_model, fitted)
    unseen, truth = _read(world_model, judged)
    said = {
        "ridge_error_mm": fit_ridge(features, positions, generator=generator)(unseen),
        "mlp_error_mm": fit_mlp(features, positions, generator=generator)(unseen),
        "chance_error_mm": positions.mean(0),
    }
    return {name: ((read - truth).abs().mean(0) * 1000).tolist() for name, read in said.items()}


def pooled(tokens: Float[Tensor, "rows tokens dim"]) -> Float[Tensor, "rows fewer dim"]:
    """Return tokens averaged over squares of 2 x 2, as often as needed for `MOST_FEATURES` a row.

    Only square grids with an even side are averaged; others stay as they are.
    """
    side = math.isqrt(tokens.shape[1])
    while tokens.shape[1] * tokens.shape[2] > MOST_FEATURES and side % 2 == 0:
        grid = tokens.unflatten(1, (side // 2, 2, side // 2, 2))
        tokens, side = grid.mean((2, 4)).flatten(1, 2), side // 2
    return tokens


def _read(
    world_model: WorldModel, frames: Frames
) -> tuple[Float[Tensor, "rows features"], Float[Tensor, "rows 3"]]:
    parts = [pooled(part).flatten(1) for part in encoded(world_model, frames)]
    latents = torch.cat(parts)
    return latents, torch.tensor(frames.poses[:, :3]).to(latents.device)
