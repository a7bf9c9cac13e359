"""Clips a second of a pretraining step: ours, and a plain loop around transformers' modules.

All do the same: the loss of two kinds of mask, its gradient, a step of AdamW, the moving average.
Ours is the objective that `vjepa-gym pretrain` trains. The clips are noise, which takes as long as
anything else.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vjepa_gym.experiments.benchmark.plain_pretraining import (
    EncodesEverything,
    MaskPair,
    PlainLoop,
    make_model,
)
from vjepa_gym.experiments.benchmark.report import Benchmark, Comparison, Limit
from vjepa_gym.experiments.benchmark.settings import BESIDE, TrainingSettings
from vjepa_gym.experiments.benchmark.turns import by_turns, on_threads
from vjepa_gym.experiments.timing import Rate, machine
from vjepa_gym.learning.averaging import update_average
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.masked_objective import MaskedObjective
from vjepa_gym.world_models.masking import published_masks, sample_masks
from vjepa_gym.world_models.predictor import MaskedPredictor
from vjepa_gym.world_models.presets import MODELS, ModelConfig

OURS, PLAIN, ONCE, EVERY = "ours", *BESIDE
LEAST = {PLAIN: 1.3, ONCE: None, EVERY: 3.0}
"""How many times the clips a second of each ours should have."""
WHATS = {
    PLAIN: "a plain loop around transformers, masked tokens dropped before the first block",
    ONCE: "the same, every token encoded, once for both masks",
    EVERY: "the same, every token encoded, once a mask as VJEPA2Model has it",
}
EMA, RATE, DECAY = 0.99925, 1e-4, 0.04
VERSIONS = ("torch", "transformers")
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bfloat16 FLOP/s of some GPUs, as their makers state it."""


@dataclass(frozen=True)
class _Work:
    """What one step learns from."""

    model: ModelConfig
    video: Float[Tensor, "batch 3 frames height width"]
    masks: list[MaskPair]

    @property
    def grid(self) -> tuple[int, int, int]:
        """Times, rows and columns of a clip [tokens]."""
        encoder, (frames, height, width) = self.model.encoder, self.video.shape[2:]
        size = encoder.patch_size
        return frames // encoder.tubelet_size, height // size, width // size


def measure_training(
    settings: TrainingSettings,
    *,
    rounds: int,
    seconds: float,
    seed: int,
    on_part: Callable[[str], None],
) -> Benchmark:
    """Measure all loops by turns.

    Args:
        settings: Sizes of model and clips.
        rounds: How often each is measured.
        seconds: How long each time, at least; whole steps are taken [s].
        seed: Of the weights, the clips and the masks.
        on_part: Called with what comes next.

    Raises:
        VJEPAGymError: transformers is not installed.
        UnknownNameError: There is no such model or device.
    """
    device = choose_device(settings.device)
    with on_threads(settings.threads) as threads:
        on_part("models")
        work = _work(settings, seed, device)
        steps = make_steps(settings, work, seed)
        report = by_turns(
            steps, rounds=rounds, seconds=seconds, on_round=lambda i: on_part(f"round {i}")
        )
    on_part("")
    clips = {
        name: [rate.times(float(settings.batch_size)) for rate in report[name]] for name in steps
    }
    about = machine(None, VERSIONS) | {"threads": threads, "device": str(device)}
    if device.type == "cuda":
        about["device"] = torch.cuda.get_device_name(device)
    return Benchmark(
        comparisons=[
            Comparison(
                what=f"clips, beside {WHATS[name]}",
                ours=clips[OURS],
                stock=clips[name],
                least=LEAST[name],
                by_clock=True,
            )
            for name in steps
            if name != OURS
        ],
        limits=[*_shares(work), *_peak_share(settings, work, clips[OURS], about)],
        machine=about,
        other="transformers",
        how=f"{_title(settings, device)}; by the clock",
    )


def make_steps(
    settings: TrainingSettings, work: _Work, seed: int
) -> dict[str, Callable[[], Float[Tensor, ""]]]:
    """Return what takes one step of each loop, and returns its loss."""
    device = work.video.device
    ours = _ours(work.model, seed).to(device)
    group = {
        "clips": work.video,
        "keep": [keep for keep, _ in work.masks],
        "masked": [masked for _, masked in work.masks],
    }
    steps = {OURS: _step(ours, (ours.encoder, ours.target), lambda: ours(video=group)[0], settings)}
    video = work.video.transpose(1, 2).contiguous()
    for name in settings.beside:
        torch.manual_seed(seed)
        model = make_model(work.model, frames=work.video.shape[2], image_size=work.video.shape[-1])
        loop = PlainLoop(model) if name == PLAIN else EncodesEverything(model, once=name == ONCE)
        loop.to(device)
        steps[name] = _step(
            loop, (loop.model.encoder, loop.target), _bind(loop, video, work.masks), settings
        )
    return steps


def _bind(loop: PlainLoop, video: Tensor, masks: list[MaskPair]) -> Callable[[], Tensor]:
    return lambda: loop(video, masks)


def _step(
    objective: nn.Module,
    average: tuple[nn.Module, nn.Module],
    loss: Callable[[], Tensor],
    settings: TrainingSettings,
) -> Callable[[], Float[Tensor, ""]]:
    trained = [x for x in objective.parameters() if x.requires_grad]
    kind = trained[0].device.type
    groups = [
        {"params": [x for x in trained if x.ndim > 1], "weight_decay": DECAY},
        {"params": [x for x in trained if x.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=RATE, fused=True)
    fast, slow = average

    def step() -> Float[Tensor, ""]:
        optimiser.zero_grad()
        with torch.autocast(kind, torch.bfloat16, settings.uses_bfloat16(kind)):
            found = loss()
        found.backward()
        optimiser.step()
        update_average(slow, fast, EMA)
        return found.detach()

    return step


def _ours(model: ModelConfig, seed: int) -> MaskedObjective:
    generator = torch.Generator().manual_seed(seed)
    encoder = VisionTransformer(model.encoder)
    predictor = MaskedPredictor(model.predictor, model.encoder.width)
    initialise(encoder, generator)
    initialise(predictor, generator)
    return MaskedObjective(encoder, predictor, deepcopy(encoder).requires_grad_(False))


def _work(settings: TrainingSettings, seed: int, device: torch.device) -> _Work:
    model = MODELS[settings.model]()
    model = replace(model, encoder=replace(model.encoder, image_size=settings.image_size))
    generator = torch.Generator().manual_seed(seed)
    side = settings.image_size
    shape = (settings.batch_size, 3, settings.frames, side, side)
    video = torch.randn(shape, generator=generator).to(device)
    work = _Work(model, video, [])
    for kind in published_masks():
        drawn = sample_masks(kind, settings.batch_size, work.grid, generator)
        work.masks.append((drawn.keep.to(device), drawn.masked.to(device)))
    return work


def _title(settings: TrainingSettings, device: torch.device) -> str:
    side = settings.image_size
    number = "bfloat16" if settings.uses_bfloat16(device.type) else "float32"
    clips = f"{settings.batch_size} clips of {settings.frames} frames of {side} x {side} px"
    return f"{settings.model}, {clips} a step, {number}"


def _shares(work: _Work) -> list[Limit]:
    tokens = work.grid[0] * work.grid[1] * work.grid[2]
    return [
        Limit(
            what=f"visible tokens of {tokens} under mask {kind}",
            unit="%",
            ours=100 * keep.shape[1] / tokens,
            notes={"masked": 100 * masked.shape[1] / tokens},
        )
        for kind, (keep, masked) in enumerate(work.masks, start=1)
    ]


def _peak_share(
    settings: TrainingSettings, work: _Work, clips: list[Rate], about: dict[str, Any]
) -> list[Limit]:
    """Return which part of a GPU's bfloat16 FLOP/s the matrix products of ours come to."""
    named = [peak for name, peak in PEAKS.items() if name in str(about["device"])]
    if not named or not settings.uses_bfloat16("cuda"):
        return []
    done = flops_a_clip(work.model, work.grid, work.masks) * median(rate.wall for rate in clips)
    what = f"of {about['device']}'s dense bfloat16 FLOP/s ({named[0] / 1e12:g} T)"
    return [Limit(what=what, unit="%", ours=100 * done / named[0], notes={"flop_per_second": done})]


def flops_a_clip(model: ModelConfig, grid: tuple[int, int, int], masks: list[MaskPair]) -> float:
    """Return how many operations the matrix products of a step take for each clip.

    A multiplication and an addition are two. The backward pass takes twice the forward's; nothing
    is computed again.

    Args:
        model: Sizes of encoder and predictor.
        grid: Times, rows and columns of a clip [tokens].
        masks: Tokens seen and predicted under each kind of mask.
    """
    encoder, predictor = model.encoder, model.predictor
    pixels = 3 * encoder.tubelet_size * encoder.patch_size**2
    whole = grid[0] * grid[1] * grid[2]
    total = _stack(encoder.width, encoder.depth, encoder.mlp_ratio, whole)
    total += 2 * whole * pixels * encoder.width
    for keep, masked in masks:
        kept, wanted = keep.shape[1], masked.shape[1]
        seen = _stack(encoder.width, encoder.depth, encoder.mlp_ratio, kept)
        seen += 2 * kept * pixels * encoder.width
        said = _stack(predictor.width, predictor.depth, predictor.mlp_ratio, kept + wanted)
        said += 2 * (kept + wanted) * encoder.width * predictor.width
        total += 3 * (seen + said)
    return float(total)


def _stack(width: int, depth: int, mlp_ratio: float, tokens: int) -> float:
    linear = 2.0 * tokens * width * (4 * width + 2 * int(width * mlp_ratio))
    return depth * (linear + 4 * tokens * tokens * width)
