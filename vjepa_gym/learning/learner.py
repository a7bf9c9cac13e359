"""One step of the optimiser, from however many processes and parts the batch is computed in."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from vjepa_gym.learning.alarms import check_finite
from vjepa_gym.learning.distributed import World
from vjepa_gym.learning.prefetching import moved, pinned, split
from vjepa_gym.learning.sharding import compile_blocks, spread
from vjepa_gym.learning.tasks import Task, step_generator
from vjepa_gym.learning.training_config import TrainingConfig

LOSS = "loss"
GRADIENT = "gradient_norm"
"""The metric that tells the length of the gradient, over all that is trained, before clipping."""
DECAYED = 0
"""Which group of the optimiser's parameters has weight decay."""


@dataclass(frozen=True)
class Batch:
    """A part of the batch of a step, as this process loaded it."""

    plan: Any
    """Of the whole batch."""
    parts: list[slice]
    """What all processes compute, in the order of the samples."""
    tensors: dict[str, Any]
    """The samples of this part."""


class Loads:
    """What loads the parts of this process, step after step, `accumulate` a step."""

    def __init__(
        self, task: Task, config: TrainingConfig, seed: int, world: World, *, pin: bool
    ) -> None:
        """Have batches planned and loaded by `task`.

        Args:
            task: Plans and loads.
            config: How many parts there are.
            seed: Of the plans.
            world: Who computes the other parts.
            pin: Whether tensors are put where a GPU can fetch them by itself.
        """
        self._task, self._config, self._seed, self._world = task, config, seed, world
        self._pin = pin
        self._planned: tuple[int, Any] = 0, None

    def of(self, steps: range) -> Iterator[Callable[[], Batch]]:
        """Return a job for each part; they are done one after the other."""
        for step in steps:
            for index in range(self._config.accumulate):
                yield partial(self._load, step, self._world.rank * self._config.accumulate + index)

    def _load(self, step: int, number: int) -> Batch:
        if self._planned[0] != step:
            generator = step_generator(self._seed, step)
            self._planned = step, self._task.plan(step, self._config.steps, generator)
        plan = self._planned[1]
        parts = split(plan.size, self._world.size * self._config.accumulate)
        tensors = self._task.load(plan, parts[number])
        return Batch(plan, parts, pinned(tensors) if self._pin else tensors)


class Learner:
    """Takes steps of the optimiser, together with the other processes."""

    def __init__(
        self, task: Task, config: TrainingConfig, device: torch.device, world: World
    ) -> None:
        """Spread the weights of `task` over the processes, and make the optimiser."""
        self._task, self._config, self._world = task, config, world
        self.device = device
        objective = task.objective
        if config.compile:
            compile_blocks(objective)
        self._model = spread(
            objective, config.sharding, world, device=device, bfloat16=config.bfloat16
        )
        self.parameters = {
            f"{name}.{key}": parameter
            for name, module in task.modules.items()
            for key, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self.optimiser = self._optimiser()
        self._length = 0.0

    def compute(self, step: int, loaded: Iterator[Batch]) -> dict[str, float]:
        """Compute the gradient of the next `accumulate` batches; return means over the whole batch.

        The weights stay as they are until `step`.

        Raises:
            TrainingError: The loss or the gradient is not finite. All processes raise it, with the
                same message.
        """
        self.optimiser.zero_grad()
        left = self._config.accumulate - 1
        with _fast_products(self.device):
            batch = next(loaded)
            names, numbers = self._add_gradient(batch.tensors, last=not left)
            told = [numbers]
            while left:
                left -= 1
                told.append(self._add_gradient(next(loaded).tensors, last=not left)[1])
        table = self._world.gather(torch.stack(told)).flatten(0, 1).cpu()
        for part, loss in zip(batch.parts, table[:, 0].tolist(), strict=True):
            check_finite(LOSS, loss, step, partial(self._task.describe, batch.plan, part))
        length = self._gradient_norm()
        whole = slice(0, batch.plan.size)
        check_finite("gradient", length, step, partial(self._task.describe, batch.plan, whole))
        self._length = length
        return dict(zip(names, table.mean(0).tolist(), strict=True)) | {GRADIENT: length}

    def step(self, step: int) -> None:
        """Take a step of the optimiser with the gradient that was computed."""
        done, longest = step / self._config.steps, self._config.clip_gradients
        for group in self.optimiser.param_groups:
            group["lr"] = self._config.rate_at(done)
        self.optimiser.param_groups[DECAYED]["weight_decay"] = self._config.weight_decay_at(done)
        if longest is not None and self._length > longest:
            for gradient in self._gradients():
                gradient.mul_(longest / self._length)
        self.optimiser.step()

    def _add_gradient(
        self, tensors: dict[str, Any], *, last: bool
    ) -> tuple[list[str], Float[Tensor, " metrics"]]:
        """Add the gradient of a part; return the names of its metrics, and their values."""
        with self._syncing(last):
            with torch.autocast(self.device.type, torch.bfloat16, self._config.bfloat16):
                loss, metrics = self._model(**moved(tensors, self.device))
            (loss / self._config.accumulate).backward()
        values = [loss.detach(), *(metrics[name].detach() for name in metrics)]
        return [LOSS, *metrics], torch.stack([value.double() for value in values])

    def _syncing(self, last: bool) -> AbstractContextManager[None]:
        """Keep gradients from being averaged over the processes before the last part.

        Shares (FSDP2) are summed after each part: whole gradients would not fit where shares must.
        """
        if isinstance(self._model, DistributedDataParallel) and not last:
            return self._model.no_sync()
        return nullcontext()

    def _gradient_norm(self) -> float:
        gradients = self._gradients()
        if not gradients:
            return 0.0
        norm = nn.utils.get_total_norm(gradients)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _gradients(self) -> list[Tensor]:
        return [x.grad for x in self.parameters.values() if x.grad is not None]

    def _optimiser(self) -> torch.optim.AdamW:
        decayed = [x for x in self.parameters.values() if x.ndim > 1]
        spared = [x for x in self.parameters.values() if x.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": self._config.weight_decay},
            {"params": spared, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self._config.learning_rate, fused=True)


@contextmanager
def _fast_products(device: torch.device) -> Iterator[None]:
    """Let float32 matrix products on CUDA devices run on tensor cores (TF32)."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
