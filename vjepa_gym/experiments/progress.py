"""How far a long job is: a bar in a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

CONSOLE = Console(stderr=True)
"""Where progress and log lines go, so that neither tears the other apart."""

SECONDS_BETWEEN_LINES = 10.0
"""How often a line is written where there is no terminal [s]."""

Report: TypeAlias = Callable[[int, Mapping[str, float | str]], None]
"""Called with how many are done, and with whatever else is worth showing, by name."""


@contextmanager
def progress(
    title: str, total: int, unit: str, *, each_minute: bool = False, console: Console = CONSOLE
) -> Iterator[Report]:
    """Show how many of `total` are done, how fast, how long it will take, and further figures.

    Args:
        title: What is going on.
        total: How many there are to do.
        unit: What is counted, such as `episodes`.
        each_minute: Whether to say how many a minute even if there are many a second.
        console: Where to show it.
    """
    pace = _Pace(total, unit, each_minute)
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task(title, total=total, figures="")

            def update(done: int, figures: Mapping[str, float | str]) -> None:
                bar.update(task, completed=done, figures=_line(pace.at(done), figures))

            yield update
        return
    last = -SECONDS_BETWEEN_LINES

    def write(done: int, figures: Mapping[str, float | str]) -> None:
        nonlocal last
        said = pace.at(done)
        now = time.monotonic()
        if done < total and now - last < SECONDS_BETWEEN_LINES:
            return
        last = now
        line = ", ".join(filter(None, [f"{title}: {done}/{total}", _line(said, figures)]))
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    yield write


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    return Progress(*columns, console=console)


class _Pace:
    """How fast something goes since it was first looked at, and how long the rest will take."""

    def __init__(self, total: int, unit: str, each_minute: bool) -> None:
        self._total, self._unit, self._each_minute = total, unit, each_minute
        self._first: tuple[int, float] | None = None

    def at(self, done: int) -> dict[str, str]:
        now = time.monotonic()
        if self._first is None:
            self._first = done, now
        first, began = self._first
        if done <= first or now <= began:
            return {}
        rate = (done - first) / (now - began)
        left = (self._total - done) / rate
        fast = rate >= 1 and not self._each_minute
        speed = f"{rate:.1f}/s" if fast else f"{60 * rate:.1f}/min"
        return {self._unit: speed, "left": duration(left)}


def _line(pace: Mapping[str, str], figures: Mapping[str, float | str]) -> str:
    told = {**pace, **figures}
    return ", ".join(f"{name} {_figure(value)}" for name, value in told.items())


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Return a time [s] as people say it: `45 s`, `3:05 min`, `2:10 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def size(count: int) -> str:
    """Return a number of bytes as people say it: `812 kB`, `1.4 GB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"
