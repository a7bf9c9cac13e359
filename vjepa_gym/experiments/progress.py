"""How far a long job is: a bar in a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from vjepa_gym.experiments.together import is_first

CONSOLE = Console(stderr=True, quiet=not is_first())
"""Where progress and log lines go, so that neither tears the other apart."""
RESULTS = Console(highlight=False, markup=False, soft_wrap=True, quiet=not is_first())
"""Where results are shown."""

SECONDS_BETWEEN_LINES = 10.0
"""How often a line is written where there is no terminal [s]."""

Report: TypeAlias = Callable[[int, Mapping[str, float | str]], None]
"""Called with how many are done, and with whatever else is worth showing, by name."""


@contextmanager
def progress(
    title: str,
    total: int,
    unit: str,
    *,
    each: int = 1,
    each_minute: bool = False,
    console: Console = CONSOLE,
) -> Iterator[Report]:
    """Show how many of `total` are done, how fast, how long it will take, and further figures.

    Args:
        title: What is going on.
        total: How many there are to do.
        unit: What the speed is told in, such as `episodes`.
        each: How many of these are in one of what is counted: the `clips` of a step.
        each_minute: Whether to say how many a minute even if there are many a second.
        console: Where to show it.
    """
    pace = _Pace(total, unit, each, each_minute)
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task(title, total=total, figures="")
            beside = len(f"{title} {total}/{total} ") + _bar_width(console) + 1

            def update(done: int, figures: Mapping[str, float | str]) -> None:
                room = console.width - beside
                bar.update(task, completed=done, figures=_line(pace.at(done), figures, room))

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
        BarColumn(_bar_width(console)),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    return Progress(*columns, console=console)


def _bar_width(console: Console) -> int:
    """Return a bar that leaves the figures most of a line."""
    return max(8, min(40, console.width // 6))


class _Pace:
    """How fast something goes since it was first looked at, and how long the rest will take."""

    def __init__(self, total: int, unit: str, each: int, each_minute: bool) -> None:
        self._total, self._unit, self._each = total, unit, each
        self._each_minute = each_minute
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
        told = self._each * rate
        fast = told >= 1 and not self._each_minute
        speed = f"{told:.1f}/s" if fast else f"{60 * told:.1f}/min"
        return {self._unit: speed, "left": duration(left)}


def _line(
    pace: Mapping[str, str], figures: Mapping[str, float | str], room: int | None = None
) -> str:
    """Return what there is to say, as much of it as has `room`: whole figures, the first first."""
    told = [f"{name} {_figure(value)}" for name, value in {**pace, **figures}.items()]
    while room is not None and len(told) > 1 and len(", ".join(told)) > room:
        told.pop()
    return ", ".join(told)


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
