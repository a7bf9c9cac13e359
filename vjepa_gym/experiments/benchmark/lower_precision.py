"""What fewer bits than 32 gain, and what they change in features and in plans."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from vjepa_gym.agents.base import Target
from vjepa_gym.agents.energies import L1
from vjepa_gym.experiments.benchmark.report import Comparison, Limit
from vjepa_gym.experiments.benchmark.seen import Scenes, draw_actions
from vjepa_gym.experiments.benchmark.turns import by_turns
from vjepa_gym.learning.int8 import Int8Linear
from vjepa_gym.learning.precision import computing_in
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

SAMPLES, HORIZON = 64, 2
"""Of the rollouts that are timed."""
ROWS = 1024
"""Tokens that pass a linear layer which is timed by itself."""


def compare_layers(
    widths: Sequence[int],
    precision: str,
    device: torch.device,
    *,
    rounds: int,
    seconds: float,
) -> list[Comparison]:
    """Measure the two layers of an MLP of each width, with weights drawn at random."""
    found = []
    for width in widths:
        torch.manual_seed(width)
        layers = nn.Sequential(nn.Linear(width, 4 * width), nn.Linear(4 * width, width)).to(device)
        x = torch.randn(ROWS, width, device=device)
        rates = by_turns(
            {"lower": _passing(layers, x, precision), "float32": lambda m=layers, x=x: m(x)},
            rounds=rounds,
            seconds=seconds,
        )
        found.append(
            Comparison(
                what=f"linear layers {width} to {4 * width} and back, {ROWS} tokens, {precision}",
                ours=rates["lower"],
                stock=rates["float32"],
                by_clock=True,
            )
        )
    return found


def compare_precision(
    model: VJEPA2AC,
    lower: VJEPA2AC,
    precision: str,
    scenes: Scenes,
    *,
    actions: int,
    seed: int,
    rounds: int,
    seconds: float,
) -> tuple[list[Comparison], list[Limit]]:
    """Lower one of two equal models, and measure both.

    Args:
        model: Computes in float32.
        lower: Will compute in `precision`.
        precision: Which.
        scenes: What both see.
        actions: How many random actions are ranked by their energies.
        seed: Of the actions.
        rounds: How often both are measured by turns.
        seconds: How long each time, at least [s].
    """
    lower.lower(precision)
    images = scenes.images[:, -1]
    context = scenes.context(1)
    futures = draw_actions(SAMPLES, HORIZON, seed).to(context.poses.device)
    comparisons = []
    tasks: dict[str, Callable[[VJEPA2AC], object]] = {
        f"encoding {len(images)} images": lambda m: m.encode(images),
        f"rollouts of {HORIZON} steps, {SAMPLES} samples": lambda m: m.imagine(context, futures),
    }
    for what, task in tasks.items():
        turns = {"lower": lambda t=task: t(lower), "float32": lambda t=task: t(model)}
        rates = by_turns(turns, rounds=rounds, seconds=seconds)
        comparisons.append(
            Comparison(
                what=f"{what}, {precision}",
                ours=rates["lower"],
                stock=rates["float32"],
                by_clock=True,
            )
        )
    limits = [_feature_error(model, lower, scenes)]
    if len(scenes.images) > 1:
        limits.append(_ranking_error(model, lower, scenes, actions, seed))
    return comparisons, limits


def _feature_error(model: VJEPA2AC, lower: VJEPA2AC, scenes: Scenes) -> Limit:
    images = scenes.images.flatten(0, 1)
    expected, found = model.encode(images), lower.encode(images)
    return Limit(
        what=f"error of the features of {len(images)} images, {lower.precision}",
        unit="%, relative L2",
        ours=100 * float((found - expected).norm() / expected.norm()),
        notes={
            "least_cosine_of_a_token": float(cosine_similarity(found, expected, -1).min()),
            "largest_difference": float((found - expected).abs().max()),
            "largest_feature": float(expected.abs().max()),
        },
    )


def _ranking_error(
    model: VJEPA2AC, lower: VJEPA2AC, scenes: Scenes, actions: int, seed: int
) -> Limit:
    """Compare how both rank random actions by the energy that they lead to, of several goals."""
    drawn = draw_actions(actions, 1, seed + 1).to(scenes.poses.device)
    energies = []
    for used in (model, lower):
        latents = used.encode(scenes.images[:, -1])
        context = replace(scenes.context(1), latents=latents[:1, None])
        imagined = used.imagine(context, drawn)
        goals = [Target(latents=goal[None]) for goal in latents[1:]]
        energies.append([L1()(imagined, goal)[0] for goal in goals])
    correlations = [rank_correlation(a, b) for a, b in zip(*energies, strict=True)]
    same = [float(a.argmin() == b.argmin()) for a, b in zip(*energies, strict=True)]
    return Limit(
        what=f"1 - rank correlation of the energies of {actions} actions, {lower.precision}",
        unit="of 1",
        ours=1 - sum(correlations) / len(correlations),
        notes={
            "least_rank_correlation": min(correlations),
            "same_best_action": sum(same) / len(same),
        },
    )


def rank_correlation(one: Float[Tensor, " n"], other: Float[Tensor, " n"]) -> float:
    """Return Spearman's rank correlation of two lists without ties."""
    ranks = torch.stack([x.argsort().argsort().double() for x in (one, other)])
    return float(torch.corrcoef(ranks)[0, 1])


def _passing(
    layers: nn.Sequential, x: Float[Tensor, "tokens width"], precision: str
) -> Callable[[], Any]:
    if precision == "int8":
        lowered = nn.Sequential(
            *(Int8Linear(layer) for layer in layers if isinstance(layer, nn.Linear))
        )
    else:
        lowered = deepcopy(layers).bfloat16()

    def work() -> Tensor:
        with computing_in(precision, x.device):
            return lowered(x)

    return work
