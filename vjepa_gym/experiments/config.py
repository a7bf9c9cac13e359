"""The menu of the command line: every group, its options, and what may be set in each.

Plain dataclasses, each beside what it configures; only `register` knows Hydra.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from vjepa_gym.agents.planners import PLANNERS
from vjepa_gym.envs import SHORT
from vjepa_gym.experiments.collect.presets import COLLECTIONS
from vjepa_gym.experiments.jobs.audit import AuditConfig
from vjepa_gym.experiments.jobs.benchmark import BenchmarkConfig
from vjepa_gym.experiments.jobs.collect import CollectConfig
from vjepa_gym.experiments.jobs.compare import CompareConfig
from vjepa_gym.experiments.jobs.convert import ConvertConfig
from vjepa_gym.experiments.jobs.demo import DemoConfig
from vjepa_gym.experiments.jobs.evaluate import EvaluateConfig
from vjepa_gym.experiments.jobs.features import FeaturesConfig
from vjepa_gym.experiments.jobs.gates import GatesConfig
from vjepa_gym.experiments.jobs.goal import GoalConfig
from vjepa_gym.experiments.jobs.heads import HeadsConfig
from vjepa_gym.experiments.jobs.imagine import ImagineConfig
from vjepa_gym.experiments.jobs.landscape import LandscapeConfig
from vjepa_gym.experiments.jobs.pretrain import PretrainConfig
from vjepa_gym.experiments.jobs.probe import ProbeConfig
from vjepa_gym.experiments.jobs.train import TrainConfig
from vjepa_gym.experiments.settings import (
    EnvConfig,
    ExpertConfig,
    HoldStillConfig,
    InverseConfig,
    PlanningConfig,
    RandomConfig,
    WorldModelConfig,
)
from vjepa_gym.world_models.post_training_config import POST_TRAINING
from vjepa_gym.world_models.presets import MODELS
from vjepa_gym.world_models.pretraining_presets import PRETRAINING


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
        "audit": AuditConfig,
        "convert": ConvertConfig,
        "pretrain": PretrainConfig,
        "train": TrainConfig,
        "heads": HeadsConfig,
        "probe": ProbeConfig,
        "features": FeaturesConfig,
        "gates": GatesConfig,
        "goal": GoalConfig,
        "imagine": ImagineConfig,
        "landscape": LandscapeConfig,
        "evaluate": EvaluateConfig,
        "compare": CompareConfig,
        "benchmark": BenchmarkConfig,
    },
    "env": {name: EnvConfig(id=env_id) for name, env_id in SHORT.items()},
    "world_model": {
        "tiny": WorldModelConfig,
        "persistence": WorldModelConfig(dynamics="persistence"),
        "oracle": WorldModelConfig(dynamics="oracle"),
    },
    "agent": {
        "planning": PlanningConfig,
        "two_level": PlanningConfig(two_level=True),
        "inverse": InverseConfig,
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
    "imagine": {"agent.planner": PLANNERS},
    "evaluate": {"agent.planner": PLANNERS},
    "compare": {"agent.planner": PLANNERS},
}
"""For each job, the keys that also take the name of a preset: `agent.planner=fast`."""

WHOLE_PRESETS: Mapping[str, Mapping[str, Callable[[], Mapping[str, Any]]]] = {
    "collect": COLLECTIONS
}
"""For each job, presets that set several of its keys at once: `job.preset=small`."""
WHOLE = "job.preset"
"""What is typed for them."""


SWAPPED = ("agent.planner", "job.planner")
"""The keys whose presets are of several dataclasses. Hydra would merge one over another, and end up
with the fields of both. So they are left open in the options that have them, and filled by a
default of their own (`presets/experiment.yaml`): the preset `_<option>` if none is named."""


def preset_group(job: str, key: str) -> str:
    """Return what Hydra calls the presets of a key."""
    return f"presets/{'all' if key in SWAPPED else job}/{key.replace('.', '/')}"


def agent_name(agent: Any) -> str:
    """Return which option of the group `agent` a configuration is of."""
    if isinstance(agent, PlanningConfig):
        return "two_level" if agent.two_level else "planning"
    return next(name for name, kind in GROUPS["agent"].items() if type(agent) is kind)


def typed_key(group: str) -> str:
    """Return what a user types for a group of Hydra's: the inverse of `preset_group`."""
    parts = group.split("/")
    return ".".join(parts[2:]) if parts[0] == "presets" else group


def job_of(overrides: Iterable[str]) -> str:
    """Return which job Hydra's overrides name, or nothing."""
    return next((word[4:] for word in overrides if word.startswith("job=")), "")


def job_keys(job: str) -> list[str]:
    """Return what may be set of a job: its fields, and its presets if it has any; none if unknown.

    They are as typed: `job.root`.
    """
    node = GROUPS["job"].get(job)
    names = [f"job.{field.name}" for field in fields(node)] if node is not None else []
    return [*names, *([WHOLE] if job in WHOLE_PRESETS else [])]


@cache
def mapping_keys(job: str) -> frozenset[str]:
    """Return the keys of a job and of the other groups whose values are mappings: `job.mix`."""
    nodes = [("job", GROUPS["job"][job])] if job in GROUPS["job"] else []
    nodes += [(name, node) for name in GROUPS if name != "job" for node in GROUPS[name].values()]
    found: set[str] = set()
    for prefix, node in nodes:
        found.update(_mappings(prefix, node() if isinstance(node, type) else node))
    return frozenset(found)


def _mappings(prefix: str, config: Any) -> Iterator[str]:
    for field in fields(config):
        key, value = f"{prefix}.{field.name}", getattr(config, field.name)
        if is_dataclass(value):
            yield from _mappings(key, value)
        elif isinstance(value, dict):
            yield key


@cache
def register() -> None:
    """Tell Hydra the menu, once."""
    store = ConfigStore.instance()
    store.store("schema", ExperimentConfig)
    for group, options in GROUPS.items():
        for name, node in options.items():
            store.store(name, _left_open(group, node), group=group)
    for key in SWAPPED:
        _store_defaults(store, key)
    for job, keys in PRESETS.items():
        for key, presets in keys.items():
            for name, make in presets.items():
                store.store(name, make(), group=preset_group(job, key), package=key)
    for job, presets in WHOLE_PRESETS.items():
        for name, make in presets.items():
            store.store(name, dict(make()), group=preset_group(job, WHOLE), package="job")


def _left_open(group: str, node: Any) -> Any:
    """Return an option without those of its fields that are filled by a default of their own."""
    config = OmegaConf.structured(node)
    for key in SWAPPED:
        above, _, field = key.partition(".")
        if above == group and field in config:
            config[field] = MISSING
    return config


def _store_defaults(store: ConfigStore, key: str) -> None:
    """Store what a key of `SWAPPED` is by default, for each option of its group."""
    group, _, field = key.partition(".")
    for name, node in GROUPS[group].items():
        config = node() if isinstance(node, type) else node
        filled = hasattr(config, field)
        store.store(
            f"_{name}",
            getattr(config, field) if filled else {},
            group=preset_group("", key),
            package=key if filled else "_global_",
        )
