"""How fast and how exact the simulator is, beside robosuite as it comes, on one core in one run."""

import os
import platform
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from vjepa_gym.envs import SHORT
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.benchmark_report import PICTURE, Benchmark, draw_side_by_side
from vjepa_gym.experiments.timing import one_core

SUBJECTS = ("simulator",)
VERSIONS = ("mujoco", "robosuite", "numpy")

OnPart = Callable[[int, str], None]
"""Called with how many parts are done, and with what comes next."""


@dataclass(kw_only=True)
class BenchmarkConfig:
    """How much is measured, and for how long."""

    what: str = "simulator"
    """What is measured: only the simulator so far."""
    rounds: int = 5
    """How often ours and robosuite's are measured by turns."""
    seconds: float = 2.0
    """How long each is measured in each round [s], of the processor's time."""
    moves: int = 1000
    """Random moves of each kind whose ends are measured."""
    resets: int = 10
    """Resets of each task that are timed, with and without goal images."""
    tasks: list[str] = field(default_factory=lambda: list(SHORT))
    """Tasks whose resets are timed."""
    image_size: int = 128
    """Height and width of the picture at the end of each step [px]."""
    core: int = -1
    """Which core to run on; -1 is the first that this process may use."""
    seed: int = 0
    """Of the moves and the resets."""

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
        return self.rounds + 3 + 1 + len(self.tasks)


def run_benchmark(
    config: BenchmarkConfig, folder: Path, on_part: OnPart | None = None
) -> Benchmark:
    """Measure, and write `results.json`, `table.md` and `rendering.png` to `folder`.

    Raises:
        RenderingError: This machine has no working OpenGL.
        VJEPAGymError: robosuite is not installed.
    """
    # The command line reads the class above, and should not need MuJoCo for that.
    from vjepa_gym.envs.stock_robosuite import StockRobosuite
    from vjepa_gym.experiments import benchmark_limits as limits_of
    from vjepa_gym.experiments.benchmark_speed import measure_speed

    done = 0

    def begin(what: str) -> None:
        nonlocal done
        if on_part is not None:
            on_part(done, what)
        done += 1

    with one_core(None if config.core == -1 else config.core) as core:
        with closing(StockRobosuite(config.image_size, config.seed)) as stock:
            comparisons, pictures = measure_speed(
                stock,
                rounds=config.rounds,
                seconds=config.seconds,
                image_size=config.image_size,
                seed=config.seed,
                on_round=lambda number: begin(f"round {number}"),
            )
            limits = limits_of.measure_accuracy(
                stock, moves=config.moves, seed=config.seed, on_part=begin
            )
        begin("opening")
        limits.append(limits_of.measure_opening(image_size=config.image_size, seed=config.seed))
        for task in config.tasks:
            begin(f"resets of {task}")
            limits += limits_of.measure_resets(
                task, resets=config.resets, image_size=config.image_size, seed=config.seed
            )
    begin("")
    machine = {"core": core, "processor": _processor()}
    machine |= {name: version(name) for name in VERSIONS}
    found = Benchmark(comparisons=comparisons, limits=limits, machine=machine)
    found.write(folder)
    draw_side_by_side(folder / PICTURE, pictures)
    return found


def _processor() -> str:
    """Return what the machine calls its processor."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
