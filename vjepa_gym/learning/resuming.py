"""Checkpoints of a training run: everything that its next step depends on."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.checkpoints import load_into, read_tensors, write_tensors

CHECKPOINTS = "checkpoints"
ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")

logger = logging.getLogger(__name__)


class RunState:
    """The state of a run, in memory and in `folder/checkpoints`."""

    def __init__(
        self,
        folder: Path,
        modules: Mapping[str, nn.Module],
        optimiser: torch.optim.Optimizer,
        names: Sequence[str],
        generator: torch.Generator,
    ) -> None:
        """Point at what is saved and restored.

        Args:
            folder: Of the run.
            modules: All weights, by name.
            optimiser: Of the Adam family.
            names: What the parameters of the optimiser are called, in its own order.
            generator: From which batches and all other chance are drawn.
        """
        self._folder, self._modules = folder, modules
        self._optimiser, self._names, self._generator = optimiser, names, generator

    def save(self, step: int, keep: int) -> None:
        """Write the state after `step`, atomically; keep the newest `keep` checkpoints."""
        tensors: dict[str, Tensor] = {"generator": self._generator.get_state()}
        for name, module in self._modules.items():
            tensors |= {f"modules.{name}.{key}": x for key, x in module.state_dict().items()}
        for index, state in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{key}.{self._names[index]}": state[key] for key in ADAM_STATE}
        path = self._folder / CHECKPOINTS / f"step-{step:08d}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, tensors, {"step": str(step)})
        for old in self._checkpoints()[:-keep]:
            old.unlink()

    def resume(self) -> int:
        """Go back to the newest readable checkpoint; return its step, or 0 if there is none.

        Raises:
            CheckpointError: The checkpoint is of another model.
        """
        self._sweep()
        for path in reversed(self._checkpoints()):
            try:
                tensors, words = read_tensors(path)
            except CheckpointError as error:
                logger.warning("Passing over a checkpoint: %s", error)
                continue
            for name, module in self._modules.items():
                load_into(module, tensors, source=path, prefix=f"modules.{name}.")
            self._load_optimiser(tensors)
            self._generator.set_state(tensors["generator"])
            logger.info("Resuming from %s, after step %s.", path, words["step"])
            return int(words["step"])
        logger.info("Nothing to resume in %s: starting from the first step.", self._folder)
        return 0

    def _checkpoints(self) -> list[Path]:
        return sorted((self._folder / CHECKPOINTS).glob("step-*.safetensors"))

    def _sweep(self) -> None:
        """Remove files that a killed run left half written."""
        for leftover in self._folder.rglob(".*.tmp"):
            logger.warning("Removing %s, which a killed run left half written.", leftover)
            leftover.unlink()

    def _load_optimiser(self, tensors: Mapping[str, Tensor]) -> None:
        # A parameter that was never used, such as a spare mask token, has no state.
        state = {
            index: {key: tensors[f"optimiser.{key}.{name}"] for key in ADAM_STATE}
            for index, name in enumerate(self._names)
            if f"optimiser.step.{name}" in tensors
        }
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": state, "param_groups": groups})
