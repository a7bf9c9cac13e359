"""What stops a training before it spoils what it has learnt."""

import logging
import math
from collections.abc import Callable, Mapping

from vjepa_gym.errors import TrainingError

CLIPS_NAMED = 8
"""How many clips of a bad batch a message names; the others are counted."""

logger = logging.getLogger(__name__)


class CollapseAlarm:
    """Stops a training whose latents have become the same for all samples."""

    def __init__(self, metric: str, below: float, patience: int) -> None:
        """Listen to `metric`, which may be `below` for fewer than `patience` steps in a row."""
        self._metric, self._below, self._patience, self._steps = metric, below, patience, 0
        self._deaf = False

    def check(self, step: int, metrics: Mapping[str, float]) -> None:
        """Look at the metrics of a step.

        Raises:
            TrainingError: Latents have been alike for too long.
        """
        std = metrics.get(self._metric, math.inf)
        if math.isnan(std) and not self._deaf:
            self._deaf = True
            logger.warning(
                "No alarm if the latents collapse: at step %d %s is nan, since clips are computed"
                " one at a time, and one clip differs from no other. Lower accumulate, raise"
                " batch_size, or take fewer processes, so that a part has two clips or more.",
                step,
                self._metric,
            )
        self._steps = self._steps + 1 if std < self._below else 0
        if self._steps >= self._patience:
            raise TrainingError(
                f"The latents collapsed: at step {step} they have differed by less than"
                f" {self._below} between samples for {self._steps} steps (now {std:.4f}). Lower"
                " learning_rate, raise ema_start towards 1, mask more, or check that the clips are"
                " not all alike; then start in a new folder."
            )


def check_finite(what: str, value: float, step: int, clips: Callable[[], list[str]]) -> None:
    """Stop before a step of the optimiser that would spoil the weights.

    Args:
        what: Is looked at, such as the loss.
        value: Of it.
        step: Which.
        clips: Says which clips it was computed from.

    Raises:
        TrainingError: The value is not finite; names the step and the clips.
    """
    if math.isfinite(value):
        return
    named = clips()
    more = f"\n  and {len(named) - CLIPS_NAMED} more" if len(named) > CLIPS_NAMED else ""
    raise TrainingError(
        f"The {what} became {value} at step {step}: lower learning_rate or lengthen warmup, and"
        " look at the data for broken images. Weights and checkpoints are as they were before this"
        " step. Its clips were\n  " + "\n  ".join(named[:CLIPS_NAMED]) + more
    )
