"""What the demo says in a terminal: one table of all cells, and the gates that are not passed."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vjepa_gym.experiments.compare.cells import Cell
from vjepa_gym.experiments.gate_lines import gate_lines
from vjepa_gym.experiments.jobs.demo import Shown
from vjepa_gym.experiments.results import Evaluation, Summary

PAGE = "index.html"
"""Of the demo, in the folder of the run."""
COLUMNS = ("success", "95 % interval", "median", "s/action")
"""Of the table, right of what is done, where and by whom."""


def show_demo(console: Console, shown: Shown, folder: Path) -> None:
    """Show how often what succeeded, where the videos are, and what the model does not pass.

    Args:
        console: Where.
        shown: What was found.
        folder: Where its page is.
    """
    console.print(demo_table(shown))
    lines = [*gate_lines(shown.model, shown.gates), f"Videos: {(folder / PAGE).resolve()}"]
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)


def demo_table(shown: Shown) -> Table:
    """Return one table of all cells, which a terminal of 80 columns has room for."""
    table = Table(
        title=f"{shown.model} plans from goal images",
        title_justify="left",
        title_style="bold",
        box=SIMPLE,
        pad_edge=False,
        padding=(0, 1, 0, 0),  # all of it fits in a terminal of 80 columns
    )
    for name in ("task", "lab", "agent"):
        # A registered name is long, and broken into lines.
        table.add_column(name, no_wrap=name != "task", overflow="fold")
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for cell, evaluation in shown.evaluations.items():
        _add_cell(table, cell, evaluation)
    return table


def _add_cell(table: Table, cell: Cell, evaluation: Evaluation) -> None:
    for number, row in enumerate(evaluation.summaries()):
        place: Sequence[str] = ("", "") if number else (cell.task, cell.lab)
        style = "bold" if row.agent == evaluation.agent else "dim"
        table.add_row(*place, row.agent, *_figures(row), style=style)


def _figures(row: Summary) -> list[str]:
    return [
        f"{row.successes} of {row.episodes}",
        f"{row.low:.0%} to {row.high:.0%}",
        f"{row.median_distance * 100:.1f} cm",
        f"{row.seconds:.2f}",
    ]
