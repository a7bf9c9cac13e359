"""How fast a part of this package is: beside what others use, in one run."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.benchmark.report import Benchmark
from vjepa_gym.experiments.benchmark.settings import (
    DataSettings,
    PlannerSettings,
    RolloutSettings,
    SimulatorSettings,
    TrainingSettings,
)

SUBJECTS = ("simulator", "data", "rollout", "training", "planner")
SIMULATOR_PARTS = 4
"""Into how many parts its benchmark falls, besides the rounds and the tasks."""
DATA_PARTS = 2
"""Into how many parts that of the data falls, besides the rounds and the episodes."""

OnPart = Callable[[int, str], None]
"""Called with how many parts are done, and with what comes next."""


@dataclass(kw_only=True)
class BenchmarkConfig:
    """What is measured, how much of it, and for how long."""

    what: str = "simulator"
    """What is measured: `simulator` beside robosuite; `data`: clips of training data beside decord,
    and collecting; `rollout`: imagining beside plainly computing everything anew, and fewer bits
    beside 32; `training`: a step of pretraining beside a plain loop around transformers;
    `planner`: each search beside the paper's CEM with plain rollouts."""
    rounds: int = 5
    """How often ours and the others' are measured by turns."""
    seconds: float = 2.0
    """How long each is measured in each round [s], of the processor's time on one core; by the
    clock for rollouts and training, which take at least one rollout or step."""
    core: int = -1
    """Which core to run on; -1 is the first that this process may use. Rollouts and training use
    all, or as many `threads` as their settings say."""
    seed: int = 0
    """Of everything that is drawn at random."""
    simulator: SimulatorSettings = field(default_factory=SimulatorSettings)
    """Of the simulator: what is measured."""
    data: DataSettings = field(default_factory=DataSettings)
    """Of the data: which are collected and read."""
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    """Of rollouts: which are imagined."""
    training: TrainingSettings = field(default_factory=TrainingSettings)
    """Of training: what is trained."""
    planner: PlannerSettings = field(default_factory=PlannerSettings)
    """Of planners: which search on what."""

    def __post_init__(self) -> None:
        if self.what not in SUBJECTS:
            raise UnknownNameError("subject of a benchmark", self.what, SUBJECTS)
        if self.rounds < 1 or self.seconds <= 0 or self.seed < 0:
            raise ValueError(
                "rounds must be at least 1, seconds above 0 and seed not negative, got "
                f"{self.rounds}, {self.seconds} and {self.seed}"
            )
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if self.core != -1 and self.core not in cores:
            raise ValueError(f"core must be -1 or one of {cores}, got {self.core}")

    @property
    def parts(self) -> int:
        """Into how many parts the job falls, for showing how far it is."""
        match self.what:
            case "data":
                return self.rounds + self.data.episodes + DATA_PARTS
            case "rollout":
                return self.rollout.parts
            case "training":
                return self.rounds + 1
            case "planner":
                return self.planner.parts
        return self.rounds + len(self.simulator.tasks) + SIMULATOR_PARTS


def run_benchmark(
    config: BenchmarkConfig, folder: Path, on_part: OnPart | None = None
) -> Benchmark:
    """Measure, and write `results.json` and `table.md` to `folder`; of the simulator a picture too.

    Raises:
        RenderingError: This machine has no working OpenGL.
        VJEPAGymError: What is compared with, robosuite, decord or transformers, is not installed.
    """
    done = 0

    def begin(what: str) -> None:
        nonlocal done
        if on_part is not None:
            on_part(done, what)
        done += 1

    found = _measure(config, folder, begin)
    found.write(folder)
    return found


def _measure(config: BenchmarkConfig, folder: Path, begin: Callable[[str], None]) -> Benchmark:
    core = None if config.core == -1 else config.core
    # The command line reads the class above, and should need neither MuJoCo nor torch for that.
    match config.what:
        case "data":
            from vjepa_gym.experiments.benchmark.data import measure_data as measure

            where = {"folder": folder, "core": core}
        case "rollout":
            from vjepa_gym.experiments.benchmark.rollout import measure_rollout as measure

            where = {}
        case "training":
            from vjepa_gym.experiments.benchmark.training import measure_training as measure

            where = {}
        case "planner":
            from vjepa_gym.experiments.benchmark.planner import measure_planner as measure

            where = {}
        case _:
            from vjepa_gym.experiments.benchmark.simulator import measure_simulator as measure

            where = {"folder": folder, "core": core}
    return measure(
        getattr(config, config.what),
        rounds=config.rounds,
        seconds=config.seconds,
        seed=config.seed,
        on_part=begin,
        **where,
    )
