"""From what is configured to what does it: one `match` a kind."""

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import gymnasium as gym

from vjepa_gym.agents.base import Energy
from vjepa_gym.agents.controls import Expert, HoldStill, RandomAgent
from vjepa_gym.agents.energies import ENERGIES, ActionCost, PoseDistance, Sum
from vjepa_gym.agents.hierarchy import TwoLevel
from vjepa_gym.agents.inverse import InverseAgent
from vjepa_gym.agents.planners import make_planner
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.agents.turned import TurnedWorldModel
from vjepa_gym.agents.turned_proposer import TurnedProposer
from vjepa_gym.errors import CheckpointError, EvaluationError, PlanningError
from vjepa_gym.experiments.causes import Cause, exhaustive, find_causes, foresight
from vjepa_gym.experiments.choosing import choose_controls
from vjepa_gym.experiments.jobs.evaluate import (
    Explain,
    make_controls,
    make_envs,
    model_card,
)
from vjepa_gym.experiments.settings import (
    EnvConfig,
    ExpertConfig,
    HoldStillConfig,
    InverseConfig,
    PlanningConfig,
    RandomConfig,
    WorldModelConfig,
)
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.types import Agent
from vjepa_gym.world_models.base import WorldModel
from vjepa_gym.world_models.heads.files import advice, folder_of, has_head, load_head
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, Persistence, load_world_model

logger = logging.getLogger(__name__)
PROPOSED, MOST_PROPOSED = 4, 16
"""Unless it is said, every fourth sample is proposed, and at most so many."""


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

    @cached_property
    def inverse(self) -> Any:
        """The model's inverse-dynamics head.

        Raises:
            CheckpointError: It has none; the message names the command that trains it.
        """
        return self._head("inverse")

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

        Raises:
            CheckpointError: It needs a head that the model has not.
        """
        match config:
            case PlanningConfig():
                return self._planning(self.settled(config), self.world_model(envs))
            case InverseConfig():
                return self._inverse(config)
            case RandomConfig():
                return RandomAgent(config.seed)
            case HoldStillConfig():
                return HoldStill()
            case ExpertConfig():
                return Expert()
        raise TypeError(f"no agent is made from a {type(config).__name__}")

    def controls(
        self, names: list[str], config: Any, seed: int, envs: gym.vector.VectorEnv | None = None
    ) -> dict[str, Agent]:
        """Return the controls of an agent, by name.

        Args:
            names: Which; see `control_names`.
            config: Of the agent.
            seed: Of random moves.
            envs: What they will drive; only the oracle looks into it.

        Raises:
            UnknownNameError: There is no such control.
            EvaluationError: One that was asked for makes no sense beside this agent.
        """
        others: dict[str, Callable[[], Agent]] = {"inverse": partial(self._inverse, config)}
        blind = None
        if isinstance(config, PlanningConfig):
            without = replace(config, proposals=0, prior=0.0)
            some = replace(config, proposals=_usual(config))
            others["no_proposals"] = partial(self._beside, without, envs)
            others["with_proposals"] = partial(self._beside, some, envs)
            blind = partial(self._blind, without)
        chosen = self.control_names(names, config)
        return make_controls(chosen, blind=blind, seed=seed, others=others)

    def settled(self, config: Any) -> Any:
        """Return the configuration of an agent with what it leaves to the model filled in."""
        if not isinstance(config, PlanningConfig) or config.proposals is not None:
            return config
        return replace(config, proposals=_usual(config) if self._has_head("inverse") else 0)

    def control_names(self, names: list[str], config: Any) -> list[str]:
        """Return which controls an agent has; see `choosing.choose_controls`."""
        return choose_controls(
            names,
            self.settled(config),
            lambda: "" if self._has_head("inverse") else self._missing("inverse"),
        )

    def explainer(
        self, config: Any, where: EnvConfig, options: dict[str, Any] | None = None
    ) -> Explain:
        """Return what says why episodes of an agent failed.

        Args:
            config: Of the agent.
            where: It failed.
            options: What resets were given.

        Raises:
            EvaluationError: The agent does not plan with learned dynamics.
        """
        if not isinstance(config, PlanningConfig) or self.config.dynamics != "learned":
            raise EvaluationError(
                "job.causes tells search, model and energy apart, which takes an agent that plans "
                "(agent=planning) with learned dynamics; set job.causes=0."
            )

        def explain(seeds: Sequence[int]) -> dict[int, Cause]:
            search, flat = exhaustive(config.planner), foresight(config.planner)
            thorough = replace(config, planner=search, proposals=0, prior=0.0)
            foreseeing = replace(
                config, planner=flat, proposals=0, prior=0.0, two_level=False, camera_turn=0.0
            )
            with closing(environments(where, 1)) as envs:
                return find_causes(
                    seeds,
                    envs,
                    thorough=self._planning(thorough, self.model),
                    foreseeing=self._planning(foreseeing, _oracle(envs, self.model)),
                    options=options,
                    on_cause=lambda seed, cause: logger.info("Seed %d: %s.", seed, cause.value),
                )

        return explain

    def facts(self, config: Any) -> dict[str, Any]:
        """Return what is known about the world model, if the agent has one."""
        if not isinstance(config, PlanningConfig | InverseConfig):
            return {}
        return model_card(self.model, self.config.source)

    def _beside(self, config: PlanningConfig, envs: gym.vector.VectorEnv | None) -> PlanningAgent:
        oracle = self.config.dynamics == "oracle"
        if oracle and envs is None:
            raise PlanningError("The controls of an agent that plans with the oracle need envs.")
        return self._planning(config, self.model if envs is None else self.world_model(envs))

    def _blind(self, config: PlanningConfig) -> PlanningAgent:
        return self._planning(config, Persistence(self.model))

    def _planning(self, config: PlanningConfig, world_model: WorldModel) -> PlanningAgent:
        device, upper = self.model.device, None
        if config.camera_turn:
            world_model = TurnedWorldModel(world_model, math.radians(config.camera_turn))
        if config.two_level:
            upper = TwoLevel(self._head("macro"), config.upper, seed=config.seed, device=device)
        head = self._proposer(config) if config.proposals or config.prior else None
        return PlanningAgent(
            world_model,
            make_planner(config.planner, seed=config.seed, device=device),
            energy_of(config),
            max_context=config.max_context,
            proposer=head,
            num_proposals=config.proposals or 0,
            prior=head,
            prior_weight=config.prior,
            switching=config.switching(),
            high_level=upper,
            seed=config.seed,
            device=device,
        )

    def _inverse(self, config: Any) -> InverseAgent:
        within = config.within if isinstance(config, InverseConfig) else InverseConfig().within
        proposer = self._proposer(config)
        return InverseAgent(self.model, proposer, within=within, device=self.model.device)

    def _proposer(self, config: Any) -> Any:
        turn = math.radians(getattr(config, "camera_turn", 0.0))
        return TurnedProposer(self.inverse, turn) if turn else self.inverse

    def _has_head(self, name: str) -> bool:
        folder = folder_of(self.config.source)
        return folder is not None and has_head(name, folder)

    def _head(self, name: str) -> Any:
        folder = folder_of(self.config.source)
        if folder is None or not has_head(name, folder):
            raise CheckpointError(self._missing(name))
        return load_head(name, folder, self.model, self.model.device)

    def _missing(self, name: str) -> str:
        return f"{self.config.source} has no {name} head; {advice(name, self.config.source)}."


def _usual(config: PlanningConfig) -> int:
    """Return how many samples are proposed unless it is said."""
    return min(MOST_PROPOSED, max(1, config.planner.num_samples // PROPOSED))


def energy_of(config: PlanningConfig) -> Energy:
    """Return the energy of an agent: that of latents, and what is added to it."""
    latents = ENERGIES[config.energy](summed=config.summed, token_floor=config.token_floor)
    terms: list[tuple[float, Energy]] = [(1.0, latents)]
    if config.pose_weight:
        terms.append((config.pose_weight, PoseDistance(summed=config.summed)))
    if config.action_cost:
        terms.append((config.action_cost, ActionCost()))
    return latents if len(terms) == 1 else Sum(tuple(terms))


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
