"""The metrics of a training for Weights & Biases, if somebody asks for it."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vjepa_gym.errors import CheckpointError, VJEPAGymError
from vjepa_gym.learning.checkpoints import read_json, write_json

RUN = "wandb.json"
"""Which run a training is, so that a resume goes on with it."""


class WandbError(VJEPAGymError):
    """Weights & Biases is not installed; the message says how to install it."""


class WandbLog:
    """Sends metrics to a project; where and whether at once is up to its own settings.

    `WANDB_MODE=offline` keeps them in the folder for `wandb sync`; `disabled` drops them.
    """

    def __init__(self, folder: Path, title: str, project: str, settings: Mapping[str, Any]) -> None:
        """Name what a run is told of itself.

        Raises:
            WandbError: The package is missing.
        """
        try:
            import wandb
        except ImportError as error:
            raise WandbError(
                "job.wandb needs Weights & Biases, which is not installed: pip install"
                " 'vjepa-gym[wandb]'. Without it, curves.png and TensorBoard show the same."
            ) from error
        self._wandb: Any = wandb
        self._folder, self._title, self._project = folder, title, project
        self._settings = dict(settings)
        self._run: Any = None

    def begin(self, step: int) -> None:
        """Begin a run, or go on with that of the folder if this is not the first step."""
        noted = self._folder / RUN
        name = _noted(noted, self._project) if step > 1 else None
        if name is None:
            name = uuid.uuid4().hex
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json(noted, {"project": self._project, "id": name})
        self._run = self._wandb.init(
            project=self._project,
            id=name,
            resume="allow",
            name=self._folder.name,
            job_type=self._title,
            dir=str(self._folder),
            config=self._settings,
        )

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send the metrics of a step; a step that was sent before a kill is not taken twice."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            self._run.finish()


def _noted(path: Path, project: str) -> str | None:
    if not path.exists():
        return None
    try:
        noted = read_json(path)
    except CheckpointError:
        return None
    same = isinstance(noted, dict) and noted.get("project") == project
    return str(noted["id"]) if same and isinstance(noted, dict) and "id" in noted else None
