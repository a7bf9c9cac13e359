"""A comparison as a table: in the terminal, in `table.md`, and in `results.json`."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from vjepa_gym.experiments.compare.cells import Cell, title
from vjepa_gym.experiments.compare.figures import Comparison
from vjepa_gym.experiments.compare.published import FOOTNOTE, PUBLISHED, Published
from vjepa_gym.experiments.statistics import wilson_interval
from vjepa_gym.learning.checkpoints import write_atomically

MARKDOWN, RESULTS = "table.md", "results.json"
SECONDS, PLANS = "s/action", "plans/action"
MOST_COLUMNS = 1000
"""More than any table of ours is wide."""
LEGEND = (
    "Success at the end of an episode, its 95 % Wilson interval, and n, the episodes that count: "
    "those that began solved do not. s/action is the median time of a decision, shared by robots "
    "that decide together; plans are the action sequences imagined for one. Who is privileged "
    "knows what no image shows."
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table, in words.

    Attributes:
        block: What it stands under: a lab, or where it was published.
        agent: Whose.
        about: What else to know of it; nothing if there is nothing.
        cells: Rate and interval by task, the latter nothing if not known.
        trials: How many episodes each cell has, or from the least to the most.
        seconds: Time of a decision.
        plans: How many action sequences are imagined for one.
    """

    block: str
    agent: str
    about: str
    cells: dict[str, tuple[str, str]]
    trials: str
    seconds: str
    plans: str


def rows(comparison: Comparison) -> Iterator[Row]:
    """Yield the rows: those of each lab, then those published of the same columns."""
    for lab in comparison.labs:
        for agent in comparison.agents:
            row = _measured(comparison, lab, agent)
            if row.cells:
                yield row
    for one in PUBLISHED:
        row = _published(one, comparison)
        if row.cells:
            yield row


def markdown(comparison: Comparison) -> str:
    """Return the table, what it means, and what to note of it, as Markdown."""
    head = ["lab", "agent", *map(title, comparison.tasks), "n", SECONDS, PLANS]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for row in rows(comparison):
        cells = [_on_a_line(*row.cells.get(task, ("", ""))) for task in comparison.tasks]
        agent = ", ".join(filter(None, [row.agent, row.about]))
        lines.append([row.block, agent, *cells, row.trials, row.seconds, row.plans])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    said = [table, *notes(comparison)]
    return "\n\n".join(said) + "\n"


def terminal_table(comparison: Comparison) -> Table:
    """Return the table that a terminal of 80 columns has room for: seven tasks, two lines a row."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    for task in comparison.tasks:
        table.add_column(_narrow(task), justify="right", no_wrap=True)
    table.add_column("s/act\nplans", justify="right", no_wrap=True)
    block = ""
    for row in rows(comparison):
        if row.block != block:
            block = row.block
            table.add_row(Text(block.replace(" (", "\n("), style="bold"))
        about = ", ".join(filter(None, [row.about, f"n {row.trials}" if row.trials else ""]))
        cells = ["\n".join(row.cells.get(task, ("", ""))) for task in comparison.tasks]
        table.add_row(f"{row.agent}\n  {about}", *cells, f"{row.seconds}\n{row.plans}")
    return table


def notes(comparison: Comparison) -> list[str]:
    """Return what stands below the table."""
    return [*comparison.remarks(), LEGEND, FOOTNOTE]


def show_comparison(console: Console, comparison: Comparison, folder: Path) -> None:
    """Show the table, what to note of it, and where the rest of it is."""
    table = terminal_table(comparison)
    # A terminal too narrow for it breaks its lines: better than figures that are cut off.
    needed = console.measure(table, options=console.options.update(max_width=MOST_COLUMNS))
    options = console.options.update(width=needed.maximum, max_width=needed.maximum)
    console.print(SegmentLines(console.render_lines(table, options, pad=False), new_lines=True))
    for line in comparison.remarks():
        console.print(line)
    for name in (MARKDOWN, RESULTS):
        console.print(str((folder / name).resolve()))


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write `table.md` and `results.json`."""
    write_atomically(folder / MARKDOWN, markdown(comparison).encode())
    results = {
        "settings": comparison.settings,
        "agents": comparison.agents,
        "code": comparison.code,
        "figures": [asdict(figure) for figure in comparison.figures()],
        "remarks": comparison.remarks(),
        "published": [asdict(one) for one in PUBLISHED],
    }
    write_atomically(folder / RESULTS, (json.dumps(results, indent=1) + "\n").encode())


def _measured(comparison: Comparison, lab: str, agent: str) -> Row:
    found = {task: comparison.figure(Cell(task, lab), agent) for task in comparison.tasks}
    known = {task: figure for task, figure in found.items() if figure is not None}
    numbers = sorted({figure.episodes for figure in known.values()})
    seconds, plans = comparison.effort(lab, agent)
    return Row(
        block=lab,
        agent=agent,
        about="privileged" if comparison.privileged(agent) else "",
        cells={task: _rate(one.rate, (one.low, one.high)) for task, one in known.items()},
        trials="-".join(map(str, numbers if len(numbers) < 2 else (numbers[0], numbers[-1]))),
        seconds=_seconds(seconds),
        plans="" if plans is None else f"{plans:.0f}",
    )


def _published(one: Published, comparison: Comparison) -> Row:
    cells: dict[str, tuple[str, str]] = {}
    for task in comparison.tasks:
        rate, interval = one.rates.get(task), None
        if rate is None:
            continue
        if one.trials is not None:
            interval = wilson_interval(round(rate * one.trials), one.trials)
        cells[task] = _rate(rate, interval)
    return Row(
        block=one.source,
        agent=one.agent,
        about=one.about,
        cells=cells,
        trials="" if one.trials is None else str(one.trials),
        seconds=_seconds(one.seconds),
        plans="" if one.evaluations is None else str(one.evaluations),
    )


def _rate(rate: float, interval: tuple[float, float] | None) -> tuple[str, str]:
    """Return a rate and its interval in words: `87 %` and `79-92`."""
    told = "" if interval is None else f"{100 * interval[0]:.0f}-{100 * interval[1]:.0f}"
    return f"{100 * rate:.0f} %", told


def _on_a_line(rate: str, interval: str) -> str:
    return f"{rate} ({interval})" if interval else rate


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2f}"


def _narrow(task: str) -> str:
    """Return the head of a column of the terminal's table."""
    head = title(task).replace("Pick-&-place", "Place").replace(", 1 image", "\n1 img")
    return head.replace(" ", "\n", 1)
