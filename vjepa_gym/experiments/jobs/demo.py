"""The shipped model doing what it is shown: a table, videos and a page, within minutes."""

from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vjepa_gym.agents.cem import fast
from vjepa_gym.agents.energies import ENERGIES
from vjepa_gym.envs import check_id, full_id
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.factory import Factory, environments
from vjepa_gym.experiments.jobs.evaluate import EvaluateConfig, OnEpisode, run_evaluate
from vjepa_gym.experiments.page import write_index
from vjepa_gym.experiments.results import Evaluation
from vjepa_gym.experiments.settings import EnvConfig, PlanningConfig, WorldModelConfig


def ten_episodes() -> EvaluateConfig:
    """Return an evaluation that takes a minute or two on two cores."""
    return EvaluateConfig(episodes=10, num_envs=2)


@dataclass(kw_only=True)
class DemoConfig:
    """What the demo shows."""

    tasks: list[str] = field(default_factory=lambda: ["reach", "reach_with_cup"])
    """What is done one after another, by the names that `env=` has or by registered names."""
    world_model: str = "tiny"
    """Name of a shipped model, or a folder that `train` left."""
    planner: Any = field(default_factory=fast)
    """How actions are searched for; `job.planner=<name>` takes a preset."""
    energy: str = "l1"
    """How an imagined view is compared with the goal."""
    evaluation: EvaluateConfig = field(default_factory=ten_episodes)
    """How much is measured of each task."""
    seed: int = 0
    """Of the random actions that the search draws."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""

    def __post_init__(self) -> None:
        for name in self.tasks:
            check_id(full_id(name))
        if self.energy not in ENERGIES:
            raise UnknownNameError("energy", self.energy, ENERGIES)
        _agent(self)


def run_demo(
    config: DemoConfig, folder: Path, on_episode: OnEpisode | None = None
) -> dict[str, Evaluation]:
    """Let the shipped model do some tasks, beside its controls, and write reports to `folder`.

    Returns:
        What was measured of each task. Its report is in a folder of the task's name, and
        `index.html` leads to all of them.

    Raises:
        CheckpointError: The model cannot be read.
        UnknownNameError: There is no such model, device or control.
    """
    agent, factory = _agent(config), _factory(config)
    evaluations: dict[str, Evaluation] = {}
    for task in config.tasks:
        envs = environments(
            EnvConfig(id=full_id(task)),
            config.evaluation.num_envs,
            processes=config.evaluation.processes,
        )
        with closing(envs):
            controls = factory.controls(config.evaluation.controls, agent, config.seed, envs)
            evaluations[task] = run_evaluate(
                config.evaluation,
                envs=envs,
                agents={"planning": factory.agent(agent, envs), **controls},
                folder=folder / folder_name(task),
                title=f"{full_id(task)}: {config.world_model} plans from goal images",
                facts=factory.facts(agent),
                configuration=asdict(config),
                on_episode=on_episode,
            )
    write_index(
        folder / "index.html",
        {folder_name(task): evaluation for task, evaluation in evaluations.items()},
    )
    return evaluations


def count_rows(config: DemoConfig) -> int:
    """Return how many agents there are to each task: the one that is shown, and its controls."""
    return 1 + len(_factory(config).control_names(config.evaluation.controls, _agent(config)))


def folder_name(task: str) -> str:
    """Return what the folder of a task's report is called."""
    return task.replace("/", "_")


def _agent(config: DemoConfig) -> PlanningConfig:
    return PlanningConfig(planner=config.planner, energy=config.energy, seed=config.seed)


def _factory(config: DemoConfig) -> Factory:
    return Factory(WorldModelConfig(source=config.world_model, device=config.device))
