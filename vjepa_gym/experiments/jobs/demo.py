"""The shipped model doing what it is shown: a table, videos and a page, within minutes."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vjepa_gym.agents.cem import fast
from vjepa_gym.agents.energies import ENERGIES
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.collect.config import LABS
from vjepa_gym.experiments.compare.cells import Cell, check_task, file_name
from vjepa_gym.experiments.factory import Factory, environments
from vjepa_gym.experiments.gate_lines import gate_lines
from vjepa_gym.experiments.jobs.evaluate import EvaluateConfig, OnEpisode, run_evaluate
from vjepa_gym.experiments.page import write_index
from vjepa_gym.experiments.results import Evaluation
from vjepa_gym.experiments.settings import EnvConfig, PlanningConfig, WorldModelConfig
from vjepa_gym.world_models.gates import Gates

AGENT = "planning"
"""What tables call the agent that is shown."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the demo found.

    Attributes:
        model: The name or the folder of the model.
        evaluations: What was measured, in the order in which it was shown.
        gates: What the model passes and does not pass; None if nobody measured it.
    """

    model: str
    evaluations: Mapping[Cell, Evaluation]
    gates: Gates | None


def few_episodes() -> EvaluateConfig:
    """Return an evaluation of six cells that takes less than three minutes on two cores."""
    return EvaluateConfig(episodes=4, num_envs=4, controls=["persistence", "random"])


@dataclass(kw_only=True)
class DemoConfig:
    """What the demo shows."""

    tasks: list[str] = field(default_factory=lambda: ["reach", "grasp_cup", "pick_place_cup"])
    """What is done one after another, by the names that `env=` has or by registered names."""
    labs: list[str] = field(default_factory=lambda: list(LABS))
    """Where each of them is done: `train`, where data are made, and `test`, which no model saw."""
    controlled: list[str] = field(default_factory=lambda: ["reach"])
    """The tasks beside which the controls of `evaluation` are run. Luck may lead an arm to a place;
    it grips nothing, so that controls say nothing of the others."""
    world_model: str = "tiny"
    """Name of a shipped model, or a folder that `train` left."""
    planner: Any = field(default_factory=fast)
    """How actions are searched for; `job.planner=<name>` takes a preset."""
    energy: str = "l1"
    """How an imagined view is compared with the goal."""
    evaluation: EvaluateConfig = field(default_factory=few_episodes)
    """How much is measured of each task in each lab."""
    seed: int = 0
    """Of the random actions that the search draws."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""

    def __post_init__(self) -> None:
        for name in ("tasks", "labs"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise ValueError(f"{name} must be different ones, at least one; got {list(given)}")
        for name in self.tasks:
            check_task(name)
        for name in self.labs:
            if name not in LABS:
                raise UnknownNameError("lab", name, LABS)
        if self.energy not in ENERGIES:
            raise UnknownNameError("energy", self.energy, ENERGIES)
        _agent(self)

    def cells(self) -> list[Cell]:
        """Return what is shown, in order."""
        return [Cell(task, lab) for task in self.tasks for lab in self.labs]


def run_demo(config: DemoConfig, folder: Path, on_episode: OnEpisode | None = None) -> Shown:
    """Let the shipped model do some tasks, beside its controls, and write reports to `folder`.

    The report of each cell is in a folder of its name, and `index.html` leads to all of them.

    Raises:
        CheckpointError: The model cannot be read.
        UnknownNameError: There is no such model, device or control.
    """
    factory = _factory(config)
    evaluations = {
        cell: _evaluate(config, cell, factory, folder, on_episode) for cell in config.cells()
    }
    shown = Shown(model=config.world_model, evaluations=evaluations, gates=factory.model.gates)
    reports = {folder_name(cell): evaluation for cell, evaluation in evaluations.items()}
    write_index(folder / "index.html", reports, gate_lines(shown.model, shown.gates))
    return shown


def count_episodes(config: DemoConfig) -> int:
    """Return how many episodes there are in all, those of controls among them."""
    factory, agent = _factory(config), _agent(config)
    agents = [
        1 + len(factory.control_names(_controls(config, cell), agent)) for cell in config.cells()
    ]
    return config.evaluation.episodes * sum(agents)


def _evaluate(
    config: DemoConfig, cell: Cell, factory: Factory, folder: Path, on_episode: OnEpisode | None
) -> Evaluation:
    agent, evaluation = _agent(config), config.evaluation
    where = cell.env(EnvConfig(), {})
    envs = environments(where, evaluation.num_envs, processes=evaluation.processes)
    with closing(envs):
        controls = factory.controls(_controls(config, cell), agent, config.seed, envs)
        return run_evaluate(
            evaluation,
            envs=envs,
            agents={AGENT: factory.agent(agent, envs), **controls},
            folder=folder / folder_name(cell),
            title=f"{where.id}, lab {cell.lab}: {config.world_model} plans from goal images",
            facts=factory.facts(agent),
            configuration=asdict(config),
            on_episode=on_episode,
            world_model=factory.model,
        )


def folder_name(cell: Cell) -> str:
    """Return what the folder of a cell's report is called."""
    return file_name(f"{cell.task}_{cell.lab}")


def _controls(config: DemoConfig, cell: Cell) -> list[str]:
    return config.evaluation.controls if cell.task in config.controlled else []


def _agent(config: DemoConfig) -> PlanningConfig:
    return PlanningConfig(planner=config.planner, energy=config.energy, seed=config.seed)


def _factory(config: DemoConfig) -> Factory:
    return Factory(WorldModelConfig(source=config.world_model, device=config.device))
