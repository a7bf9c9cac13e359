"""The metrics of a training for TensorBoard."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

FOLDER = "tensorboard"


class TensorBoardLog:
    """Writes one scalar a metric and step to `<folder>/tensorboard`.

    What a kill undid is taken back: TensorBoard drops the steps that a resume does again.
    """

    def __init__(self, folder: Path, title: str) -> None:
        """Name the folder of the training, and what stands before the names of its metrics."""
        self._folder, self._title = folder / FOLDER, title
        self._writer: SummaryWriter | None = None

    def begin(self, step: int) -> None:
        """Begin with this step, and drop whatever an earlier run wrote from it on."""
        # Takes a second to import, which help and other jobs need not wait for.
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=step)

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of a step; those that are not finite are left out."""
        if self._writer is None:
            raise AssertionError("begin comes first")
        for name, value in metrics.items():
            if math.isfinite(value):
                self._writer.add_scalar(f"{self._title}/{name}", value, step)
        # At once, or a kill would leave a gap.
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
