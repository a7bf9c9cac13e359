"""Whether the training of a model folder had finished when the folder was written."""

import logging
from dataclasses import dataclass
from pathlib import Path

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.checkpoints import TRAINING_FILE, from_json, read_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """How far the training of a model folder had come when it was written.

    Attributes:
        step: Steps done.
        steps: Steps in all.
    """

    step: int
    steps: int

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.steps


def progress_of(folder: Path) -> TrainingProgress | None:
    """Return how far the training of a model folder was; None if it does not say.

    Models that are shipped, released or converted do not: they are finished.

    Raises:
        CheckpointError: `training.json` is broken.
    """
    file = folder / TRAINING_FILE
    if not file.exists():
        return None
    return from_json(TrainingProgress, read_json(file), source=file)


def check_finished(folder: Path, *, allow_unfinished: bool = False) -> None:
    """Refuse a model whose training has not finished, or warn of it if it is allowed.

    Raises:
        CheckpointError: It has not, and that is not allowed.
    """
    progress = progress_of(folder)
    if progress is None or progress.finished:
        return
    told = f"{folder} was written after {progress.step} of {progress.steps} steps"
    if not allow_unfinished:
        raise CheckpointError(
            f"{told}: its learning rate has not decayed, and what is built on it would have to be"
            " built again. Let the training finish, or ask for the unfinished model."
        )
    logger.warning("%s; what is built on it may have to be built again", told)
