"""What a report shows: each episode beside its goal, and how the distance fell."""

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vjepa_gym.agents.base import current_view
from vjepa_gym.datasets.video.mp4 import write_video
from vjepa_gym.experiments.rollout import EpisodeRecord

FRAMES_PER_SECOND = Fraction(4)
"""One control step lasts nominally a quarter of a second."""
LAST_FRAME_REPEATS = 5
"""So that one sees how an episode ended before it begins anew."""
GAP = 6
"""Between what is seen and what is to be seen [px]."""
MARGIN = 4
"""Around the last frame, in the colour of how it ended [px]."""
GREEN, RED, WHITE = (26, 152, 80), (200, 60, 60), (255, 255, 255)
COLOURS = ("#1f6feb", "#8b949e", "#d4a72c", "#2da44e", "#bf3989", "#57606a")
"""Of agents, in order; the first is the one that a report is about."""


def beside_goal(record: EpisodeRecord) -> UInt8[np.ndarray, "shown height width 3"]:
    """Return what was seen, on the left, and what was to be seen next, on the right.

    The last frame stays for a while, framed green if the episode succeeded and red if not.

    Raises:
        ValueError: The frames of the episode were not recorded.
    """
    if record.frames is None:
        raise ValueError(f"Episode {record.seed} was run with record_frames=False.")
    count, height, _, _ = record.frames.shape
    gap = np.full((count, height, GAP, 3), WHITE, np.uint8)
    views = current_view(record.goal_steps, np.arange(count))
    shown = np.concatenate([record.frames, gap, record.goal_images[views]], axis=2)
    last = shown[-1].copy()
    seen = last[:, : record.frames.shape[2]]
    colour = GREEN if record.success else RED
    seen[:MARGIN], seen[-MARGIN:] = colour, colour
    seen[:, :MARGIN], seen[:, -MARGIN:] = colour, colour
    return np.concatenate([shown, np.repeat(last[None], LAST_FRAME_REPEATS, axis=0)])


def write_episode_video(path: Path, record: EpisodeRecord) -> None:
    """Write an episode beside its goal as MP4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, beside_goal(record), FRAMES_PER_SECOND)


def write_overview(path: Path, records: Sequence[EpisodeRecord], columns: int = 2) -> None:
    """Write many episodes as one video, side by side and row by row."""
    clips = [beside_goal(record) for record in records]
    length = max(len(clip) for clip in clips)
    # A shorter episode waits at its last frame.
    clips = [np.concatenate([clip, np.repeat(clip[-1:], length - len(clip), 0)]) for clip in clips]
    blank = np.full_like(clips[0], 255)
    clips += [blank] * (-len(clips) % columns)
    rows = [np.concatenate(clips[i : i + columns], 2) for i in range(0, len(clips), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, np.concatenate(rows, axis=1), FRAMES_PER_SECOND)


def distance_plot(
    records: Mapping[str, Sequence[EpisodeRecord]], thresholds: Sequence[float]
) -> str:
    """Return an SVG of the distance to the goal by step: median and middle half of each agent.

    Args:
        records: Episodes by agent, the one that matters first.
        thresholds: Distances worth a line [m].
    """
    # Text stays text: smaller, and it can be searched.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "distance"}):
        figure = Figure(figsize=(10.2, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for colour, (name, episodes) in zip(_cycle(len(records)), records.items(), strict=True):
            _draw_agent(axes, name, np.stack([e.distances for e in episodes]) * 100, colour)
        for threshold in thresholds:
            axes.axhline(threshold * 100, color="#999999", linewidth=0.8, linestyle=":")
        axes.set(xlabel="control step", ylabel="distance to the goal [cm]", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    text = file.getvalue()
    return text[text.index("<svg") :]


def _draw_agent(axes: Axes, name: str, distances: np.ndarray, colour: str) -> None:
    low, median, high = np.quantile(distances, [0.25, 0.5, 0.75], axis=0)
    steps = np.arange(distances.shape[1])
    axes.plot(steps, median, color=colour, label=name, marker="o", markersize=3)
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def _cycle(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
