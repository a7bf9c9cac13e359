"""What a benchmark found: figures, a table, and what both simulators draw."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from vjepa_gym.experiments.timing import Rate
from vjepa_gym.types import Image

TABLE, FIGURES, PICTURE = "table.md", "results.json", "rendering.png"
ROBOSUITE = "stock robosuite"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Ours and another's, measured by turns; more is better.

    Attributes:
        what: What was measured.
        ours: How often a second, in each round.
        stock: The other's, as it comes, likewise.
        least: How many times as fast ours should be; None if nothing is asked.
        by_clock: Whether to judge by the clock, rather than by the processor's time.
    """

    what: str
    ours: Sequence[Rate]
    stock: Sequence[Rate]
    least: float | None = None
    by_clock: bool = False

    @property
    def ratios(self) -> list[float]:
        """How many times as fast ours was, in each round."""
        pairs = zip(self.ours, self.stock, strict=True)
        return [self._judged(ours) / self._judged(stock) for ours, stock in pairs]

    @property
    def met(self) -> bool | None:
        """Whether ours was fast enough in the median round; None if nothing is asked."""
        return None if self.least is None else median(self.ratios) >= self.least

    def cells(self) -> list[str]:
        """Return the row of a table."""
        ours, stock = (median(map(self._judged, rates)) for rates in (self.ours, self.stock))
        return [
            f"{self.what} [1/s]",
            f"{ours:.4g}",
            f"{stock:.3g}",
            f"{self._shown(median(self.ratios))} ({self._shown(min(self.ratios))} to"
            f" {self._shown(max(self.ratios))})",
            "" if self.least is None else f"at least {self.least:.3g} times",
            _word(self.met),
        ]

    def _judged(self, rate: Rate) -> float:
        return rate.wall if self.by_clock else rate.process

    def _shown(self, ratio: float) -> str:
        return f"{ratio:.2f}" if self.by_clock else f"{ratio:.1f}"

    def to_json(self) -> dict[str, Any]:
        """Return everything, with the ratios."""
        pairs = list(zip(self.ours, self.stock, strict=True))
        return {
            "what": self.what,
            "ours": [self._judged(rate) for rate in self.ours],
            "stock": [self._judged(rate) for rate in self.stock],
            "ratio": median(self.ratios),
            "ratios": self.ratios,
            "ratio_by_the_clock": median(ours.wall / stock.wall for ours, stock in pairs),
            "least": self.least,
            "met": self.met,
        }


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One figure of ours that, if anything is asked of it, should be small.

    Attributes:
        what: What was measured.
        unit: In what.
        ours: The figure.
        most: How large it may be; None if nothing is asked.
        stock: The same of the other, if there is such a thing.
        notes: What else was measured with it.
    """

    what: str
    unit: str
    ours: float
    most: float | None = None
    stock: float | None = None
    notes: Mapping[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether it is small enough; None if nothing is asked."""
        return None if self.most is None else self.ours <= self.most

    def cells(self) -> list[str]:
        """Return the row of a table."""
        return [
            f"{self.what} [{self.unit}]",
            f"{self.ours:.3g}",
            "" if self.stock is None else f"{self.stock:.3g}",
            "",
            "" if self.most is None else f"at most {self.most:g}",
            _word(self.met),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "what": self.what,
            "unit": self.unit,
            "ours": self.ours,
            "stock": self.stock,
            "most": self.most,
            "met": self.met,
            **self.notes,
        }


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What was found.

    Attributes:
        comparisons: Of ours with another.
        limits: Of ours alone, or with the other beside it.
        machine: What it was measured on.
        other: Who the other is.
        how: In what way it was measured.
    """

    comparisons: Sequence[Comparison]
    limits: Sequence[Limit]
    machine: Mapping[str, Any]
    other: str = ROBOSUITE
    how: str = "By the processor's time, on one core"

    @property
    def head(self) -> tuple[str, ...]:
        """What stands above `rows`."""
        return "", "ours", self.other, "ratio (range)", "wanted", "met"

    def unmet(self) -> list[str]:
        """Return what is not as fast, or as small, as it should be."""
        return [row.what for row in (*self.comparisons, *self.limits) if row.met is False]

    def rows(self) -> list[list[str]]:
        """Return the cells of a table under `head`."""
        return [row.cells() for row in (*self.comparisons, *self.limits)]

    def markdown(self) -> str:
        """Return everything as a table in Markdown."""
        ruler = ["---", "--:", "--:", "--:", "---", "---"]
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.head, ruler, *self.rows())]
        about = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        return "\n".join([*lines, "", f"{self.how}: {about}.", ""])

    def write(self, folder: Path) -> None:
        """Write `results.json` and `table.md`."""
        folder.mkdir(parents=True, exist_ok=True)
        found = {
            "machine": dict(self.machine),
            "other": self.other,
            "how": self.how,
            "comparisons": [row.to_json() for row in self.comparisons],
            "limits": [row.to_json() for row in self.limits],
        }
        text = json.dumps(found, indent=1)
        (folder / FIGURES).write_text(text + "\n", encoding="utf-8")
        (folder / TABLE).write_text(self.markdown(), encoding="utf-8")


def draw_side_by_side(path: Path, pictures: Mapping[str, Image]) -> None:
    """Write a PNG of pictures in a row, each above its caption."""
    figure = Figure(figsize=(3.2 * len(pictures), 3.5), dpi=150, layout="constrained")
    for i, (caption, picture) in enumerate(pictures.items(), start=1):
        axes = figure.add_subplot(1, len(pictures), i)
        axes.imshow(picture, interpolation="nearest")
        axes.set_xlabel(caption)
        axes.set_xticks([])
        axes.set_yticks([])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _word(met: bool | None) -> str:
    return {None: "", True: "yes", False: "no"}[met]
