"""What the data of a dataset look like: histograms of its steps, and where the hand went."""

import base64
import io
from typing import Any

import imageio.v3 as iio
import matplotlib as mpl
import numpy as np
from jaxtyping import Int64
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from vjepa_gym.experiments.audit.counts import Histogram, Places
from vjepa_gym.experiments.audit.statistics import Statistics
from vjepa_gym.experiments.pictures import COLOURS
from vjepa_gym.types import Image

LINE, SOFT = "#1f2328", "#59636e"
MARGIN_M = 0.05
"""Around the places that were visited [m]."""
QUALITY = 85
"""Of pictures, as JPEG has it."""
STYLE: dict[Any, Any] = {
    # Text stays text: smaller, and it can be searched.
    "svg.fonttype": "none",
    "svg.hashsalt": "audit",
    "font.size": 9,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": LINE,
    "axes.titlecolor": SOFT,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}


def steps_plot(statistics: Statistics) -> str:
    """Return an SVG with a histogram of each figure of a step from row to row, and of episodes."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.2, 5.2), layout="constrained")
        top, bottom = figure.subplots(2, 3)
        _draw(top[0], statistics.translation, "translation [mm]", "rows", 1000.0)
        _draw(top[1], statistics.rotation, "rotation [rad]", "rows")
        _draw(top[2], statistics.gripper, "change of closedness", "rows")
        _draw(bottom[0], statistics.duration, "true time from row to row [s]", "rows")
        _draw(bottom[1], statistics.lengths, "rows of an episode", "episodes")
        _draw(bottom[2], statistics.times, "true time of an episode [s]", "episodes")
        return _svg(figure)


def places_plot(places: Places) -> str:
    """Return an SVG of how often the flange was where, from above and from the side."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.2, 4.4), layout="constrained")
        above, beside = figure.subplots(1, 2)
        _draw_places(above, places, places.above, 1, "y [m]")
        _draw_places(beside, places, places.beside, 2, "z [m]")
        return _svg(figure)


def data_url(image: Image) -> str:
    """Return an image as an address that a page can show."""
    data = iio.imwrite("<bytes>", image, extension=".jpg", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _draw(axes: Axes, histogram: Histogram, label: str, unit: str, factor: float = 1.0) -> None:
    axes.set(xlabel=label, ylabel=unit)
    if not histogram.count:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "not known", ha="center", color=SOFT, transform=axes.transAxes)
        return
    edges, counts = histogram.coarse()
    axes.stairs(counts, edges * factor, fill=True, color=COLOURS[0])
    # Logarithmic, so that a few jumps among thousands of steps are seen.
    axes.set(yscale="log", ylim=(0.7, 1.5 * max(counts.max(), 7)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    # Only what is counted comes in whole numbers.
    whole = histogram.edges[1] - histogram.edges[0] == 1
    axes.xaxis.set_major_locator(MaxNLocator(5, min_n_ticks=2, integer=whole))
    low, middle, high = (histogram.quantile(share) * factor for share in (0.05, 0.5, 0.95))
    axes.axvline(middle, color=LINE, linewidth=0.9)
    for quantile in (low, high):
        axes.axvline(quantile, color=LINE, linewidth=0.7, linestyle=":")
    least, most = histogram.lowest * factor, histogram.highest * factor
    axes.set_title(
        f"median {middle:.3g}, 90 % in {low:.3g} to {high:.3g}\nall in {least:.3g} to {most:.3g}"
    )


def _draw_places(
    axes: Axes, places: Places, counts: Int64[np.ndarray, "x other"], other: int, label: str
) -> None:
    axes.set(xlabel="x [m]", ylabel=label)
    if not counts.any():
        axes.text(0.5, 0.5, "not known", ha="center", color=SOFT, transform=axes.transAxes)
        return
    counts, side = places.coarse(counts)
    seen = np.ma.masked_equal(counts.T, 0)
    reach = places.reach
    mesh = axes.imshow(
        seen,
        origin="lower",
        extent=(-reach, reach, -reach, reach),
        norm=LogNorm(vmin=1, vmax=max(2, counts.max())),
        cmap="viridis",
        interpolation="nearest",
    )
    for axis, setter in ((0, axes.set_xlim), (other, axes.set_ylim)):
        visited = np.flatnonzero(counts.any(axis=1 - min(axis, 1))) * side - reach
        setter(visited[0] - MARGIN_M, visited[-1] + side + MARGIN_M)
    axes.set_facecolor("#f6f8fa")
    axes.grid(color="#d1d9e0", linewidth=0.5)
    axes.set_axisbelow(True)
    view = "from above" if other == 1 else "from the side"
    axes.set_title(f"{view}; the base is at (0, 0); squares of {100 * side:g} cm")
    assert axes.figure is not None
    shape = np.ptp(axes.get_ylim()) / np.ptp(axes.get_xlim())
    axes.figure.colorbar(mesh, ax=axes, label="rows", shrink=min(0.9, shape), aspect=30 * shape)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    text = file.getvalue()
    return text[text.index("<svg") :]
