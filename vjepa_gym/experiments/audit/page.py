"""The page that an audit leaves: one file, nothing fetched, everything escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from vjepa_gym.datasets.droid.defects import ClipNeeds
from vjepa_gym.experiments.audit.examples import Example
from vjepa_gym.experiments.audit.findings import MEANINGS, Finding
from vjepa_gym.experiments.audit.pictures import data_url, places_plot, steps_plot
from vjepa_gym.experiments.audit.result import Audit
from vjepa_gym.experiments.audit.statistics import Header, Outcomes, Statistics, most_common, said
from vjepa_gym.experiments.progress import duration, size
from vjepa_gym.experiments.statistics import wilson_interval

MOST_GROUPS = 20
"""So many tasks or policies are told apart."""
MOST_FINDINGS = 50
"""So many findings of a kind are listed; `audit.json` has them all."""


def write_page(path: Path, audit: Audit) -> None:
    """Write the page."""
    source = files("vjepa_gym.experiments.audit").joinpath("page.html")
    there = audit.statistics
    page = Template(source.read_text(encoding="utf-8")).substitute(
        title=escape(f"Audit of {audit.root}"),
        headline=_headline(audit),
        cards=_cards(audit),
        findings=_findings(audit),
        steps=steps_plot(there),
        places=places_plot(there.places),
        tasks=_groups("task", there.tasks),
        policies=_groups("policy", there.policies),
        views=_views(there),
        headers=_headers(there),
        examples="\n".join(map(_example, audit.examples)) or "<p>There is none to show.</p>",
    )
    path.write_text(page, encoding="utf-8")


def _headline(audit: Audit) -> str:
    checked = "files and checksums" if audit.settings.get("checksums") else "files"
    verdict = audit.verdict()
    return (
        f"<b>{escape(verdict[0].upper() + verdict[1:])}.</b> The {checked} were checked in "
        f"{duration(audit.seconds)}; what follows is about the {audit.statistics.episodes:,} "
        "episodes that can be read."
    )


def _cards(audit: Audit) -> str:
    there, outcome = audit.statistics, audit.statistics.outcome
    whole = audit.episodes - audit.broken
    figures = [
        (f"{whole:,} of {audit.episodes:,}", "episodes without an error"),
        (f"{there.rows:,}", f"rows in the {there.episodes:,} episodes that can be read"),
        (duration(there.seconds), "of true time"),
        (f"{outcome.successes:,} of {outcome.episodes:,}", "that can be read succeeded"),
        (size(there.size), "on disk"),
        (size(there.size // max(1, there.episodes)), "an episode"),
    ]
    return "\n".join(f"<div><b>{value}</b><span>{label}</span></div>" for value, label in figures)


def _findings(audit: Audit) -> str:
    if not audit.findings:
        return "<p style='margin:0'>Nothing.</p>"
    rows = [
        [
            f"{escape(kind)}<small>{escape(MEANINGS.get(kind, ''))}</small>",
            f'<span class="{found[0].severity}">{found[0].severity}</span>',
            f"{len({one.path for one in found}):,}",
            _common(audit, found) if audit.concerns_most(kind) else _listed(found),
        ]
        for kind, found in audit.by_kind().items()
    ]
    told = "".join(f"<p class='advice'>{escape(sentence)}</p>" for sentence in audit.advice)
    return _table(["kind", "severity", "places", "where"], rows) + told


def _common(audit: Audit, found: Sequence[Finding]) -> str:
    places = len({one.path for one in found})
    return f"{places:,} of {audit.episodes:,} episodes; each is in audit.json"


def _listed(found: Sequence[Finding]) -> str:
    first, *others = [
        f"<code>{escape(one.path)}</code><small>{escape(one.detail)}</small>"
        for one in found[:MOST_FINDINGS]
    ]
    if not others:
        return first
    items = "".join(f"<li>{other}</li>" for other in others)
    if len(found) > MOST_FINDINGS:
        items += f"<li>and {len(found) - MOST_FINDINGS:,} more, see audit.json</li>"
    return f"<details><summary>{first}</summary><ul>{items}</ul></details>"


def _groups(kind: str, groups: Mapping[str, Outcomes]) -> str:
    rows = []
    for name, outcomes in most_common(groups, MOST_GROUPS).items():
        low, high = wilson_interval(outcomes.successes, outcomes.episodes)
        rate = outcomes.successes / outcomes.episodes
        bar = (
            f'<div class="bar"><i style="left:{low:.1%};width:{high - low:.1%}"></i>'
            f'<u style="left:{rate:.1%}"></u></div>'
        )
        told = f"{outcomes.successes:,} of {outcomes.episodes:,}"
        rows.append([escape(name), told, bar])
    return _table([kind, "success", "95 % interval (Wilson)"], rows, "narrow")


def _views(there: Statistics) -> str:
    rows = [
        [escape(name), f"{width} x {height}", said(rate), f"{count:,}"]
        for (name, width, height, rate), count in sorted(there.cameras.items())
    ]
    return _table(["camera", "size [px]", "header", "episodes"], rows, "narrow")


def _headers(there: Statistics) -> str:
    head = ["header [frames/s]", "episodes", "truly [rows/s]"]
    if there.loader is not None:
        head += ["every", "a step says [s]", "truly [s]", "episodes with a clip"]
    rows = [_header(there.headers[rate], there.loader) for rate in sorted(there.headers)]
    loader = there.loader
    said = "" if loader is None else f"A loader that takes {loader.frames} frames, {loader.fps:g}"
    note = f"<p>{said} a second by the header.</p>" if said else ""
    return note + _table(head, rows, "narrow")


def _header(header: Header, loader: ClipNeeds | None) -> list[str]:
    true = header.step_seconds
    cells = [
        f"{float(header.rate):g}",
        f"{header.episodes:,}",
        f"{1 / true:.3g}" if true else "not known",
    ]
    if loader is None:
        return cells
    stride = header.stride(loader)
    return cells + [
        "row" if stride == 1 else f"{stride} rows",
        f"{1 / loader.fps:.3g}",
        f"{true * stride:.3g}" if true else "not known",
        f"{header.sampled:,} of {header.episodes:,}",
    ]


def _example(example: Example) -> str:
    pictures = "".join(
        f'<img src="{data_url(strip)}" alt="{escape(name)}" title="{escape(name)}">'
        for name, strip in example.strips.items()
    )
    style, word = ("good", "success") if example.candidate.success else ("bad", "failure")
    return (
        f"<figure>{pictures}<figcaption><span>{escape(example.candidate.caption)}<br>"
        f"<code>{escape(example.name)}</code></span>"
        f'<span class="{style}">{word}</span></figcaption></figure>'
    )


def _table(head: Iterable[str], rows: Iterable[Sequence[str]], style: str = "") -> str:
    cells = "".join(f"<th>{name}</th>" for name in head)
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    if not lines:
        return "<p style='margin:0'>Nothing is known.</p>"
    return f'<table class="{style}"><tr>{cells}</tr>\n' + "\n".join(lines) + "</table>"
