"""The page that an evaluation leaves: one file, nothing fetched, everything escaped."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from vjepa_gym.experiments.pictures import distance_plot
from vjepa_gym.experiments.results import Evaluation, Summary
from vjepa_gym.experiments.rollout import EpisodeRecord

OVERVIEW = "overview.mp4"
"""The video of several episodes, beside the page of a report."""
CONTROLS = {
    "hold_still": "does nothing",
    "random": "moves anywhere",
    "expert": "does what the environment's own expert would, which knows the state",
    "persistence": "plans likewise, but imagines that nothing changes",
}
"""What the controls of a table do, in words."""


def write_page(
    path: Path, evaluation: Evaluation, summaries: Sequence[Summary], videos: Mapping[int, Path]
) -> None:
    """Write the page.

    Args:
        path: Where to.
        evaluation: What was measured.
        summaries: The rows of its table, that of the agent under test first.
        videos: Of the first agent's episodes, by seed; they are put into the page itself.
    """
    counted = {name: evaluation.counted(name) for name in evaluation.records}
    template = files("vjepa_gym.experiments").joinpath("page.html").read_text(encoding="utf-8")
    shown = [record for record in counted[evaluation.agent] if record.seed in videos]
    page = Template(template).substitute(
        title=escape(evaluation.title),
        headline=_headline(summaries[0], evaluation),
        cards=_cards(summaries[0], evaluation),
        table=_table(summaries, evaluation),
        plot=distance_plot(counted, evaluation.thresholds),
        episodes="\n".join(_episode(record, videos[record.seed]) for record in shown),
        facts=_facts(_with_failures(evaluation)),
        configuration=escape(_outline(evaluation.configuration)),
    )
    path.write_text(page, encoding="utf-8")


def write_index(path: Path, evaluations: Mapping[str, Evaluation], gates: Sequence[str]) -> None:
    """Write a page that shows the videos of the reports in the folders beside it, and leads there.

    Args:
        path: Where to.
        evaluations: What was measured, by the folder of its report.
        gates: What the model passes and does not pass, in lines.
    """
    items = "\n".join(_item(path.parent, *cell) for cell in evaluations.items())
    template = files("vjepa_gym.experiments").joinpath("index.html").read_text(encoding="utf-8")
    page = Template(template).substitute(items=items, gates=escape("\n".join(gates)))
    path.write_text(page, encoding="utf-8")


def _item(folder: Path, name: str, evaluation: Evaluation) -> str:
    first, *controls = evaluation.summaries()
    video = f"{name}/{OVERVIEW}"
    shown = f'<video src="{escape(video)}" autoplay loop muted playsinline controls></video>'
    beside = ", ".join(f"{escape(row.agent)} {row.successes} of {row.episodes}" for row in controls)
    return (
        f"<li>{shown if (folder / video).exists() else ''}"
        f'<a href="{escape(name)}/index.html">{escape(evaluation.title)}</a>'
        f"<p>{_headline(first, evaluation)}</p>{f'<p>{beside}</p>' if beside else ''}</li>"
    )


def _headline(row: Summary, evaluation: Evaluation) -> str:
    rejected = (
        f" {row.rejected} more began at their goal and were left out." if row.rejected else ""
    )
    if not row.known:
        return "A photograph is the goal: nobody can tell whether it was reached. Compare."
    unsolvable = sum(record.rejected for record in evaluation.records[evaluation.agent])
    if unsolvable:
        rejected += f" {unsolvable} starts that the expert could not solve were drawn again."
    return (
        f"<b>{escape(evaluation.agent)}</b> succeeded in <b>{row.successes} of {row.episodes}</b>"
        f" episodes.{rejected}"
    )


def _cards(row: Summary, evaluation: Evaluation) -> str:
    near = f"{evaluation.near_distance * 100:g}"
    if not row.known:
        return f"<div><b>{row.seconds:.2f} s</b><span>to decide an action</span></div>"
    figures = [
        (f"{row.rate:.0%}", "success at the end"),
        (f"{row.low:.0%} to {row.high:.0%}", "95 % interval (Wilson)"),
        (f"{row.near:.0%}", f"within {near} cm at the end"),
        (f"{row.median_distance * 100:.1f} cm", "median distance at the end"),
        (f"{row.seconds:.2f} s", "to decide an action"),
    ]
    return "\n".join(f"<div><b>{value}</b><span>{label}</span></div>" for value, label in figures)


def _table(summaries: Sequence[Summary], evaluation: Evaluation) -> str:
    near = f"within {evaluation.near_distance * 100:g} cm"
    names = ["agent", "success", "95 % interval", "", "at some step", near, "median"]
    head = "".join(f"<th>{name}</th>" for name in [*names, "s an action", "p"])
    return f"<tr>{head}</tr>\n" + "\n".join(_row(row) for row in summaries)


def _row(row: Summary) -> str:
    hint = f"<small>{escape(CONTROLS[row.agent])}</small>" if row.agent in CONTROLS else ""
    bar = (
        f'<div class="bar"><i style="left:{row.low:.1%};width:{row.high - row.low:.1%}"></i>'
        f'<u style="left:{row.rate:.1%}"></u></div>'
    )
    cells = [
        escape(row.agent) + hint,
        f"{row.successes} of {row.episodes}",
        f"{row.low:.0%} to {row.high:.0%}",
        bar,
        f"{row.once:.0%}",
        f"{row.near:.0%}",
        f"{row.median_distance * 100:.1f} cm",
        f"{row.seconds:.3f}",
        "" if row.p_value is None else f"{row.p_value:.2g}",
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _episode(record: EpisodeRecord, video: Path) -> str:
    data = base64.b64encode(video.read_bytes()).decode()
    ending, word = ("good", "success") if record.success else ("bad", "failure")
    start, end = record.distances[0] * 100, record.distances[-1] * 100
    return (
        f'<figure><video src="data:video/mp4;base64,{data}" autoplay loop muted playsinline'
        f" controls></video><figcaption>seed {record.seed}: {start:.1f} to {end:.1f} cm"
        f'<span class="{ending}">{word}</span></figcaption></figure>'
    )


def _with_failures(evaluation: Evaluation) -> dict[str, Any]:
    """Return the facts, and why episodes failed if that was looked into."""
    if not evaluation.causes:
        return dict(evaluation.facts)
    seeds = {f"seed {seed}": cause.value for seed, cause in evaluation.causes.items()}
    return {"failures": evaluation.failures, **seeds, **evaluation.facts}


def _facts(facts: Mapping[str, Any]) -> str:
    rows = [f"<tr><th>{escape(_words(n))}</th><td>{_value(v)}</td></tr>" for n, v in facts.items()]
    return "\n".join(rows) or "<tr><td>Nothing is known about the model.</td></tr>"


def _value(value: Any) -> str:
    match value:
        case Mapping():
            return f"<table>{_facts(value)}</table>"
        case list() | tuple():
            return ", ".join(_value(item) for item in value)
        case float():
            return f"{value:.4g}"
    return escape(str(value))


def _outline(value: Any, depth: int = 0) -> str:
    """Return nested settings as indented lines."""
    if not isinstance(value, Mapping):
        return f" {value}\n"
    lines = [f"{'  ' * depth}{name}:{_outline(item, depth + 1)}" for name, item in value.items()]
    return ("\n" if depth else "") + "".join(lines)


def _words(name: str) -> str:
    return str(name).replace("_", " ")
