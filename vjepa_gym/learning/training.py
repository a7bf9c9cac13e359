"""The one training loop: optimiser, schedule, log, alarms, and a resume that is exact.

A run that is killed at any moment and started again in the same folder ends, on the same machine,
with the same bytes as one that was left alone: a checkpoint holds the weights, the state of the
optimiser, and that of the one generator from which batches and all other chance are drawn.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vjepa_gym.errors import TrainingError
from vjepa_gym.learning.loss_log import LossLog
from vjepa_gym.learning.resuming import RunState

OnStep = Callable[[int, int, dict[str, float]], None]
"""Called after each step with the steps done, the steps in all, and the metrics."""

LOSSES = "losses.csv"
LATENT_STD = "latent_std"
"""The metric that the collapse alarm listens to: how much latents differ between samples."""


@runtime_checkable
class Task(Protocol):
    """What is trained: it draws its own batches, and says what their loss is."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Return everything with weights, by name; those that need gradients are trained."""
        ...

    def loss(
        self, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss of a batch, drawn with `generator`, and further metrics of it."""
        ...

    def after_step(self, done: float) -> None:
        """Follow a step of the optimiser, such as by a moving average; `done` is in (0, 1]."""
        ...

    def export(self, folder: Path) -> None:
        """Write what the training is for, beside each checkpoint and at the end."""
        ...


@dataclass(kw_only=True)
class TrainingConfig:
    """How any model is trained: AdamW; warm-up, constant, decay."""

    steps: int = 4000
    """Steps of the optimiser."""
    batch_size: int = 64
    """Clips in a batch."""
    learning_rate: float = 1e-3
    """Learning rate between warm-up and decay."""
    start_rate: float = 0.0
    """Learning rate at the first step, as a part of `learning_rate`."""
    final_rate: float = 0.0
    """Learning rate at the last step, as a part of `learning_rate`."""
    warmup: float = 0.05
    """Part of the steps in which the learning rate rises."""
    decay: float = 0.2
    """Part of the steps, at the end, in which it falls."""
    weight_decay: float = 0.04
    """AdamW's; biases and norms are spared."""
    checkpoint_every: int = 250
    """Steps between checkpoints; a kill loses at most these."""
    keep_checkpoints: int = 2
    """Checkpoints that are kept, newest first."""
    log_every: int = 10
    """Steps between rows of `losses.csv`."""
    bfloat16: bool = False
    """Whether to compute in bfloat16 where that is safe; slower than float32 on most CPUs."""
    collapse_below: float = 0.02
    """Deviation of latents between samples under which they count as collapsed."""
    collapse_patience: int = 200
    """Steps in a row that they may be so before training stops."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every", "keep_checkpoints", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.warmup < 0 or self.decay < 0 or self.warmup + self.decay > 1:
            raise ValueError(
                f"warmup and decay are parts of the training, together at most 1; got"
                f" {self.warmup} and {self.decay}"
            )

    def rate_at(self, done: float) -> float:
        """Return the learning rate when a part `done` of the steps, in [0, 1], is over."""
        if done < self.warmup:
            part = self.start_rate + (1 - self.start_rate) * done / self.warmup
        elif done > 1 - self.decay:
            part = self.final_rate + (1 - self.final_rate) * (1 - done) / self.decay
        else:
            part = 1.0
        return self.learning_rate * part


class CollapseAlarm:
    """Stops a training whose latents have become the same for all samples."""

    def __init__(self, below: float, patience: int) -> None:
        self._below, self._patience, self._steps = below, patience, 0

    def check(self, step: int, metrics: Mapping[str, float]) -> None:
        """Look at the metrics of a step.

        Raises:
            TrainingError: The loss is not finite, or latents have been alike for too long.
        """
        if not math.isfinite(metrics["loss"]):
            raise TrainingError(
                f"The loss became {metrics['loss']} at step {step}: lower learning_rate or lengthen"
                " warmup, and look at the data for broken images."
            )
        std = metrics.get(LATENT_STD, math.inf)
        self._steps = self._steps + 1 if std < self._below else 0
        if self._steps >= self._patience:
            raise TrainingError(
                f"The latents collapsed: at step {step} they have differed by less than"
                f" {self._below} between samples for {self._steps} steps (now {std:.4f}). Lower"
                " learning_rate, raise ema_start towards 1, mask more, or check that the clips are"
                " not all alike; then start in a new folder."
            )


def fit(
    task: Task,
    config: TrainingConfig,
    *,
    folder: Path,
    seed: int,
    device: torch.device | str = "cpu",
    on_step: OnStep | None = None,
) -> None:
    """Train `task`, from its last checkpoint in `folder` if there is one.

    Args:
        task: What is trained.
        config: How.
        folder: Gets `checkpoints/`, `losses.csv` and what the task exports.
        seed: Start of the generator that batches and masks are drawn with.
        device: Where the task computes.
        on_step: Told of every step.

    Raises:
        TrainingError: The loss is not finite, or the latents collapsed.
        CheckpointError: A checkpoint in `folder` is of another model.
    """
    optimiser, names = _optimiser(task.modules, config)
    generator = torch.Generator().manual_seed(seed)
    state = RunState(folder, task.modules, optimiser, names, generator)
    first = state.resume()
    losses = LossLog(folder / LOSSES, first)
    alarm = CollapseAlarm(config.collapse_below, config.collapse_patience)
    autocast = torch.autocast(torch.device(device).type, torch.bfloat16, config.bfloat16)

    for step in range(first + 1, config.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = config.rate_at(step / config.steps)
        with autocast:
            loss, metrics = task.loss(generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        task.after_step(step / config.steps)

        numbers = {name: float(x) for name, x in {"loss": loss.detach(), **metrics}.items()}
        alarm.check(step, numbers)
        if step % config.log_every == 0:
            losses.add(step, numbers)
        if step % config.checkpoint_every == 0 or step == config.steps:
            task.export(folder)
            state.save(step, config.keep_checkpoints)
        if on_step is not None:
            on_step(step, config.steps, numbers)


def _optimiser(
    modules: Mapping[str, nn.Module], config: TrainingConfig
) -> tuple[torch.optim.AdamW, list[str]]:
    """Return the optimiser, and the names of its parameters in its own order."""
    trained = {
        f"{name}.{key}": parameter
        for name, module in modules.items()
        for key, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    decayed = {name: parameter for name, parameter in trained.items() if parameter.ndim > 1}
    spared = {name: parameter for name, parameter in trained.items() if parameter.ndim <= 1}
    groups = [
        {"params": list(decayed.values()), "weight_decay": config.weight_decay},
        {"params": list(spared.values()), "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
    return optimiser, [*decayed, *spared]
