"""`vjepa-gym compare`: who takes part, how far it is, and the table."""

from importlib.metadata import version
from pathlib import Path

from rich.console import Console

import vjepa_gym
from vjepa_gym.experiments.compare.cells import Cell
from vjepa_gym.experiments.compare.contenders import find_contenders
from vjepa_gym.experiments.compare.outcome import Outcome
from vjepa_gym.experiments.compare.report import show_comparison
from vjepa_gym.experiments.config import ExperimentConfig
from vjepa_gym.experiments.factory import Factory, environments
from vjepa_gym.experiments.jobs.compare import (
    DEFAULT_AGENTS,
    CompareConfig,
    finished,
    run_compare,
)
from vjepa_gym.experiments.progress import progress
from vjepa_gym.experiments.run_folder import commit_of
from vjepa_gym.experiments.settings import EnvConfig, VariationConfig
from vjepa_gym.experiments.usage import UsageError
from vjepa_gym.experiments.writable import check_writable

OF_THE_JOB = {"id": "job.tasks", "lab": "job.labs", "variation": "job.variation"}
"""What of an environment the job itself says."""


def compare(experiment: ExperimentConfig, job: CompareConfig, console: Console) -> None:
    """Measure what is missing, showing how far it is, and show the table.

    Raises:
        UsageError: The words ask for what cannot be; says what can.
        EvaluationError: What is in the folder was measured with other settings, or is damaged.
    """
    folder = Path(job.folder)
    _check_env(experiment.env)
    check_writable("job.folder", folder)
    usual = job.agents == list(DEFAULT_AGENTS)
    factory = Factory(experiment.world_model)
    contenders = find_contenders(job.agents, factory, experiment.agent, usual=usual)
    names = [one.name for one in contenders]
    total = len(job.cells()) * sum(len(job.seeds(name)) for name in names)
    with progress("compare", total, "episodes", each_minute=True) as report:
        tally = _Tally(job, names)
        report(tally.done, {})

        def on_outcome(cell: Cell, agent: str, outcome: Outcome) -> None:
            said = tally.add(cell, agent, outcome)
            report(tally.done, {f"{cell.lab} {cell.task} {agent}": said})

        comparison = run_compare(
            job,
            base=experiment.env,
            contenders=contenders,
            open_envs=lambda env, count: environments(env, count, processes=job.processes),
            code={"vjepa-gym": version("vjepa-gym"), **_commit()},
            on_outcome=on_outcome,
        )
    show_comparison(console, comparison, folder)


class _Tally:
    """How many episodes are over, and how many of each agent in each cell succeeded."""

    def __init__(self, job: CompareConfig, agents: list[str]) -> None:
        self.done = 0
        self._successes: dict[tuple[Cell, str], list[bool]] = {}
        for cell, agent, outcome in finished(job, agents):
            self.add(cell, agent, outcome)

    def add(self, cell: Cell, agent: str, outcome: Outcome) -> str:
        mine = self._successes.setdefault((cell, agent), [])
        mine.append(outcome.success)
        self.done += 1
        return f"{sum(mine)} of {len(mine)}"


def _commit() -> dict[str, str | bool | None]:
    return commit_of(Path(vjepa_gym.__file__).parents[1])


def _check_env(env: EnvConfig) -> None:
    """Raise if an environment was chosen, which is for the job to say."""
    usual = EnvConfig(variation=VariationConfig())
    for name, key in OF_THE_JOB.items():
        if getattr(env, name) != getattr(usual, name):
            raise UsageError(
                f"env.{name} is not for compare: say {key}=... instead. What all cells have in "
                "common is env.image_size, env.gripper, env.controller and env.options."
            )
