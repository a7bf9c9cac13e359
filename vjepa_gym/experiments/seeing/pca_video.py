"""A video beside the colours of its features: moving, and as a sheet of stills."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

Panel = UInt8[np.ndarray, "frames side side 3"]
STRIP = 22
"""Height of the line of text above a panel [px]; even, as videos need it."""
GAP = 6
"""Between panels [px]; even as well."""
STILLS = 8
"""Frames on a sheet, at most."""
DOTS_PER_INCH = 100
LETTER = 7.0
"""Mean width of a letter [px]."""


def enlarge(
    colours: Float[Tensor, "frames rows columns 3"], side: int, *, smooth: bool
) -> UInt8[np.ndarray, "frames {side} {side} 3"]:
    """Return colours in [0, 1] as square pictures.

    Args:
        colours: One a patch.
        side: Of the pictures [px].
        smooth: Whether to interpolate between patches rather than show each as a square.
    """
    x = colours.permute(0, 3, 1, 2)
    if smooth:
        x = interpolate(x, (side, side), mode="bilinear", align_corners=False)
    else:
        x = interpolate(x, (side, side), mode="nearest-exact")
    return (255 * x).round().byte().permute(0, 2, 3, 1).numpy()


def side_by_side(panels: Mapping[str, Panel]) -> UInt8[np.ndarray, "frames height width 3"]:
    """Return panels from left to right, the name of each above it."""
    columns: list[np.ndarray] = []
    for name, panel in panels.items():
        strip = caption(name, panel.shape[2])
        strips = np.broadcast_to(strip, (len(panel), *strip.shape))
        gap = np.full((len(panel), STRIP + panel.shape[1], GAP, 3), 255, np.uint8)
        columns += [np.concatenate([strips, panel], axis=1), gap]
    return np.concatenate(columns[:-1], axis=2)


def sheet(panels: Mapping[str, Panel]) -> UInt8[np.ndarray, "height width 3"]:
    """Return stills of panels, evenly spaced in time from left to right, a row for each panel."""
    rows: list[np.ndarray] = []
    for name, panel in panels.items():
        chosen = np.unique(np.linspace(0, len(panel) - 1, STILLS).round().astype(int))
        gap = np.full((panel.shape[1], GAP, 3), 255, np.uint8)
        stills = [part for index in chosen for part in (panel[index], gap)][:-1]
        row = np.concatenate(stills, axis=1)
        rows += [caption(name, row.shape[1]), row]
    return np.concatenate(rows)


def caption(text: str, width: int) -> UInt8[np.ndarray, "strip {width} 3"]:
    """Return a line of text on white; the beginning is left out if it is too long."""
    most = int(width / LETTER)
    said = text if len(text) <= most else "…" + text[len(text) - most + 1 :]
    figure = Figure(figsize=(width / DOTS_PER_INCH, STRIP / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    figure.text(2 / width, 0.5, said, va="center_baseline", fontsize=9, parse_math=False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
