"""The agents that a comparison knows by name, each with what its results depend on."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym

from vjepa_gym.errors import EvaluationError, UnknownNameError
from vjepa_gym.experiments.causes import foresight
from vjepa_gym.experiments.compare.digests import digests
from vjepa_gym.experiments.factory import Factory
from vjepa_gym.experiments.settings import (
    ExpertConfig,
    HoldStillConfig,
    InverseConfig,
    PlanningConfig,
    RandomConfig,
)
from vjepa_gym.experiments.usage import UsageError
from vjepa_gym.learning.checkpoints import to_json
from vjepa_gym.types import Agent
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

logger = logging.getLogger(__name__)
Make = Callable[[gym.vector.VectorEnv, int], Agent]
"""Makes an agent for some environments, its own random numbers seeded."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """An agent that takes part in a comparison.

    Attributes:
        name: What its row is called.
        make: Makes it anew, so that no batch of episodes depends on those before.
        settings: All that its results depend on, as JSON values.
        privileged: Whether it knows what no image shows.
        counted: Whether the plans that it shows are all that it imagines.
        sees_with: Returns the model that it sees with, if it does.
    """

    name: str
    make: Make
    settings: Mapping[str, Any]
    privileged: bool = False
    counted: bool = True
    sees_with: Callable[[], VJEPA2AC] | None = None


def find_contenders(
    names: Sequence[str], factory: Factory, agent: Any, *, usual: bool = False
) -> list[Contender]:
    """Return the agents of these names.

    Args:
        names: Of `CONTENDERS`.
        factory: Makes them.
        agent: The configuration of group `agent`: of those that plan, or of the head's policy.
        usual: Whether nobody asked for these in particular: those that make no sense with this
            model are left out, and a line of the log says which and why.

    Raises:
        UnknownNameError: There is no agent of such a name.
        UsageError: The world model is not a learned one, or `agent` does not plan.
        EvaluationError: One makes no sense with this model; says why.
    """
    for name in names:
        if name not in CONTENDERS:
            raise UnknownNameError("agent", name, CONTENDERS)
    if factory.config.dynamics != "learned":
        raise UsageError(
            f"Agents are compared by name: take world_model=tiny and add {factory.config.dynamics} "
            "to job.agents."
        )
    found: list[Contender] = []
    for name in names:
        try:
            found.append(CONTENDERS[name](name, factory, agent))
        except EvaluationError as error:
            if not usual:
                raise
            logger.warning("Left out: %s", error)
    return found


def _planning(name: str, factory: Factory, agent: Any) -> Contender:
    agent = _plans(name, agent)
    config = factory.settled(replace(agent, two_level=True) if name == "two_level" else agent)
    return Contender(
        name=name,
        make=lambda envs, _: factory.agent(config, envs),
        settings=_settings(factory, config),
        privileged=config.pose_weight > 0,
        counted=not config.two_level,
        sees_with=lambda: factory.model,
    )


def _control(name: str, factory: Factory, agent: Any) -> Contender:
    """Return an agent that plans likewise but for one thing."""
    agent = _plans(name, agent)
    factory.control_names([name], agent)  # or it says why not
    return Contender(
        name=name,
        make=lambda envs, seed: factory.controls([name], agent, seed, envs)[name],
        settings=_settings(factory, factory.settled(agent), inverse=name == "with_proposals"),
        privileged=agent.pose_weight > 0,
        counted=not agent.two_level,
        sees_with=lambda: factory.model,
    )


def _inverse(name: str, factory: Factory, agent: Any) -> Contender:
    if isinstance(agent, PlanningConfig):
        factory.control_names([name], agent)
        settings = {"within": InverseConfig().within, "camera_turn": agent.camera_turn}
        found = _settings(factory, settings, inverse=True)
        return Contender(
            name=name,
            make=lambda envs, seed: factory.controls([name], agent, seed, envs)[name],
            settings=found,
            sees_with=lambda: factory.model,
        )
    config = agent if isinstance(agent, InverseConfig) else InverseConfig()
    return Contender(
        name=name,
        make=lambda envs, _: factory.agent(config, envs),
        settings=_settings(factory, config, inverse=True),
        sees_with=lambda: factory.model,
    )


def _oracle(name: str, factory: Factory, agent: Any) -> Contender:
    """Return an agent that asks the simulator; its search is one that leaves that affordable."""
    agent = _plans(name, agent)
    config = replace(
        agent,
        planner=foresight(agent.planner),
        proposals=0,
        prior=0.0,
        two_level=False,
        camera_turn=0.0,
    )

    def make(envs: gym.vector.VectorEnv, seed: int) -> Agent:
        del seed
        asking = Factory(replace(factory.config, dynamics="oracle"))
        vars(asking)["model"] = factory.model  # what is loaded already encodes for both
        return asking.agent(config, envs)

    return Contender(
        name=name,
        make=make,
        settings=_settings(factory, config) | {"dynamics": "oracle"},
        privileged=True,
        sees_with=lambda: factory.model,
    )


def _plain(name: str, factory: Factory, agent: Any) -> Contender:
    """Return an agent without a model."""
    del agent
    configs: dict[str, Callable[[int], Any]] = {
        "hold_still": lambda _: HoldStillConfig(),
        "random": lambda seed: RandomConfig(seed=seed),
        "expert": lambda _: ExpertConfig(),
    }
    return Contender(
        name=name,
        make=lambda envs, seed: factory.agent(configs[name](seed), envs),
        settings={},
        privileged=name == "expert",
    )


CONTENDERS: Mapping[str, Callable[[str, Factory, Any], Contender]] = {
    "planning": _planning,
    "two_level": _planning,
    "no_proposals": _control,
    "with_proposals": _control,
    "persistence": _control,
    "inverse": _inverse,
    "oracle": _oracle,
    "hold_still": _plain,
    "random": _plain,
    "expert": _plain,
}
"""What makes each agent, from its name, a factory and the configuration of group `agent`."""


def _plans(name: str, agent: Any) -> PlanningConfig:
    if isinstance(agent, PlanningConfig):
        return agent
    raise UsageError(
        f"job.agents has {name!r}, which plans: its settings are those of agent=planning or "
        "agent=two_level; name other agents in job.agents instead of agent=..."
    )


def _settings(factory: Factory, config: Any, *, inverse: bool = False) -> dict[str, Any]:
    """Return what the results of an agent with a model depend on."""
    heads = ["inverse"] if inverse else []
    if isinstance(config, PlanningConfig):
        heads = ["inverse"] if inverse or config.proposals or config.prior else []
        heads += ["macro"] if config.two_level else []
    return {
        "agent": config if isinstance(config, dict) else to_json(config),
        "precision": factory.config.precision,
        "model": digests(factory, heads),
    }
