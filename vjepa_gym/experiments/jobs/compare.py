"""Any agents in any tasks and labs on the same seeds: one table, resumed where it was stopped."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym

from vjepa_gym.envs import SHORT
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.collect.config import LABS
from vjepa_gym.experiments.compare.cells import Cell, check_task
from vjepa_gym.experiments.compare.contenders import CONTENDERS, Contender
from vjepa_gym.experiments.compare.driving import drive
from vjepa_gym.experiments.compare.figures import PRIVILEGED, Comparison, read_comparison
from vjepa_gym.experiments.compare.ledger import Ledger
from vjepa_gym.experiments.compare.outcome import Outcome
from vjepa_gym.experiments.compare.report import write_comparison
from vjepa_gym.experiments.settings import EnvConfig, VariationConfig

logger = logging.getLogger(__name__)
DEFAULT_AGENTS = ("planning", "no_proposals", "inverse", "hold_still", "random", "expert")
OnOutcome: TypeAlias = Callable[[Cell, str, Outcome], None]
"""Called with the cell, the agent's name and each of its episodes that is over."""
OpenEnvs: TypeAlias = Callable[[EnvConfig, int], gym.vector.VectorEnv]
"""Makes so many environments that are stepped together."""


@dataclass(kw_only=True)
class CompareConfig:
    """Who is compared, in what, and how much is measured."""

    agents: list[str] = field(default_factory=lambda: list(DEFAULT_AGENTS))
    """The rows: `planning`, whose settings are those of group `agent`; `two_level`, with a planner
    above it; `no_proposals`, `with_proposals`, and `inverse`, the proposals alone; `persistence`,
    which imagines that nothing changes; `oracle`, which asks the simulator, with a search of 128
    samples one step ahead; `hold_still`, `random`, `expert`. Of the default ones, those that make
    sense with the model."""
    tasks: list[str] = field(default_factory=lambda: list(SHORT))
    """The columns, by the names that `env=` has or by registered names; `pick_place_cup:single` and
    `pick_place_box:single` show the last goal image only."""
    labs: list[str] = field(default_factory=lambda: list(LABS))
    """Where: `train`, where data is made, and `test`, which no model has seen."""
    variation: Any = "wide"
    """What differs from one episode to the next: the name of a preset (`none`, `camera`, `narrow`,
    `wide`), or a mapping as `env.variation` takes it: `{preset:narrow,camera_height:0.9}`."""
    episodes: int = 100
    """Episodes of each agent in each cell; an interval is then at most 10 points to either side."""
    first_seed: int = 10000
    """Episodes have this seed and the following ones, everywhere the same. `evaluate` begins at 0,
    so that what was tuned there is not measured here."""
    few: dict[str, int] = field(default_factory=lambda: {"oracle": 10})
    """Agents that are too slow for so many episodes, and how many they have at most."""
    num_envs: int = 4
    """Robots that are driven at the same time. Seeds are driven in batches of so many, by their
    place in the list; a batch that was broken off begins anew, so that who is stopped and resumed
    finds the same as who is not."""
    processes: bool = False
    """Whether each environment has a process of its own; not for the oracle."""
    folder: str = "runs/compare"
    """Where results accumulate, one line an episode. The same command goes on where it was stopped,
    and shows the table when nothing is left to do; other agents, tasks, labs or more episodes add
    to it. Whatever else is changed needs another folder."""

    def __post_init__(self) -> None:
        for name in ("agents", "tasks", "labs"):
            _check_list(name, getattr(self, name))
        for task in self.tasks:
            check_task(task)
        for lab in self.labs:
            if lab not in LABS:
                raise UnknownNameError("lab", lab, LABS)
        for agent in (*self.agents, *self.few):
            if agent not in CONTENDERS:
                raise UnknownNameError("agent", agent, CONTENDERS)
        for name in ("episodes", "num_envs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.first_seed < 0:
            raise ValueError(f"first_seed must not be negative, got {self.first_seed}")
        for agent, count in self.few.items():
            if count < 1:
                raise ValueError(f"few.{agent} must be at least 1, got {count}")
        self.chosen_variation()

    def chosen_variation(self) -> dict[str, Any]:
        """Return what differs from one episode to the next, as `VariationConfig` takes it.

        Raises:
            UnknownNameError: There is no such preset or factor.
        """
        given = self.variation
        chosen = dict(given) if isinstance(given, Mapping) else {"preset": given}
        known = VariationConfig.__dataclass_fields__
        for name in chosen:
            if name not in known:
                raise UnknownNameError("factor of job.variation", name, known)
        VariationConfig(**chosen).choice()
        return chosen

    def cells(self) -> list[Cell]:
        """Return the cells in the order in which they are measured."""
        return [Cell(task, lab) for lab in self.labs for task in self.tasks]

    def seeds(self, agent: str) -> range:
        """Return the seeds of an agent's episodes."""
        count = min(self.episodes, self.few.get(agent, self.episodes))
        return range(self.first_seed, self.first_seed + count)


def run_compare(
    config: CompareConfig,
    *,
    base: EnvConfig,
    contenders: Sequence[Contender],
    open_envs: OpenEnvs,
    code: Mapping[str, Any] | None = None,
    on_outcome: OnOutcome | None = None,
) -> Comparison:
    """Measure what is missing, and write the table after each agent of each cell.

    Agents are made anew for every batch of seeds. A last batch of fewer seeds is filled up with
    those that follow, which nobody keeps: more episodes later on then change nothing.

    Args:
        config: What is compared.
        base: What the environments have in common.
        contenders: The agents, by the names in `config`.
        open_envs: Makes environments.
        code: Version of the code, which is noted down.
        on_outcome: Called with each episode as soon as it is written.

    Returns:
        All that is in the folder: what was there before as well.

    Raises:
        EvaluationError: What is in the folder was measured with other settings, or is damaged.
    """
    ledger = Ledger(Path(config.folder))
    ledger.join(
        _settings(config, base),
        {one.name: {PRIVILEGED: one.privileged, **one.settings} for one in contenders},
        tasks=config.tasks,
        labs=config.labs,
        code=code or {},
    )
    for cell in config.cells():
        pending = [one for one in contenders if _missing(config, ledger, cell, one.name)]
        if pending:
            logger.info("Measuring %s in lab %s.", cell.task, cell.lab)
            env = cell.env(base, config.chosen_variation())
            with closing(open_envs(env, config.num_envs)) as envs:
                _measure(config, ledger, cell, envs, pending, on_outcome)
    comparison = read_comparison(ledger)
    write_comparison(comparison, ledger.folder)
    return comparison


def finished(config: CompareConfig, agents: Sequence[str]) -> Iterator[tuple[Cell, str, Outcome]]:
    """Yield the episodes that are over already, of those that `config` asks for.

    Args:
        config: What is compared.
        agents: By name.
    """
    ledger = Ledger(Path(config.folder))
    for cell in config.cells():
        for agent in agents:
            for outcome in ledger.outcomes(cell, agent):
                if outcome.seed in config.seeds(agent):
                    yield cell, agent, outcome


def _measure(
    config: CompareConfig,
    ledger: Ledger,
    cell: Cell,
    envs: gym.vector.VectorEnv,
    contenders: Sequence[Contender],
    on_outcome: OnOutcome | None,
) -> None:
    """Measure what is missing of some agents in one cell."""
    for one in contenders:
        one.make(envs, config.first_seed)  # what cannot be made is said before anything is driven
    looking = next((one for one in contenders if one.sees_with is not None), None)
    for one in contenders:
        seen_by = one.sees_with() if one is looking and one.sees_with else None
        missing = _missing(config, ledger, cell, one.name)
        told = partial(on_outcome, cell, one.name) if on_outcome else None
        with ledger.adding(cell, one.name, told) as add:
            drive(one, envs, config.seeds(one.name), missing, add, seen_by=seen_by)
        write_comparison(read_comparison(ledger), ledger.folder)


def _missing(config: CompareConfig, ledger: Ledger, cell: Cell, agent: str) -> set[int]:
    there = {outcome.seed for outcome in ledger.outcomes(cell, agent)}
    return set(config.seeds(agent)) - there


def _settings(config: CompareConfig, base: EnvConfig) -> dict[str, Any]:
    """Return what all results depend on."""
    return {
        "first_seed": config.first_seed,
        "num_envs": config.num_envs,
        "variation": config.chosen_variation(),
        "gripper": base.gripper,
        "controller": base.controller,
        "image_size": base.image_size,
        "options": base.options,
    }


def _check_list(name: str, values: Sequence[str]) -> None:
    if not values:
        raise ValueError(f"{name} must name at least one")
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{name} has {value!r} more than once")
