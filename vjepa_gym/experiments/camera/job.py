"""`vjepa-gym evaluate` with a sweep of the camera."""

from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from vjepa_gym.experiments.camera.report import show_sweep, write_sweep
from vjepa_gym.experiments.camera.sweep import parts, run_sweep
from vjepa_gym.experiments.config import ExperimentConfig
from vjepa_gym.experiments.factory import Factory
from vjepa_gym.experiments.jobs.evaluate import EvaluateConfig
from vjepa_gym.experiments.progress import progress


def sweep_camera(
    experiment: ExperimentConfig, job: EvaluateConfig, folder: Path, console: Console
) -> None:
    """Carry the camera round, showing how far it is, and leave a report in `folder`."""
    with progress("camera", parts(job), "parts") as report:
        sweep = run_sweep(
            job,
            env=experiment.env,
            agent=experiment.agent,
            factory=Factory(experiment.world_model),
            configuration=asdict(experiment),
            on_part=lambda done, now: report(done, {"now": now}),
        )
    page = write_sweep(sweep, folder)
    show_sweep(console, sweep)
    console.print(f"Page  {page.resolve()}")
