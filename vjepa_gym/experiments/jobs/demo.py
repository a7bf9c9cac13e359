"""The shipped model reaching for goal images: a table, videos and a page, within two minutes."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from vjepa_gym.agents.cem import CEM, CEMConfig, fast
from vjepa_gym.agents.energies import ENERGIES
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.envs import REACH
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.jobs.evaluate import (
    EvaluateConfig,
    OnEpisode,
    make_controls,
    make_envs,
    model_card,
    run_evaluate,
)
from vjepa_gym.experiments.results import Evaluation
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.world_models.base import WorldModel
from vjepa_gym.world_models.vjepa2_ac import Persistence, load_world_model


def ten_episodes() -> EvaluateConfig:
    """Return an evaluation that takes a minute or two on two cores."""
    return EvaluateConfig(episodes=10, num_envs=2)


@dataclass(kw_only=True)
class DemoConfig:
    """What the demo shows."""

    world_model: str = "tiny"
    """Name of a shipped model, or a folder that `train` left."""
    planner: CEMConfig = field(default_factory=fast)
    """How actions are searched for; `job.planner=<name>` takes a preset."""
    energy: str = "l1"
    """How an imagined view is compared with the goal."""
    evaluation: EvaluateConfig = field(default_factory=ten_episodes)
    """How much is measured."""
    seed: int = 0
    """Of the random actions that the search draws."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""

    def __post_init__(self) -> None:
        if self.energy not in ENERGIES:
            raise UnknownNameError("energy", self.energy, ENERGIES)


def run_demo(config: DemoConfig, folder: Path, on_episode: OnEpisode | None = None) -> Evaluation:
    """Let the shipped model reach, beside its controls, and write the report to `folder`.

    Raises:
        CheckpointError: The model cannot be read.
        UnknownNameError: There is no such model, device or control.
    """
    device = choose_device(config.device)
    world_model = load_world_model(config.world_model, device)

    def planning(model: WorldModel) -> PlanningAgent:
        planner = CEM(config.planner, seed=config.seed, device=device)
        return PlanningAgent(model, planner, ENERGIES[config.energy](), device=device)

    controls = make_controls(
        config.evaluation.controls,
        blind=lambda: planning(Persistence(world_model)),
        seed=config.seed,
    )
    envs = make_envs(REACH, config.evaluation.num_envs, processes=config.evaluation.processes)
    try:
        return run_evaluate(
            config.evaluation,
            envs=envs,
            agents={"planning": planning(world_model), **controls},
            folder=folder,
            title=f"{REACH}: {config.world_model} plans from goal images",
            facts=model_card(world_model, config.world_model),
            configuration=asdict(config),
            on_episode=on_episode,
        )
    finally:
        envs.close()
