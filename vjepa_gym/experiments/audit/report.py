"""What an audit leaves behind: a table in the terminal, everything in JSON, a page to look at."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vjepa_gym.experiments.audit.counts import Histogram
from vjepa_gym.experiments.audit.findings import ERROR, MEANINGS, NOTE
from vjepa_gym.experiments.audit.page import write_page
from vjepa_gym.experiments.audit.result import Audit
from vjepa_gym.experiments.audit.statistics import Header, Outcomes, Statistics, most_common, said
from vjepa_gym.experiments.progress import duration, size

JSON, PAGE = "audit.json", "index.html"
MOST_GROUPS = 10
"""So many tasks or policies are told apart in a terminal."""
UNKNOWN = "not known"


def write_audit(audit: Audit, folder: Path) -> None:
    """Write `audit.json`, which has everything, and `index.html`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(audit.to_json(), indent=1, allow_nan=False)
    (folder / JSON).write_text(text + "\n", encoding="utf-8")
    write_page(folder / PAGE, audit)


def show_audit(console: Console, audit: Audit, folder: Path) -> None:
    """Show what is wrong and what the data are like, and where the rest of it is."""
    console.print(data_table(audit))
    for severity, title in ((ERROR, "Errors"), (NOTE, "Notes")):
        if audit.count(severity):
            _show_findings(console, audit, severity, title)
    for name, file in (("All ", JSON), ("Page", PAGE)):
        console.print(f"{name}  {(folder / file).resolve()}")


def _show_findings(console: Console, audit: Audit, severity: str, title: str) -> None:
    common = [kind for kind in audit.by_kind() if audit.concerns_most(kind)]
    if severity == NOTE and common:
        console.print(common_table(audit, common))
    if any(found.severity == severity and found.kind not in common for found in audit.findings):
        console.print(findings_table(audit, severity, title))
    if severity == ERROR:
        for sentence in audit.advice:
            console.print(sentence)


def common_table(audit: Audit, kinds: Sequence[str]) -> Table:
    """Return the notes that most episodes have: a row for each kind, with what it means."""
    table = _table("Notes on most episodes")
    table.add_column("episodes", justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("what", overflow="fold", ratio=1)
    groups = audit.by_kind()
    for kind in kinds:
        places = len({one.path for one in groups[kind]})
        table.add_row(f"{places:,}", kind, MEANINGS[kind])
    return table


def findings_table(audit: Audit, severity: str, title: str) -> Table:
    """Return what is wrong: a row for each kind, with an example."""
    table = _table(title)
    table.add_column("places", justify="right", no_wrap=True)
    table.add_column("kind")
    table.add_column("for example", overflow="fold", ratio=1)
    for kind, found in audit.by_kind().items():
        first = found[0]
        if first.severity != severity or audit.concerns_most(kind):
            continue
        # Text, because a path with brackets is no markup.
        example = Text(f"{first.path}\n{first.detail}")
        places = len({one.path for one in found})
        table.add_row(f"{places:,}", Text(kind), example)
    return table


def data_table(audit: Audit) -> Table:
    """Return what the data are like."""
    table = _table("Data")
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    table.show_header = False
    for name, value in _lines(audit):
        table.add_row(name, Text(value))
    return table


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE,
        pad_edge=False,
    )


def _lines(audit: Audit) -> Iterator[tuple[str, str]]:
    there = audit.statistics
    whole = audit.episodes - audit.broken
    yield "episodes", f"{audit.episodes:,}, {whole:,} of them without an error"
    if not there.episodes:
        return
    read = f"the {there.episodes:,} that can be read"
    yield "rows", f"{there.rows:,} in {read}; {_spread(there.lengths, '', 'an episode')}"
    yield "true time", duration(there.seconds)
    yield "files", f"{size(there.size)}, {size(there.size // there.episodes)} an episode"
    yield "success", f"{there.outcome.successes:,} of {read}"
    for title, groups in (("by task", there.tasks), ("by policy", there.policies)):
        for name, outcomes in most_common(groups, MOST_GROUPS).items():
            yield title, f"{_outcome(outcomes)}: {name}"
            title = ""
    yield "a step", _spread(there.translation, "m", "translation")
    yield "", _spread(there.rotation, "rad", "rotation")
    yield "", _spread(there.duration, "s", "true time")
    title = "views"
    for (name, width, height, rate), count in sorted(there.cameras.items()):
        yield title, f"{name}: {width} x {height} px, header {said(rate)}, {count:,} episodes"
        title = ""
    yield from _time(there)


def _time(there: Statistics) -> Iterator[tuple[str, str]]:
    loader = there.loader
    for rate in sorted(there.headers):
        header = there.headers[rate]
        yield f"header {float(rate):g}/s", _rate(header)
        if loader is not None:
            stride = header.stride(loader)
            rows = "a row" if stride == 1 else f"{stride} rows"
            true = header.step_seconds
            yield (
                "  loader",
                f"{header.sampled:,} of {header.episodes:,} episodes have {loader.frames} frames at"
                f" {loader.fps:g}/s; a step is {rows}, truly "
                + (f"{true * stride:.3g} s" if true else UNKNOWN)
                + f" rather than {1 / loader.fps:.3g} s",
            )


def _rate(header: Header) -> str:
    true = header.step_seconds
    return f"truly {1 / true:.3g} rows/s" if true else f"true rows/s {UNKNOWN}"


def _outcome(outcomes: Outcomes) -> str:
    return f"{outcomes.successes:,} of {outcomes.episodes:,}"


def _spread(histogram: Histogram, unit: str, what: str) -> str:
    if not histogram.count:
        return f"{what} {UNKNOWN}"
    low, middle, high = (histogram.quantile(share) for share in (0.05, 0.5, 0.95))
    return f"{what} {middle:.3g} {unit} ({low:.3g} to {high:.3g})".replace("  ", " ")
