"""A sweep of the camera as two pictures: what is inferred, and what is achieved."""

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vjepa_gym.experiments.camera.result import CORRECTED, PLAIN, Position, Sweep
from vjepa_gym.experiments.pictures import COLOURS

RUN = {PLAIN: COLOURS[1], CORRECTED: COLOURS[0]}
"""The colour of each agent."""


def draw_sweep(sweep: Sweep, folder: Path) -> dict[str, str]:
    """Write `rotation.svg` and `success.svg` to `folder`, and return them by name.

    Without episodes there is no picture of success.
    """
    pictures = {"rotation": _picture(lambda figure: _draw_rotation(figure, sweep))}
    if any(one.evaluation for one in sweep.positions):
        pictures["success"] = _picture(lambda figure: _draw_success(figure, sweep))
    for name, picture in pictures.items():
        (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
    return pictures


def _picture(draw: Callable[[Figure], None]) -> str:
    # Text stays text: smaller, and it can be searched.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "camera"}):
        figure = Figure(figsize=(10.2, 3.8), layout="constrained")
        draw(figure)
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    text = file.getvalue()
    return text[text.index("<svg") :]


def _draw_rotation(figure: Figure, sweep: Sweep) -> None:
    angles, errors = figure.subplots(1, 2)
    offsets = [one.offset for one in sweep.positions]
    angles.plot(offsets, offsets, color="#999999", linewidth=0.8, linestyle=":", label="truth")
    rotations = np.degrees([one.inferred.rotation for one in sweep.positions])
    angles.plot(offsets, rotations, color=COLOURS[2], marker="o", markersize=4, label="of W")
    for one in sweep.positions:
        found = np.degrees([estimate.angle for estimate in one.estimates])
        angles.plot(np.full(len(found), one.offset), found, ".", color=COLOURS[0], alpha=0.35)
    used = [one.estimate for one in sweep.positions]
    spreads = [one.spread if np.isfinite(one.spread) else 0.0 for one in sweep.positions]
    angles.errorbar(offsets, used, spreads, color=COLOURS[0], fmt="o-", markersize=4, label="moves")
    angles.set(xlabel="camera's offset [deg]", ylabel="rotation [deg]")
    angles.legend(frameon=False, fontsize=8)
    for values, colour, label in (
        ([one.inferred.error for one in sweep.positions], COLOURS[4], "inferred less true"),
        ([one.inferred.remaining for one in sweep.positions], COLOURS[3], "inferred less W true"),
    ):
        errors.plot(offsets, np.array(values) * 100, "o-", markersize=4, color=colour, label=label)
    errors.set(xlabel="camera's offset [deg]", ylabel="mean absolute error [cm]", ylim=(0, None))
    errors.legend(frameon=False, fontsize=8)


def _draw_success(figure: Figure, sweep: Sweep) -> None:
    driven = [one for one in sweep.positions if one.evaluation]
    rates, distances = figure.subplots(1, 2)
    for shift, (name, colour) in zip((-0.25, 0.25), RUN.items(), strict=True):
        _draw_rates(rates, driven, name, colour, shift)
        medians = [100 * one.summaries()[name].median_distance for one in driven]
        distances.plot(
            [one.offset for one in driven], medians, "o-", color=colour, markersize=4, label=name
        )
    rates.set(xlabel="camera's offset [deg]", ylabel="success [%]", ylim=(-3, 103))
    distances.set(
        xlabel="camera's offset [deg]", ylabel="median distance at the end [cm]", ylim=(0, None)
    )
    rates.legend(frameon=False, fontsize=8)


def _draw_rates(axes: Axes, driven: list[Position], name: str, colour: str, shift: float) -> None:
    rows = [one.summaries()[name] for one in driven]
    rates = 100 * np.array([row.rate for row in rows])
    below = rates - 100 * np.array([row.low for row in rows])
    above = 100 * np.array([row.high for row in rows]) - rates
    # A hair apart, so that intervals do not hide each other.
    offsets = np.array([one.offset for one in driven]) + shift
    bars = np.maximum(np.stack([below, above]), 0)
    axes.errorbar(offsets, rates, bars, color=colour, fmt="o-", markersize=4, label=name)
