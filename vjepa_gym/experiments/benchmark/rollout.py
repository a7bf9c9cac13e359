"""How fast many futures are imagined, and how fast and how exact that is in fewer bits.

Beside imagining with memory stands the plain computation: every sample's whole sequence passes the
predictor again at each step. Both see what the simulator draws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.errors import CheckpointError
from vjepa_gym.experiments.benchmark.lower_precision import compare_layers, compare_precision
from vjepa_gym.experiments.benchmark.report import Benchmark, Comparison, Limit
from vjepa_gym.experiments.benchmark.seen import Scenes, draw_actions, look
from vjepa_gym.experiments.benchmark.settings import RolloutSettings
from vjepa_gym.experiments.benchmark.turns import by_turns, on_threads
from vjepa_gym.experiments.timing import machine
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.base import Context
from vjepa_gym.world_models.imagination import imagine
from vjepa_gym.world_models.loading import load
from vjepa_gym.world_models.poses import integrate
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

MOST_TIME = 0.55
"""Part of the plain computation's time that a rollout may take, where that is asked."""
ASKED = {"horizon": 4, "samples": 64, "contexts": (1, 2)}
"""Where."""
MOST_DIFFERENCE = 1e-5
"""How much imagining may differ from the plain computation (relative L2, float32)."""
VERSIONS = ("torch", "mujoco")


@dataclass(frozen=True)
class _Size:
    """One kind of rollout."""

    past: int
    horizon: int
    samples: int

    def __str__(self) -> str:
        frames = f"{self.past} frame" + "s" * (self.past > 1)
        steps = f"{self.horizon} step" + "s" * (self.horizon > 1)
        return f"{steps}, {self.samples} samples, from {frames}"

    @property
    def asked(self) -> bool:
        """Whether a rollout of this kind has to be fast."""
        there = self.horizon == ASKED["horizon"] and self.samples == ASKED["samples"]
        return there and self.past in ASKED["contexts"]


def measure_rollout(
    settings: RolloutSettings,
    *,
    rounds: int,
    seconds: float,
    seed: int,
    on_part: Callable[[str], None],
) -> Benchmark:
    """Measure rollouts of every size, and what fewer bits change.

    Args:
        settings: Which rollouts of which model.
        rounds: How often both ways are measured by turns.
        seconds: How long each time, at least; whole rollouts are computed [s].
        seed: Of the scenes and the actions.
        on_part: Called with what comes next.

    Raises:
        RenderingError: This machine has no working OpenGL.
        CheckpointError: The model cannot be loaded, or is an encoder only.
    """
    device = choose_device(settings.device)
    model = _load(settings.model, device)
    comparisons: list[Comparison] = []
    limits: list[Limit] = []
    how: dict[str, Any] = {"rounds": rounds, "seconds": seconds}
    with on_threads(settings.threads) as threads, torch.no_grad():
        on_part("scenes")
        scenes = look(model, settings.images, max(settings.contexts), seed)
        sizes = product(settings.contexts, settings.horizons, settings.samples)
        for size in (_Size(*numbers) for numbers in sizes):
            on_part(str(size))
            row, difference = _compare(model.predictor, scenes, size, seed, how)
            comparisons.append(row)
            limits.append(difference)
        for precision in settings.precisions:
            on_part(f"{precision}: layers")
            comparisons += compare_layers(settings.widths, precision, device, **how)
            on_part(f"{precision}: model")
            lower = _load(settings.model, device)
            rows, errors = compare_precision(
                model, lower, precision, scenes, actions=settings.actions, seed=seed, **how
            )
            comparisons += rows
            limits += errors
    on_part("")
    return Benchmark(
        comparisons=comparisons,
        limits=limits,
        machine=machine(None, VERSIONS) | {"threads": threads, "device": str(device)},
        other="plain, or float32",
        how=f"{settings.model}, of images that the simulator draws; by the clock",
    )


def imagine_plainly(
    predictor: ACPredictor, context: Context, actions: Float[Tensor, "n samples horizon 7"]
) -> Float[Tensor, "n samples horizon tokens dim"]:
    """Return what `imagine` does, everything computed anew for every sample at each step."""
    samples = actions.shape[1]
    latents, poses, done = (
        x.repeat_interleave(samples, 0) for x in (context.latents, context.poses, context.actions)
    )
    past = latents.shape[1]
    for action in actions.flatten(0, 1).split(1, 1):
        done = torch.cat([done, action], 1)
        latents = torch.cat([latents, predictor(latents, poses, done)[:, -1:]], 1)
        poses = torch.cat([poses, integrate(poses[:, -1:], action)], 1)
    return latents[:, past:].unflatten(0, (-1, samples))


def _compare(
    predictor: ACPredictor, scenes: Scenes, size: _Size, seed: int, how: dict[str, Any]
) -> tuple[Comparison, Limit]:
    context = scenes.context(size.past)
    actions = draw_actions(size.samples, size.horizon, seed).to(context.poses.device)
    plain, cached = (
        imagine_plainly(predictor, context, actions),
        imagine(predictor, context, actions).latents,
    )
    rates = by_turns(
        {
            "cached": lambda: imagine(predictor, context, actions),
            "plain": lambda: imagine_plainly(predictor, context, actions),
        },
        **how,
    )
    row = Comparison(
        what=f"rollouts of {size}",
        ours=rates["cached"],
        stock=rates["plain"],
        least=1 / MOST_TIME if size.asked else None,
        by_clock=True,
    )
    difference = Limit(
        what=f"difference from the plain, {size}",
        unit="relative L2",
        ours=float((cached - plain).norm() / plain.norm()),
        most=MOST_DIFFERENCE,
        notes={"largest": float((cached - plain).abs().max())},
    )
    return row, difference


def _load(name: str, device: torch.device) -> VJEPA2AC:
    model = load(name, device=device, precision="float32")
    if not isinstance(model, VJEPA2AC):
        raise CheckpointError(
            f"{name} holds an encoder only; rollouts need an action-conditioned predictor too."
        )
    return model
