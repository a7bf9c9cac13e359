"""From what is configured to what does it: one `match` a kind."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium as gym

from vjepa_gym.agents.cem import CEM
from vjepa_gym.agents.controls import Expert, HoldStill, RandomAgent
from vjepa_gym.agents.energies import ENERGIES
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.errors import PlanningError
from vjepa_gym.experiments.jobs.evaluate import make_controls, make_envs, model_card
from vjepa_gym.experiments.settings import (
    EnvConfig,
    ExpertConfig,
    HoldStillConfig,
    PlanningConfig,
    RandomConfig,
    WorldModelConfig,
)
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.types import Agent
from vjepa_gym.world_models.base import WorldModel
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, Persistence, load_world_model


@dataclass(frozen=True)
class Factory:
    """Makes agents; a world model is loaded when the first of them needs it, and shared.

    Attributes:
        config: The world model.
    """

    config: WorldModelConfig

    @cached_property
    def model(self) -> VJEPA2AC:
        """The model on disk."""
        device = choose_device(self.config.device)
        return load_world_model(self.config.source, device, self.config.precision)

    def world_model(self, envs: gym.vector.VectorEnv) -> WorldModel:
        """Return what is configured to be imagined with.

        Raises:
            PlanningError: The oracle is wanted, and the environments are in other processes.
        """
        match self.config.dynamics:
            case "persistence":
                return Persistence(self.model)
            case "oracle":
                return _oracle(envs, self.model)
        return self.model

    def agent(self, config: Any, envs: gym.vector.VectorEnv) -> Agent:
        """Return the agent of one of the configurations of group `agent`.

        Args:
            config: Of the agent.
            envs: What it will drive; only the oracle looks into it.
        """
        match config:
            case PlanningConfig():
                return self._planning(config, self.world_model(envs))
            case RandomConfig():
                return RandomAgent(config.seed)
            case HoldStillConfig():
                return HoldStill()
            case ExpertConfig():
                return Expert()
        raise TypeError(f"no agent is made from a {type(config).__name__}")

    def controls(self, names: list[str], config: Any, seed: int) -> dict[str, Agent]:
        """Return the controls of an agent, by name; `persistence` only if it plans.

        Raises:
            UnknownNameError: There is no such control.
        """
        if not isinstance(config, PlanningConfig):
            return make_controls([name for name in names if name != "persistence"], seed=seed)
        return make_controls(
            names, blind=lambda: self._planning(config, Persistence(self.model)), seed=seed
        )

    def facts(self, config: Any) -> dict[str, Any]:
        """Return what is known about the world model, if the agent has one."""
        if not isinstance(config, PlanningConfig):
            return {}
        return model_card(self.model, self.config.source)

    def _planning(self, config: PlanningConfig, world_model: WorldModel) -> PlanningAgent:
        device = self.model.device
        return PlanningAgent(
            world_model,
            CEM(config.planner, seed=config.seed, device=device),
            ENERGIES[config.energy](summed=config.summed),
            max_context=config.max_context,
            device=device,
        )


def _oracle(envs: gym.vector.VectorEnv, encoder: WorldModel) -> WorldModel:
    from vjepa_gym.envs.oracle import OracleDynamics
    from vjepa_gym.envs.tabletop import TabletopEnv

    inside = [env.unwrapped for env in getattr(envs, "envs", [])]
    ours = [env for env in inside if isinstance(env, TabletopEnv)]
    if len(ours) != envs.num_envs:
        raise PlanningError(
            "The oracle looks into simulated environments of this process: use one of ours, with "
            "job.processes=false."
        )
    return OracleDynamics(ours, encoder)


def environments(config: EnvConfig, count: int, *, processes: bool = False) -> gym.vector.VectorEnv:
    """Return `count` environments that are stepped together, and say what their expert would do."""
    return make_envs(
        config.id, count, processes=processes, expert_actions=True, **config.keywords()
    )
