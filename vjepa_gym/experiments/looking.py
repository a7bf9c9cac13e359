"""The jobs that show what a model is like, each with its progress and its results shown."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from vjepa_gym.experiments.config import ExperimentConfig
from vjepa_gym.experiments.factory import Factory, environments
from vjepa_gym.experiments.gate_report import report_gates
from vjepa_gym.experiments.jobs.features import FeaturesConfig, run_features
from vjepa_gym.experiments.jobs.gates import GatesConfig, run_gates
from vjepa_gym.experiments.jobs.imagine import ImagineConfig, run_imagine
from vjepa_gym.experiments.jobs.landscape import LandscapeConfig, run_landscape
from vjepa_gym.experiments.jobs.probe import ProbeConfig, run_probe
from vjepa_gym.experiments.progress import RESULTS, progress
from vjepa_gym.experiments.settings import WorldModelConfig
from vjepa_gym.world_models.landscape_figures import mean_figures

STANDS_STILL = 0.01
"""Latents that differ by no more than this, on average, are taken to be of the same view."""


def look_into(experiment: ExperimentConfig, folder: Path) -> None:
    """Do one of the jobs that show what a model is like."""
    match experiment.job:
        case ProbeConfig() as job:
            probe(job, folder)
        case FeaturesConfig() as job:
            features(job, folder)
        case LandscapeConfig() as job:
            landscape(experiment, job, folder)
        case ImagineConfig() as job:
            imagine(experiment, job, folder)
        case GatesConfig() as job:
            gates(job, folder)


def probe(job: ProbeConfig, folder: Path) -> None:
    """Read hand and objects from encoders, showing how far it is."""
    with progress("probe", job.readings, "readings") as report:
        readings = run_probe(job, lambda done, what: report(done, {"now": what}))
    table = Table("model", "target", "probe", "error", "untrained", "chance", "ratio")
    for one in readings:
        errors = [f"{x:.1f} mm" for x in (one.error_mm, one.untrained_mm, one.chance_mm)]
        table.add_row(one.model, one.target, one.probe, *errors, f"{one.ratio:.2f}")
    RESULTS.print(table)
    content = [{**asdict(one), "ratio": one.ratio} for one in readings]
    (folder / "probes.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def gates(job: GatesConfig, folder: Path) -> None:
    """Judge a world model, showing how far it is, and keep what was measured."""
    with progress("gates", job.parts, "parts") as report:
        found = run_gates(job, lambda done, now: report(done, {"now": now} if now else {}))
    report_gates(RESULTS, job, found, folder)


def features(job: FeaturesConfig, folder: Path) -> None:
    """Show what encoders make of a video, and say how much of it the colours show."""
    table = Table("model", "patches", "explained by red, green, blue", "deviation", "rank")
    for one in run_features(job, folder):
        parts = "  ".join(f"{part:.1%}" for part in one.explained)
        figures = [f"{one.deviation:.3f}", f"{one.rank:.1f}"]
        table.add_row(one.model, f"{one.patches} x {one.patches}", parts, *figures)
    RESULTS.print(table)
    RESULTS.print(f"The video, the stills and the figures are in {folder}.")


def landscape(experiment: ExperimentConfig, job: LandscapeConfig, folder: Path) -> None:
    """Draw the energy around true actions, and say what it looks like there."""
    with progress("landscape", job.count, "landscapes") as report:
        drawn = run_landscape(
            job, experiment.env, experiment.world_model, folder, lambda done: report(done, {})
        )
    table = Table("figure", "mean", "least", "most")
    for name, mean in asdict(mean_figures([one.figures for one in drawn])).items():
        values = [getattr(one.figures, name) for one in drawn]
        numbers = (mean, min(values), max(values))
        table.add_row(name.replace("_", " "), *(f"{number:.3g}" for number in numbers))
    RESULTS.print(table)
    RESULTS.print(f"The pictures, the energies and the figures are in {folder}.")


def imagine(experiment: ExperimentConfig, job: ImagineConfig, folder: Path) -> None:
    """Show what a world model imagines, and say how far off it is after each step."""
    agent = None
    if job.plan:
        model = WorldModelConfig(source=job.model, device=job.device)
        with closing(environments(experiment.env, 1)) as envs:
            agent = Factory(model).agent(experiment.agent, envs)
    found = run_imagine(job, folder, experiment.env, agent)
    table = Table("step", "error", "error of no change", "ratio")
    figures = zip(found["error"], found["unchanged"], found["error_over_unchanged"], strict=True)
    for step, (error, unchanged, ratio) in enumerate(figures, start=1):
        # Where the arm stands still, a ratio says nothing.
        told = f"{ratio:.2f}" if unchanged > STANDS_STILL else "the arm stands still"
        table.add_row(str(step), f"{error:.3f}", f"{unchanged:.4f}", told)
    RESULTS.print(table)
    RESULTS.print(f"The videos, the stills and the figures are in {folder}.")
