"""Imagined futures as pictures: panels that move, stills of them, and how the error grows."""

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import imageio.v3 as iio
import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Float64, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vjepa_gym.datasets.video.mp4 import write_video
from vjepa_gym.experiments.pictures import COLOURS, FRAMES_PER_SECOND, LAST_FRAME_REPEATS
from vjepa_gym.experiments.seeing.curves import SOFT, STYLE
from vjepa_gym.experiments.seeing.pca_video import (
    DOTS_PER_INCH,
    Panel,
    enlarge,
    sheet,
    side_by_side,
)
from vjepa_gym.learning.checkpoints import write_atomically

IMAGINED, UNCHANGED = "imagined", "nothing changes"
LEFT, BOTTOM, REST = 34, 22, 6
"""What a plot leaves free for its numbers, and at the other sides [px]."""
Errors = Float64[np.ndarray, " steps"]


def enlarged(
    images: UInt8[np.ndarray, "frames height width 3"], side: int
) -> UInt8[np.ndarray, "frames {side} {side} 3"]:
    """Return square images at another size, interpolated."""
    return enlarge(torch.from_numpy(images) / 255, side, smooth=True)


def error_panel(
    errors: Errors, unchanged: Errors, side: int
) -> UInt8[np.ndarray, "rows {side} {side} 3"]:
    """Return the error as a plot that grows: the first picture is of what was given, without one.

    Args:
        errors: Of what was imagined, after each step.
        unchanged: Of imagining that nothing changes.
        side: Height and width [px].
    """
    inches = side / DOTS_PER_INCH
    left, bottom, rest = (pixels / side for pixels in (LEFT, BOTTOM, REST))
    within = (left, bottom, 1 - left - rest, 1 - bottom - rest)
    # Above the curves there is room for the legend.
    highest = 1.5 * float(max(errors.max(), unchanged.max())) or 1.0
    drawn = []
    for done in range(len(errors) + 1):
        with mpl.rc_context({**STYLE, "font.size": 7}):
            figure = Figure(figsize=(inches, inches), dpi=DOTS_PER_INCH)
            canvas = FigureCanvasAgg(figure)
            axes = figure.add_axes(within)
            _draw_errors(axes, errors[:done], unchanged[:done])
            axes.set(xlim=(0, len(errors)), ylim=(0, highest))
            canvas.draw()
        drawn.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return np.stack(drawn)


def write_future(folder: Path, name: str, panels: Mapping[str, Panel]) -> None:
    """Write panels as `<name>.mp4` and `<name>.gif`, and stills of them as `<name>.png`.

    The last frame stays for a while, so that one sees where it led before it begins anew.
    """
    lasting = {
        title: np.concatenate([panel, np.repeat(panel[-1:], LAST_FRAME_REPEATS, axis=0)])
        for title, panel in panels.items()
    }
    frames = side_by_side(lasting)
    write_video(folder / f"{name}.mp4", frames, Fraction(FRAMES_PER_SECOND))
    milliseconds = round(1000 / FRAMES_PER_SECOND)
    iio.imwrite(folder / f"{name}.gif", frames, duration=milliseconds, loop=0)
    iio.imwrite(folder / f"{name}.png", sheet(panels))


def write_errors(path: Path, errors: Sequence[Errors], unchanged: Sequence[Errors]) -> None:
    """Draw the errors of several futures, pale, and their means.

    Args:
        path: Gets a PNG.
        errors: Of what was imagined, after each step; all futures are equally long.
        unchanged: Of imagining that nothing changes.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6, 3), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        _draw_errors(axes, np.mean(errors, axis=0), np.mean(unchanged, axis=0))
        for one, other in zip(errors, unchanged, strict=True):
            steps = np.arange(1, len(one) + 1)
            axes.plot(steps, one, color=COLOURS[0], alpha=0.2, linewidth=0.8)
            axes.plot(steps, other, color=SOFT, alpha=0.2, linewidth=0.8)
        axes.set_title("error of latents")
        axes.set(xlabel="step", xlim=(0, None), ylim=(0, None))
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})
    write_atomically(path, file.getvalue())


def _draw_errors(axes: Axes, errors: Errors, unchanged: Errors) -> None:
    steps = np.arange(1, len(errors) + 1)
    kept = {"marker": "o", "markersize": 3, "linewidth": 1.4, "clip_on": False}
    axes.plot(steps, unchanged, color=SOFT, label=UNCHANGED, **kept)
    axes.plot(steps, errors, color=COLOURS[0], label=IMAGINED, **kept)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.legend(frameon=False, loc="upper left")
