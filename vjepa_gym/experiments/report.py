"""What an evaluation leaves behind: every episode, a table, videos and a page to look at."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vjepa_gym.experiments.page import write_page
from vjepa_gym.experiments.pictures import write_episode_video, write_overview
from vjepa_gym.experiments.results import Evaluation, Summary

OVERVIEW_EPISODES = 10
"""How many episodes the one video shows that shows several."""


def results_table(evaluation: Evaluation) -> Table:
    """Return the table that a terminal shows."""
    table = Table(
        title=evaluation.title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE,
        pad_edge=False,  # the whole of it fits in a terminal of 80 columns
        caption=evaluation.failures or None,
        caption_justify="left",
    )
    table.add_column("agent", no_wrap=True)
    near = f"<= {evaluation.near_distance * 100:g} cm"
    for name in ("success", "95 % interval", near, "median", "s/action", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in evaluation.summaries():
        table.add_row(
            row.agent,
            *_outcome(row),
            f"{row.seconds:.2f}",
            _p_value(row.p_value),
            style="bold" if row.agent == evaluation.agent else None,
        )
    return table


def _outcome(row: Summary) -> list[str]:
    """Return success, its interval, the share that ended near, and the median distance."""
    if not row.known:
        return ["unknown"] * 4
    return [
        f"{row.successes} of {row.episodes}",
        f"{row.low:.0%} to {row.high:.0%}",
        f"{row.near:.0%}",
        f"{row.median_distance * 100:.1f} cm",
    ]


def _p_value(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2g}" if value >= 0.001 else "<.001"


def write_report(evaluation: Evaluation, folder: Path, *, videos: int) -> Path:
    """Write everything to `folder` and return the page.

    Leaves `episodes.json`, `table.json`, `table.txt`, `videos/<seed>.mp4`, `overview.mp4` and
    `index.html`, which needs none of the others; `causes.json` if failures were looked into.

    Args:
        evaluation: What was measured.
        folder: Where to write it.
        videos: Of how many of the first agent's episodes to write a video.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summaries = evaluation.summaries()
    episodes = {
        name: [r.to_json() for r in records] for name, records in evaluation.records.items()
    }
    _write_json(folder / "episodes.json", episodes)
    _write_json(folder / "table.json", [_json(row) for row in summaries])
    if evaluation.causes:
        causes = {seed: cause.value for seed, cause in evaluation.causes.items()}
        _write_json(folder / "causes.json", causes)
    with (folder / "table.txt").open("w", encoding="utf-8") as file:
        Console(file=file, width=110).print(results_table(evaluation))
    shown = evaluation.counted(evaluation.agent)[:videos]
    clips: dict[int, Path] = {}
    for record in shown:
        clips[record.seed] = folder / "videos" / f"{record.seed}.mp4"
        write_episode_video(clips[record.seed], record)
    if shown:
        write_overview(folder / "overview.mp4", shown[:OVERVIEW_EPISODES])
    page = folder / "index.html"
    write_page(page, evaluation, summaries, clips)
    return page


def show_results(console: Console, evaluation: Evaluation, folder: Path) -> None:
    """Show the table, and where the rest of what `write_report` left in `folder` is."""
    console.print(results_table(evaluation))
    for name, file in (("Video", "overview.mp4"), ("Page ", "index.html")):
        path = (folder / file).resolve()
        if path.exists():
            console.print(f"{name}  {path}", soft_wrap=True, highlight=False, markup=False)


def _json(row: Summary) -> dict[str, Any]:
    return asdict(row) if row.known else asdict(row) | {"median_distance": None}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
