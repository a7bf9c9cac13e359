"""The menu of the command line: every group, its options, and what may be set in each.

Plain dataclasses, each beside what it configures; only `register` knows Hydra.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from vjepa_gym.agents.cem import PLANNERS, CEMConfig, fast
from vjepa_gym.agents.energies import ENERGIES
from vjepa_gym.envs import REACH, check_id
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.jobs.collect import CollectConfig
from vjepa_gym.experiments.jobs.demo import DemoConfig
from vjepa_gym.experiments.jobs.evaluate import EvaluateConfig
from vjepa_gym.experiments.jobs.gates import GatesConfig
from vjepa_gym.experiments.jobs.pretrain import PretrainConfig
from vjepa_gym.experiments.jobs.train import TrainConfig
from vjepa_gym.spaces import IMAGE_SIZE
from vjepa_gym.world_models.post_training import POST_TRAINING
from vjepa_gym.world_models.presets import MODELS
from vjepa_gym.world_models.pretraining import PRETRAINING


@dataclass(kw_only=True)
class EnvConfig:
    """What is to be done, and how it is seen."""

    id: str = REACH
    """Registered name of the environment."""
    image_size: int = IMAGE_SIZE
    """Height and width of the images [px]."""

    def __post_init__(self) -> None:
        check_id(self.id)
        if self.image_size < 16:
            raise ValueError(f"image_size must be at least 16 px, got {self.image_size}")


@dataclass(kw_only=True)
class WorldModelConfig:
    """What the agent imagines with."""

    source: str = "tiny"
    """Name of a shipped model, or a folder that `train` left."""
    persistence: bool = False
    """Whether to imagine that nothing changes instead, a control that says what luck is worth."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""


@dataclass(kw_only=True)
class PlanningConfig:
    """An agent that plans with the world model."""

    planner: CEMConfig = field(default_factory=fast)
    """How actions are searched for; `agent.planner=<name>` takes a preset."""
    energy: str = "l1"
    """How an imagined view is compared with the goal."""
    summed: bool = True
    """Whether every imagined step counts, rather than the last."""
    max_context: int = 1
    """Most views that the world model is given; V-JEPA 2 plans from one."""
    seed: int = 0
    """Of the random actions that the search draws."""

    def __post_init__(self) -> None:
        if self.energy not in ENERGIES:
            raise UnknownNameError("energy", self.energy, ENERGIES)


@dataclass(kw_only=True)
class RandomConfig:
    """An agent that does anything."""

    seed: int = 0
    """Of its moves."""


@dataclass(kw_only=True)
class HoldStillConfig:
    """An agent that does nothing."""


@dataclass(kw_only=True)
class ExpertConfig:
    """An agent that is told the goal's pose and goes there: the upper bound."""


@dataclass(kw_only=True)
class ExperimentConfig:
    """All that a run depends on."""

    job: Any = MISSING
    """What to do."""
    env: EnvConfig = MISSING
    """Where `evaluate` does it."""
    world_model: WorldModelConfig = MISSING
    """What the agent of `evaluate` imagines with, if it does."""
    agent: Any = MISSING
    """Who does it in `evaluate`."""


GROUPS: Mapping[str, Mapping[str, Any]] = {
    "job": {
        "demo": DemoConfig,
        "collect": CollectConfig,
        "pretrain": PretrainConfig,
        "train": TrainConfig,
        "gates": GatesConfig,
        "evaluate": EvaluateConfig,
    },
    "env": {"reach": EnvConfig},
    "world_model": {
        "tiny": WorldModelConfig,
        "persistence": WorldModelConfig(persistence=True),
    },
    "agent": {
        "planning": PlanningConfig,
        "random": RandomConfig,
        "hold_still": HoldStillConfig,
        "expert": ExpertConfig,
    },
}
"""The options of each group: a dataclass, or an instance with other defaults."""

PRESETS: Mapping[str, Mapping[str, Mapping[str, Callable[[], Any]]]] = {
    "demo": {"job.planner": PLANNERS},
    "pretrain": {"job.model": MODELS, "job.training": PRETRAINING},
    "train": {"job.model": MODELS, "job.training": POST_TRAINING},
    "evaluate": {"agent.planner": PLANNERS},
}
"""For each job, the keys that also take the name of a preset: `agent.planner=fast`."""


def preset_group(job: str, key: str) -> str:
    """Return what Hydra calls the presets of a key."""
    return f"presets/{job}/{key.replace('.', '/')}"


def typed_key(group: str) -> str:
    """Return what a user types for a group of Hydra's: the inverse of `preset_group`."""
    parts = group.split("/")
    return ".".join(parts[2:]) if parts[0] == "presets" else group


@cache
def register() -> None:
    """Tell Hydra the menu, once."""
    store = ConfigStore.instance()
    store.store("schema", ExperimentConfig)
    for group, options in GROUPS.items():
        for name, node in options.items():
            store.store(name, node, group=group)
    for job, keys in PRESETS.items():
        for key, presets in keys.items():
            for name, make in presets.items():
                store.store(name, make(), group=preset_group(job, key), package=key)
