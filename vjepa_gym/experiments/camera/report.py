"""What a sweep of the camera leaves behind: a table, JSON, pictures and a page."""

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vjepa_gym.experiments.camera.pictures import draw_sweep
from vjepa_gym.experiments.camera.result import CORRECTED, PLAIN, Position, Sweep
from vjepa_gym.experiments.results import Summary

STUDY = ("offset", "W turns", "cond", "error", "left", "estimate", "off by")
EPISODES = ("offset", PLAIN, "95 %", CORRECTED, "95 %", "won back", "p")
"""The columns of the tables; a terminal of 80 columns has room for them."""
PICTURES = {
    "rotation": "What is inferred from two views, and the rotation estimated from moves",
    "success": "Episodes without and with the correction, on the same seeds",
}
"""What each picture shows."""


def write_sweep(sweep: Sweep, folder: Path) -> Path:
    """Write `camera.json`, `table.txt`, the pictures and `index.html`; return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(sweep.to_json(), indent=1)
    (folder / "camera.json").write_text(text + "\n", encoding="utf-8")
    with (folder / "table.txt").open("w", encoding="utf-8") as file:
        show_sweep(Console(file=file, width=110), sweep)
    template = files("vjepa_gym.experiments.camera").joinpath("page.html")
    drawn = draw_sweep(sweep, folder)
    pictures = [f"<section><h2>{PICTURES[name]}</h2>{drawn[name]}</section>" for name in drawn]
    tables = "</table><table>".join(_table(head, rows) for head, rows in _tables(sweep))
    configuration = json.dumps(dict(sweep.configuration), indent=2, default=str)
    page = folder / "index.html"
    text = Template(template.read_text(encoding="utf-8")).substitute(
        title=escape(sweep.title),
        table=tables,
        pictures="\n".join(pictures),
        configuration=escape(configuration),
    )
    page.write_text(text, encoding="utf-8")
    return page


def show_sweep(console: Console, sweep: Sweep) -> None:
    """Show the tables that a terminal shows."""
    for head, rows in _tables(sweep):
        table = Table(box=SIMPLE, pad_edge=False)
        for name in head:
            table.add_column(name, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def _tables(sweep: Sweep) -> list[tuple[Sequence[str], list[list[str]]]]:
    tables: list[tuple[Sequence[str], list[list[str]]]] = [
        (STUDY, [_studied(one) for one in sweep.positions])
    ]
    driven = [_driven(sweep, one) for one in sweep.positions if one.evaluation]
    return [*tables, (EPISODES, driven)] if driven else tables


def _studied(position: Position) -> list[str]:
    inferred = position.inferred
    return [
        f"{position.offset:+g}",
        f"{np.degrees(inferred.rotation):+.1f}",
        f"{inferred.condition:.2f}",
        f"{inferred.error * 100:.2f} cm",
        f"{inferred.remaining * 100:.2f} cm",
        _estimated(position),
        f"{position.wrong:.1f}",
    ]


def _estimated(position: Position) -> str:
    spread = f"{position.spread:.1f}" if np.isfinite(position.spread) else "?"
    return f"{position.estimate:+.1f} +- {spread}"


def _driven(sweep: Sweep, position: Position) -> list[str]:
    rows = position.summaries()
    recovered, p_value = sweep.recovered(position), rows[CORRECTED].p_value
    return [
        f"{position.offset:+g}",
        *_rate(rows[PLAIN]),
        *_rate(rows[CORRECTED]),
        "" if recovered is None else f"{recovered:.0%}",
        "" if p_value is None else f"{p_value:.2g}",
    ]


def _rate(row: Summary) -> tuple[str, str]:
    return f"{row.successes} of {row.episodes}", f"{row.low:.0%} to {row.high:.0%}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return f"<tr>{names}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines)
