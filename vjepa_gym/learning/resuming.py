"""Checkpoints of a training run: everything that its next step depends on.

Tensors are whole in the file, however they are spread over processes, so that any number of
processes can go on. They are gathered, written and read one at a time.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from vjepa_gym.errors import CheckpointError, TrainingError
from vjepa_gym.learning.checkpoints import replacing
from vjepa_gym.learning.distributed import World
from vjepa_gym.learning.settings import changes, identity_changes, nothing_left
from vjepa_gym.learning.tensor_files import (
    ModuleWeights,
    TensorFile,
    append,
    header,
    in_file_order,
)

CHECKPOINTS = "checkpoints"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW remembers of a parameter, of its shape."""
STEP = "step"
"""How many steps AdamW took with a parameter."""

Export = Callable[[Mapping[str, Mapping[str, Tensor]]], None]
"""Called with the weights of each module, to write what the training is for."""

logger = logging.getLogger(__name__)


class RunState:
    """The state of a run, in memory and in `folder/checkpoints`."""

    def __init__(
        self,
        folder: Path,
        modules: Mapping[str, nn.Module],
        optimiser: torch.optim.AdamW,
        parameters: Mapping[str, nn.Parameter],
        world: World,
    ) -> None:
        """Point at what is saved and restored.

        Args:
            folder: Of the run; only the first process looks into it.
            modules: All weights, by name.
            optimiser: Of the parameters.
            parameters: What is trained, by `<module>.<name>`.
            world: The processes, each of which calls the methods at the same time.
        """
        self._folder, self._modules, self._world = folder, modules, world
        self._optimiser, self._parameters = optimiser, parameters

    def save(self, step: int, keep: int, settings: Mapping[str, object], export: Export) -> None:
        """Write the state after `step` atomically; keep the newest `keep` checkpoints.

        Args:
            step: How many are done.
            keep: Checkpoints to keep.
            settings: Of the run, as JSON values.
            export: Called before the checkpoint is there to be resumed from, so that what it writes
                is never older.

        Raises:
            OSError: It could not be written, such as on a full disk; checkpoints before are kept.
            TrainingError: The same, on all processes but the first.
        """
        tensors = self._tensors()
        failure: OSError | None = None
        whole = self._whole(tensors)
        if self._world.is_first:
            words = {"step": str(step), "settings": json.dumps(settings)}
            try:
                self._write(step, tensors, words, whole, export)
            except OSError as error:
                failure = error
        # Gathering takes all processes: to the end, though there be nobody who wants it.
        for _ in whole:
            pass
        said = self._world.tell(str(failure or ""))
        if failure is not None:
            raise failure
        if said:
            raise TrainingError(said)
        if self._world.is_first:
            for old in self._checkpoints()[:-keep]:
                old.unlink()

    def resume(self, settings: Mapping[str, object]) -> int:
        """Go back to the newest readable checkpoint; return its step, or 0 if there is none.

        Args:
            settings: Of the run, as JSON values; what differs from the checkpoint's is logged.

        Raises:
            CheckpointError: The checkpoint is of another model, or its `identity` is not that of
                these settings, or the folder cannot be written to.
        """
        file, problem, step = None, "", 0
        if self._world.is_first:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._sweep()
                file = self._newest(settings)
            except (CheckpointError, OSError) as error:
                problem = str(error)
        if file is not None:
            step = int(file.words["step"])
            before = json.loads(file.words["settings"])
            for line in changes(before, settings):
                logger.warning("%s", line)
            if line := nothing_left(step, before, settings, self._folder):
                logger.info("%s", line)
        kept = sorted(file.names) if file is not None else []
        known = json.loads(self._world.tell(json.dumps([problem, step, kept])))
        if known[0]:
            raise CheckpointError(known[0])
        if known[1]:
            self._read(file, frozenset(known[2]))
        return known[1]

    def _write(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        words: Mapping[str, str],
        whole: Iterator[Tensor],
        export: Export,
    ) -> None:
        path = self._folder / CHECKPOINTS / f"step-{step:08d}.safetensors"
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                file.write(header(tensors, in_file_order(tensors), words))
                append(file, whole)
            export(ModuleWeights(temporary, {name: f"modules.{name}." for name in self._modules}))

    def _tensors(self) -> dict[str, Tensor]:
        """Return all tensors of the state by their names in a checkpoint."""
        tensors = {
            f"modules.{name}.{key}": tensor
            for name, module in self._modules.items()
            for key, tensor in module.state_dict().items()
        }
        for name, parameter in self._parameters.items():
            # A parameter that was never used, such as a spare mask token, has no state.
            for key, tensor in self._optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{key}.{name}"] = tensor
        return tensors

    def _whole(self, tensors: Mapping[str, Tensor]) -> Iterator[Tensor]:
        for name in in_file_order(tensors):
            tensor = tensors[name]
            yield tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def _newest(self, settings: Mapping[str, object]) -> TensorFile | None:
        for path in reversed(self._checkpoints()):
            try:
                file = TensorFile(path)
            except CheckpointError as error:
                logger.warning("Passing over a checkpoint: %s", error)
                continue
            self._check(path, file)
            self._check_identity(json.loads(file.words["settings"]), settings)
            logger.info("Resuming from %s, after step %s.", path, file.words["step"])
            return file
        logger.info("Nothing to resume in %s: starting from the first step.", self._folder)
        return None

    def _check(self, path: Path, file: TensorFile) -> None:
        """Raise unless the checkpoint is of this model."""
        if not {"step", "settings"} <= file.words.keys():
            raise CheckpointError(
                f"{path} was written by an earlier version, whose runs cannot be resumed: what is"
                f" drawn at random has changed. Start in a new folder, or delete {path.parent}."
            )
        needed = {name: tensor for name, tensor in self._tensors().items() if "modules." in name}
        mine = {name for name in file.names if name.startswith("modules.")}
        problems = [f"missing: {name}" for name in needed.keys() - mine]
        problems += [f"unexpected: {name}" for name in mine - needed.keys()]
        problems += [
            f"shape of {name}: {file.shape(name)}, the model has {tuple(needed[name].shape)}"
            for name in needed.keys() & mine
            if file.shape(name) != tuple(needed[name].shape)
        ]
        if problems:
            raise CheckpointError(
                f"{path} is of another model; start in a new folder, or with the sizes that it was"
                " made with.\n  " + "\n  ".join(sorted(problems))
            )

    def _check_identity(self, before: Mapping[str, object], now: Mapping[str, object]) -> None:
        if differences := identity_changes(before, now):
            raise CheckpointError(
                f"{self._folder} holds a training that this does not go on with, though the sizes"
                " agree (was -> is):\n  " + "\n  ".join(differences) + "\nTake a new folder"
                " (job.folder), and job.initial to start from a model that is trained; or ask for"
                " what it was."
            )

    def _read(self, file: TensorFile | None, names: frozenset[str]) -> None:
        """Fill the state of all processes from the file, which the first has open."""
        for name, parameter in self._parameters.items():
            if f"optimiser.{STEP}.{name}" in names:
                step = torch.zeros((), device=parameter.device)
                moments = {key: torch.zeros_like(parameter) for key in MOMENTS}
                self._optimiser.state[parameter] = {STEP: step, **moments}
        for name, tensor in self._tensors().items():
            whole = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
            if file is not None:
                whole.copy_(file.read(name))
            self._fill(tensor, whole)

    @torch.no_grad()
    def _fill(self, tensor: Tensor, whole: Tensor) -> None:
        """Set a tensor to what it is on the first process, of which each keeps its share."""
        if isinstance(tensor, DTensor):
            shares = distribute_tensor(whole, tensor.device_mesh, tensor.placements)
            tensor.to_local().copy_(shares.to_local())
            return
        self._world.broadcast(whole)
        tensor.copy_(whole)

    def _checkpoints(self) -> list[Path]:
        return sorted((self._folder / CHECKPOINTS).glob("step-*.safetensors"))

    def _sweep(self) -> None:
        """Remove files that a killed run left half written."""
        for leftover in self._folder.rglob(".*.tmp"):
            logger.warning("Removing %s, which a killed run left half written.", leftover)
            leftover.unlink()
