"""How fast the simulator, or reading and writing data, is: beside what others use, in one run."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vjepa_gym.envs import SHORT
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.benchmark.report import Benchmark
from vjepa_gym.experiments.benchmark.settings import DataSettings

SUBJECTS = ("simulator", "data")
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
    """What is measured: `simulator` beside robosuite, or `data`: clips of training data beside
    decord, and collecting."""
    rounds: int = 5
    """How often ours and the others' are measured by turns."""
    seconds: float = 2.0
    """How long each is measured in each round [s], of the processor's time."""
    moves: int = 1000
    """Of the simulator: random moves of each kind whose ends are measured."""
    resets: int = 10
    """Of the simulator: resets of each task that are timed, with and without goal images."""
    tasks: list[str] = field(default_factory=lambda: list(SHORT))
    """Of the simulator: tasks whose resets are timed."""
    image_size: int = 128
    """Of the simulator: height and width of the picture at the end of each step [px]."""
    core: int = -1
    """Which core to run on; -1 is the first that this process may use."""
    seed: int = 0
    """Of the moves, the resets, the episodes and the clips."""
    data: DataSettings = field(default_factory=DataSettings)
    """Of the data: which are collected and read."""

    def __post_init__(self) -> None:
        if self.what not in SUBJECTS:
            raise UnknownNameError("subject of a benchmark", self.what, SUBJECTS)
        for task in self.tasks:
            if task not in SHORT:
                raise UnknownNameError("task", task, SHORT)
        if min(self.rounds, self.moves, self.resets) < 1 or self.seconds <= 0:
            raise ValueError(
                "rounds, moves and resets must be at least 1, and seconds above 0, got "
                f"{self.rounds}, {self.moves}, {self.resets} and {self.seconds}"
            )
        if self.image_size < 16 or self.seed < 0:
            raise ValueError(
                "image_size must be at least 16 and seed not negative, got "
                f"{self.image_size} and {self.seed}"
            )
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if self.core != -1 and self.core not in cores:
            raise ValueError(f"core must be -1 or one of {cores}, got {self.core}")

    @property
    def parts(self) -> int:
        """Into how many parts the job falls, for showing how far it is."""
        if self.what == "data":
            return self.rounds + self.data.episodes + DATA_PARTS
        return self.rounds + len(self.tasks) + SIMULATOR_PARTS


def run_benchmark(
    config: BenchmarkConfig, folder: Path, on_part: OnPart | None = None
) -> Benchmark:
    """Measure, and write `results.json` and `table.md` to `folder`; of the simulator a picture too.

    Raises:
        RenderingError: This machine has no working OpenGL.
        VJEPAGymError: robosuite, or decord, is not installed.
    """
    done = 0

    def begin(what: str) -> None:
        nonlocal done
        if on_part is not None:
            on_part(done, what)
        done += 1

    core = None if config.core == -1 else config.core
    # The command line reads the class above, and should not need MuJoCo for that.
    if config.what == "data":
        from vjepa_gym.experiments.benchmark.data import measure_data

        found = measure_data(
            config.data,
            folder,
            rounds=config.rounds,
            seconds=config.seconds,
            seed=config.seed,
            core=core,
            on_part=begin,
        )
    else:
        from vjepa_gym.experiments.benchmark.simulator import measure_simulator

        found = measure_simulator(
            folder,
            rounds=config.rounds,
            seconds=config.seconds,
            moves=config.moves,
            resets=config.resets,
            tasks=config.tasks,
            image_size=config.image_size,
            seed=config.seed,
            core=core,
            on_part=begin,
        )
    found.write(folder)
    return found
