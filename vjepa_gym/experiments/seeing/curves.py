"""The curves of a training as one picture beside its model, drawn anew while it runs."""

import csv
import io
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vjepa_gym.errors import CheckpointError
from vjepa_gym.experiments.pictures import COLOURS
from vjepa_gym.learning.checkpoints import read_json, write_atomically, write_json
from vjepa_gym.learning.training import LATENT_STD, LOSSES, TrainingConfig

CURVES = "curves.png"
RESUMES = "resumes.json"
"""After which steps a training was taken up again."""
LEARNING_RATE, PERSISTENCE = "learning_rate", "over_persistence"
TITLES = {
    "loss": "loss",
    LEARNING_RATE: "learning rate",
    LATENT_STD: "feature deviation between samples",
    "latent_rank": "effective rank of features",
    PERSISTENCE: "prediction error over that of no change",
}
"""What comes first, in this order, and what it is called; the other columns follow."""
MOST_PANELS, COLUMNS = 12, 3
WINDOW = 1 / 30
"""Part of the rows that a smoothed curve averages over."""
SECONDS_BETWEEN = 60.0
"""Least time from one drawing to the next [s]; drawing takes no more than a hundredth of it."""
SOFT, WARNING = "#8b949e", "#c83c3c"
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-3, 5),
}

logger = logging.getLogger(__name__)
Values = Float64[np.ndarray, " rows"]


class Curves:
    """Draws `curves.png` in the folder of a training, at checkpoints and at its end."""

    def __init__(self, folder: Path, training: TrainingConfig) -> None:
        self._folder, self._training = folder, training
        self._began = False
        self._told = self._drawn = 0
        self._next = -math.inf

    def __call__(self, step: int) -> None:
        """Follow a step: all before it, and perhaps it, are in `losses.csv`."""
        if not self._began:
            _note_resume(self._folder / RESUMES, step - 1)
            self._began = True
        self._told = step
        if step % self._training.checkpoint_every == 0 and time.monotonic() >= self._next:
            self.draw()

    def draw(self) -> None:
        """Draw what there is, unless that was drawn before; a training outlives a full disk."""
        if self._drawn == self._told:
            return
        began = time.monotonic()
        try:
            draw_curves(self._folder, self._training)
        except OSError as error:
            logger.warning("The curves in %s cannot be drawn: %s", self._folder, error)
        self._drawn = self._told
        ended = time.monotonic()
        self._next = ended + max(SECONDS_BETWEEN, 100 * (ended - began))


def draw_curves(folder: Path, training: TrainingConfig) -> None:
    """Draw `curves.png` from the `losses.csv` in `folder`; nothing, if that has no row."""
    columns = read_losses(folder / LOSSES)
    if not len(columns.get("step", ())):
        return
    figure = plot_curves(columns, training, _resumes(folder / RESUMES))
    file = io.BytesIO()
    with mpl.rc_context(STYLE):  # of the ticks, which are made when they are drawn
        figure.savefig(file, format="png", metadata={"Software": None})
    write_atomically(folder / CURVES, file.getvalue())


def plot_curves(
    columns: Mapping[str, Values], training: TrainingConfig, resumes: Sequence[int] = ()
) -> Figure:
    """Return a panel for each metric of which something is known.

    Args:
        columns: What `read_losses` returns.
        training: Says the learning rate and when features count as collapsed.
        resumes: After which steps the training was taken up again.
    """
    steps = columns["step"]
    rates = [training.rate_at(min(step / training.steps, 1.0)) for step in steps.tolist()]
    known = {LEARNING_RATE: np.array(rates), **columns}
    names = [name for name in TITLES if name in known]
    names += [name for name in known if name not in (*TITLES, "step")]
    shown = [name for name in names if np.isfinite(known[name]).any()][:MOST_PANELS]
    rows = -(-len(shown) // COLUMNS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 2.5 * rows + 0.2), layout="constrained", dpi=110)
        panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axes, name in zip(panels, shown, strict=False):
            _draw_panel(axes, name, steps, known[name], training)
            _mark(axes, resumes, steps)
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
    return figure


def read_losses(path: Path) -> dict[str, Values]:
    """Return the columns of a `losses.csv` by name; a number that is missing is NaN.

    Rows that say no step are left out: a kill may have cut the last one short.
    """
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or [])
        rows = [[_number(row.get(name)) for name in names] for row in reader]
    if "step" not in names:
        return {}
    table = np.array(rows, np.float64).reshape(len(rows), len(names))
    table = table[np.isfinite(table[:, names.index("step")])]
    return {name: table[:, index] for index, name in enumerate(names)}


def smoothed(values: Values, window: int) -> Values:
    """Return means over `window` rows around each, fewer at the ends; of those that are finite."""
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0.0], np.cumsum(finite)])
    middle = np.arange(len(values))
    reach = np.minimum(np.minimum(middle, middle[::-1]), window // 2)
    first, last = middle - reach, middle + reach + 1
    count = counts[last] - counts[first]
    return np.where(count > 0, (sums[last] - sums[first]) / np.maximum(count, 1), np.nan)


def _draw_panel(
    axes: Axes, name: str, steps: Values, values: Values, training: TrainingConfig
) -> None:
    axes.set_title(TITLES.get(name, name.replace("_", " ")))
    axes.set(xlabel="step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    few = {"marker": "o", "markersize": 3} if len(steps) < 20 else {}
    if name == LEARNING_RATE:
        axes.plot(steps, values, color=COLOURS[0], linewidth=1.4, **few)
        axes.set_ylim(0, None)
    else:
        axes.plot(steps, values, color=COLOURS[0], alpha=0.3, linewidth=0.8, **few)
        smooth = smoothed(values, round(WINDOW * len(values)))
        axes.plot(steps, smooth, color=COLOURS[0], linewidth=1.4)
    finite = values[np.isfinite(values)]
    if name == LATENT_STD:
        _line_at(axes, training.collapse_below, "collapsed below")
        axes.set_ylim(0, None)
    elif name == PERSISTENCE:
        _line_at(axes, 1.0, "no change")
    elif name != LEARNING_RATE and finite.min() > 0 and finite.max() > 20 * finite.min():
        axes.set_yscale("log")


def _line_at(axes: Axes, height: float, said: str) -> None:
    axes.axhline(height, color=WARNING, linewidth=0.9, linestyle=":")
    place = axes.get_yaxis_transform()
    axes.text(
        1, height, f"{said} {height:g}", color=WARNING, ha="right", va="bottom", transform=place
    )


def _mark(axes: Axes, resumes: Sequence[int], steps: Values) -> None:
    """Draw where the training was taken up again."""
    within = [step for step in resumes if steps[0] <= step <= steps[-1]]
    for step in within:
        axes.axvline(step, color=SOFT, linewidth=0.7, linestyle="--", zorder=0)
    if within:
        place = axes.get_xaxis_transform()
        axes.text(within[-1], 1, " resumed", color=SOFT, va="top", fontsize=7, transform=place)


def _note_resume(path: Path, after: int) -> None:
    """Note that a training goes on after this step, and forget what that undid."""
    resumes = [step for step in _resumes(path) if step < after]
    if after > 0:
        write_json(path, [*resumes, after])
    else:
        path.unlink(missing_ok=True)


def _resumes(path: Path) -> list[int]:
    if not path.exists():
        return []
    try:
        noted = read_json(path)
    except CheckpointError:  # it is only a mark in a picture
        return []
    return [step for step in noted if isinstance(step, int)] if isinstance(noted, list) else []


def _number(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return math.nan
