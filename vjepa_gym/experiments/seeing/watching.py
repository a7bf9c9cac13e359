"""A training that is watched: progress, a picture of its curves, TensorBoard, Weights & Biases."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from vjepa_gym.experiments.progress import progress
from vjepa_gym.experiments.seeing.curves import LEARNING_RATE, Curves
from vjepa_gym.experiments.seeing.tensorboard import TensorBoardLog
from vjepa_gym.experiments.seeing.wandb import WandbLog
from vjepa_gym.learning.distributed import current_world
from vjepa_gym.learning.training import LATENT_STD, OnStep, TrainingConfig

FIRST_SHOWN = ("loss", LATENT_STD, LEARNING_RATE)
"""What a line of progress says before all else."""


@runtime_checkable
class Watched(Protocol):
    """What is known of a training before it begins: the configuration of its job."""

    folder: str
    training: Any
    tensorboard: bool
    wandb: str


@runtime_checkable
class StepLog(Protocol):
    """Something that metrics go to."""

    def begin(self, step: int) -> None:
        """Begin with this step; what was logged from it on was undone."""
        ...

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of a step."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


@contextmanager
def watch(title: str, job: Watched) -> Iterator[OnStep]:
    """Yield what is to be told of each step of a training; of several processes, the first is told.

    Args:
        title: What is going on.
        job: What is trained how, and where the metrics go.

    Raises:
        WandbError: Weights & Biases is asked for, but not installed.
    """
    if not current_world().is_first:
        yield lambda _step, _steps, _metrics: None
        return
    training: TrainingConfig = job.training
    curves = Curves(Path(job.folder), training)
    with ExitStack() as stack:
        logs = [stack.enter_context(closing(log)) for log in _logs(title, job)]
        clips = training.batch_size
        report = stack.enter_context(progress(title, training.steps, "clips", each=clips))
        stack.callback(curves.draw)
        began = False

        def on_step(step: int, steps: int, metrics: dict[str, float]) -> None:
            nonlocal began
            if not began:
                for log in logs:
                    log.begin(step)
                began = True
            figures = {LEARNING_RATE: training.rate_at(step / steps), **metrics}
            if step % training.log_every == 0:
                for log in logs:
                    log.add(step, figures)
            curves(step)
            first = {name: figures[name] for name in FIRST_SHOWN if name in figures}
            report(step, {**first, **figures})

        yield on_step


def _logs(title: str, job: Watched) -> list[StepLog]:
    folder = Path(job.folder)
    logs: list[StepLog] = [TensorBoardLog(folder, title)] if job.tensorboard else []
    if job.wandb:
        settings = asdict(job) if is_dataclass(job) and not isinstance(job, type) else {}
        logs.append(WandbLog(folder, title, job.wandb, settings))
    return logs
