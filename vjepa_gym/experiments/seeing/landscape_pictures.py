"""One page for a landscape: what was seen, three planes through the true action, and curves."""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vjepa_gym.experiments.pictures import COLOURS
from vjepa_gym.learning.checkpoints import write_atomically
from vjepa_gym.spaces import MAX_GRIPPER, MAX_TRANSLATION
from vjepa_gym.world_models.action_grids import GRIPPER
from vjepa_gym.world_models.landscape import PLANES, Landscape
from vjepa_gym.world_models.landscape_figures import LandscapeFigures

AXES = ("x", "y", "z")
MAP = "cividis"
"""Told apart whatever colours one sees (Nuñez, Anderton and Renslow 2018)."""
LEVELS = 12
"""Lines of equal energy, and one more."""
LIMIT, SOFT = "#ffffff", "#8b949e"
TRUE: dict[str, Any] = {"marker": "*", "markersize": 15, "color": "#ffffff"}
LEAST: dict[str, Any] = {"marker": "o", "markersize": 9, "color": "none"}
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
}
CURVES = (COLOURS[0], COLOURS[2], COLOURS[4])
DASHES = ("-", "--", ":")
"""Of the three cuts, so that they differ in more than colour."""


def draw_landscape(
    path: Path,
    landscape: Landscape,
    figures: LandscapeFigures,
    images: UInt8[np.ndarray, "2 height width 3"],
    title: str,
) -> None:
    """Draw a landscape as PNG; the same landscape gives the same bytes.

    Args:
        path: Where it goes.
        landscape: The energies.
        figures: What they say.
        images: What was seen before and after the true action.
        title: What it is of.
    """
    file = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure = plot_landscape(landscape, figures, images, title)
        figure.savefig(file, format="png", metadata={"Software": None})
    write_atomically(path, file.getvalue())


def plot_landscape(
    landscape: Landscape,
    figures: LandscapeFigures,
    images: UInt8[np.ndarray, "2 height width 3"],
    title: str,
) -> Figure:
    """Return the page that `draw_landscape` writes."""
    figure = Figure(figsize=(14, 7.2), layout="constrained", dpi=100)
    panels = figure.subplots(2, 4, width_ratios=(0.8, 1, 1, 1))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    for axes, image, said in zip(
        panels[:, 0], images, ("before", "after: the target"), strict=True
    ):
        axes.imshow(image)
        axes.set_title(said)
        axes.set_axis_off()
    scale = Normalize(float(landscape.planes.min()), float(landscape.planes.max()))
    for axes, plane in zip(panels[0, 1:], range(len(PLANES)), strict=True):
        _draw_plane(axes, landscape, plane, scale)
    bar = ScalarMappable(scale, MAP)
    figure.colorbar(bar, ax=panels[0, 1:], label="energy", shrink=0.9, pad=0.01)
    _draw_cuts(panels[1, 1], landscape)
    _draw_gripper(panels[1, 2], landscape)
    _draw_way(panels[1, 3], landscape)
    heights = _heights(landscape)
    for axes in panels[1, 1:]:
        axes.set_ylim(*heights)
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(_told(figures), x=0.01, ha="left", fontsize=9)
    return figure


def _draw_plane(axes: Axes, landscape: Landscape, plane: int, scale: Normalize) -> None:
    """Draw the energy over two axes [cm], with the true action, the least energy and the limits."""
    across, up = PLANES[plane]
    ticks = 100 * landscape.ticks.numpy()
    energies = landscape.planes[plane].numpy().T
    half = (ticks[1] - ticks[0]) / 2
    edges = (ticks[0] - half, ticks[-1] + half)
    axes.imshow(
        energies, extent=(*edges, *edges), origin="lower", norm=scale, cmap=MAP, aspect="equal"
    )
    if energies.max() > energies.min():
        axes.contour(ticks, ticks, energies, LEVELS, colors="black", linewidths=0.4, alpha=0.5)
    limit = 100 * MAX_TRANSLATION
    box = Rectangle(
        (-limit, -limit), 2 * limit, 2 * limit, fill=False, edgecolor=LIMIT, linestyle="--"
    )
    axes.add_patch(box)
    axes.plot(0, 0, marker="+", markersize=9, color=LIMIT)
    true = 100 * landscape.true_action.numpy()
    axes.plot(true[across], true[up], linestyle="none", markeredgecolor="black", **TRUE)
    row, column = np.unravel_index(energies.argmin(), energies.shape)
    least = {"markeredgecolor": "#ff5c5c", "markeredgewidth": 2, "linestyle": "none"} | LEAST
    axes.plot(ticks[column], ticks[row], **least)
    (fixed,) = set(range(3)) - {across, up}
    axes.set(xlabel=f"d{AXES[across]} [cm]", ylabel=f"d{AXES[up]} [cm]", xlim=edges, ylim=edges)
    axes.set_title(f"d{AXES[fixed]} = {true[fixed]:.1f} cm")


def _draw_cuts(axes: Axes, landscape: Landscape) -> None:
    for axis, cut in enumerate(landscape.cuts.numpy()):
        colour, dash = CURVES[axis], DASHES[axis]
        axes.plot(100 * landscape.ticks, cut, color=colour, linestyle=dash, label=f"d{AXES[axis]}")
        true = 100 * float(landscape.true_action[axis])
        axes.axvline(true, color=colour, linestyle=dash, linewidth=0.8, alpha=0.7)
    for limit in (-100 * MAX_TRANSLATION, 100 * MAX_TRANSLATION):
        axes.axvline(limit, color=SOFT, linewidth=0.8)
    axes.set(xlabel="displacement [cm]", ylabel="energy")
    axes.set_title("along each axis, through the true action")
    axes.legend(frameon=False)


def _draw_gripper(axes: Axes, landscape: Landscape) -> None:
    changes, energies = landscape.changes.numpy(), landscape.gripper.numpy()
    possible = landscape.possible.numpy()
    axes.plot(changes, energies, color=SOFT, linewidth=1, label="beyond open or closed")
    axes.plot(changes[possible], energies[possible], color=COLOURS[0], label="possible")
    true = float(landscape.true_action[GRIPPER])
    axes.axvline(true, color=COLOURS[0], linewidth=0.8, alpha=0.7)
    for limit in (-MAX_GRIPPER, MAX_GRIPPER):
        axes.axvline(limit, color=SOFT, linewidth=0.8)
    axes.set(xlabel="change of closedness")
    axes.set_title(f"gripper, from closedness {landscape.closedness:.2f}")
    axes.legend(frameon=False)


def _draw_way(axes: Axes, landscape: Landscape) -> None:
    parts = np.linspace(0, 1, len(landscape.way))
    axes.plot(parts, landscape.way.numpy(), color=COLOURS[0], marker="o", markersize=3)
    axes.axhline(landscape.minimum_energy, color="#c83c3c", linewidth=0.9, linestyle=":")
    axes.set(xlabel="part of the true action that is done")
    axes.set_title("from holding still to the true action")


def _heights(landscape: Landscape) -> tuple[float, float]:
    """Return one scale for all curves, so that a flat one is seen to be flat."""
    curves = (landscape.cuts, landscape.gripper, landscape.way)
    low = min(landscape.minimum_energy, *(float(curve.min()) for curve in curves))
    high = max(float(curve.max()) for curve in curves)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _told(figures: LandscapeFigures) -> str:
    falls = "all along" if figures.monotone else f"on {figures.monotone_share:.0%} of"
    return (
        "star: true action   ring: least energy of the plane   cross: no displacement   dashed:"
        " limits of an action   thin lines: true action, limits (grey)   dotted: least energy\n"
        f"least energy {figures.argmin_error_cm:.1f} cm from the true action   energy"
        f" {figures.energy_true:.3f} there, {figures.energy_still:.3f} at holding still,"
        f" {figures.energy_minimum:.3f} at least   falls {falls} the way   contrast"
        f" {figures.contrast:.2f}   gripper over xyz {figures.gripper_over_xyz:.2f}   random"
        f" actions below {figures.less_than_true:.0%}"
    )
