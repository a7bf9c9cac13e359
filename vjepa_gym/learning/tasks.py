"""What the training loop asks of whatever is trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn


@runtime_checkable
class Plan(Protocol):
    """What the whole batch of a step is."""

    @property
    def size(self) -> int:
        """Samples in the whole batch."""
        ...


@runtime_checkable
class Task(Protocol):
    """What is trained: it says what the batch of a step is, loads it, and what its loss is."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Return everything with weights, by name: what a checkpoint holds."""
        ...

    @property
    def objective(self) -> nn.Module:
        """Return what maps a batch to its loss; it contains the modules.

        `objective(**batch)` returns the loss, a mean over the samples, and further metrics, means
        likewise: 0-d tensors by name, without a graph. Parameters that need gradients are trained.
        Which blocks run depends on the plan and not on the part: all processes run the same.
        """
        ...

    def plan(self, step: int, steps: int, generator: torch.Generator) -> Plan:
        """Return what the whole batch of a step is: clips, masks, resolution.

        Args:
            step: From 1.
            steps: Of the whole training.
            generator: A function of seed and step, and so is the plan: the same on every process,
                whatever their number.
        """
        ...

    def load(self, plan: Any, part: slice) -> dict[str, Any]:
        """Return the samples `part` of the batch: tensors on the CPU, in dicts and lists.

        Called in a background thread, some steps ahead.
        """
        ...

    def describe(self, plan: Any, part: slice) -> list[str]:
        """Return which clips those are, such as `video.mp4 from frame 12`."""
        ...

    def after_step(self, done: float) -> None:
        """Follow a step of the optimiser, such as by a moving average; `done` is in (0, 1].

        Parameters may be `DTensor`s, sharded alike; see `averaging.update_average`.
        """
        ...

    def export(
        self, folder: Path, weights: Mapping[str, Mapping[str, Tensor]], step: int, steps: int
    ) -> None:
        """Write what the training is for, beside each checkpoint; on the first process only.

        Args:
            folder: Of the run.
            weights: For each of `modules`, its whole state on the CPU; read when asked for.
            step: After which.
            steps: Of the whole training.
        """
        ...


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the generator of all chance in a step."""
    words = np.random.SeedSequence((seed % 2**64, step)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0]))
