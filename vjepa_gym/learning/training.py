"""The one training loop: plan, load, learn, log, keep; on one process or on many.

All chance is a function of the seed and the step. A run that is killed at any moment and started
again in the same folder ends, on the same machine with as many processes, with the same bytes as
one that was left alone; with another number of processes, it differs by rounding.
"""

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vjepa_gym.learning.alarms import CollapseAlarm
from vjepa_gym.learning.checkpoints import JSON, to_json
from vjepa_gym.learning.distributed import current_world
from vjepa_gym.learning.interruption import uninterrupted
from vjepa_gym.learning.learner import Learner, Loads
from vjepa_gym.learning.loss_log import LossLog
from vjepa_gym.learning.prefetching import prefetched, split
from vjepa_gym.learning.resuming import RunState
from vjepa_gym.learning.settings import FACTS, IDENTITY
from vjepa_gym.learning.sharding import Sharding
from vjepa_gym.learning.tasks import Plan, Task, step_generator
from vjepa_gym.learning.training_config import TrainingConfig

__all__ = ["Plan", "Sharding", "Task", "TrainingConfig", "fit", "step_generator"]

OnStep = Callable[[int, int, dict[str, float]], None]
"""Called after each step with the steps done, the steps in all, and the metrics."""

LOSSES = "losses.csv"
LATENT_STD = "latent_std"
"""The metric that the collapse alarm listens to: how much latents differ between samples."""

logger = logging.getLogger(__name__)


def fit(
    task: Task,
    config: TrainingConfig,
    *,
    folder: Path,
    seed: int,
    device: torch.device | str = "cpu",
    on_step: OnStep | None = None,
    facts: Mapping[str, JSON] | None = None,
    identity: Mapping[str, JSON] | None = None,
) -> None:
    """Train `task`, from its last checkpoint in `folder` if there is one.

    Within `distributed.join_world`, all processes call this and each computes its share of every
    batch; the first writes. A Ctrl-C in a run of one process keeps all steps that are done.

    Args:
        task: What is trained, on `device`; the same on all processes.
        config: How.
        folder: Gets `checkpoints/`, `losses.csv` and what the task exports.
        seed: Of batches, masks and all other chance.
        device: Where to compute.
        on_step: Told of every step, on the first process.
        facts: What is learnt from, by name (`data` first of all), in words; if it is not that of
            the checkpoint, the log says so. Of the first process.
        identity: What must be that of the checkpoint, such as the configuration of the model. Of
            the first process.

    Raises:
        TrainingError: The loss is not finite, the latents collapsed, or a batch cannot be split
            over the processes.
        CheckpointError: A checkpoint in `folder` is of another model, or has another `identity`.
    """
    world = current_world()
    split(config.batch_size, world.size * config.accumulate)
    learner = Learner(task, config, torch.device(device), world)
    state = RunState(folder, task.modules, learner.optimiser, learner.parameters, world)
    settings = _settings(config, seed, world.size, facts, identity)
    first = state.resume(settings)
    losses = LossLog(folder / LOSSES, first) if world.is_first else None
    loads = Loads(task, config, seed, world, pin=learner.device.type == "cuda")
    done = _Done(first, first)

    def save() -> None:
        if done.step > done.kept:
            export = _exporting(task, folder, done.step, config.steps)
            state.save(done.step, config.keep_checkpoints, settings, export)
            done.kept = done.step

    try:
        with closing(_steps(task, config, learner, loads, losses, done)) as steps:
            for step, metrics in steps:
                if step % config.checkpoint_every == 0 or step == config.steps:
                    save()
                if on_step is not None and world.is_first:
                    on_step(step, config.steps, metrics)
    except KeyboardInterrupt:
        # Several processes are not interrupted at the same step, and could not gather their shares.
        if world.size == 1 and done.whole:
            logger.info("Interrupted: keeping the %d steps that are done.", done.step)
            save()
        raise


@dataclass
class _Done:
    """How far a training is: the last step that was done, and the last that is on the disk."""

    step: int
    kept: int
    whole: bool = True
    """False while, or after, a step is done by half."""


def _steps(
    task: Task,
    config: TrainingConfig,
    learner: Learner,
    loads: Loads,
    losses: LossLog | None,
    done: _Done,
) -> Generator[tuple[int, dict[str, float]]]:
    """Take all steps that are left, and yield each with its metrics when it is done."""
    alarm = CollapseAlarm(LATENT_STD, config.collapse_below, config.collapse_patience)
    steps = range(done.step + 1, config.steps + 1)
    with closing(prefetched(loads.of(steps), config.prefetch)) as loaded:
        for step in steps:
            metrics = learner.compute(step, loaded)
            with uninterrupted():
                done.whole = False
                learner.step(step)
                task.after_step(step / config.steps)
                alarm.check(step, metrics)
                if losses is not None and step % config.log_every == 0:
                    losses.add(step, metrics)
                done.step, done.whole = step, True
            yield step, metrics


def _exporting(
    task: Task, folder: Path, step: int, steps: int
) -> Callable[[Mapping[str, Mapping[str, Tensor]]], None]:
    return lambda weights: task.export(folder, weights, step, steps)


def _settings(
    config: TrainingConfig,
    seed: int,
    processes: int,
    facts: Mapping[str, JSON] | None,
    identity: Mapping[str, JSON] | None,
) -> dict[str, JSON]:
    """Return what a checkpoint says of how it was made."""
    fields = to_json(config)
    assert isinstance(fields, dict)
    settings: dict[str, JSON] = {"seed": seed, "processes": processes, **fields}
    for name, said in ((FACTS, facts), (IDENTITY, identity)):
        if said is not None:
            settings[name] = dict(said)
    return settings
