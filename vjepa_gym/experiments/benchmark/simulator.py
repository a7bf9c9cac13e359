"""How fast and how exact the simulator is, beside robosuite as it comes, on one core in one run."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from vjepa_gym.envs.stock_robosuite import StockRobosuite
from vjepa_gym.experiments.benchmark import limits as limits_of
from vjepa_gym.experiments.benchmark.report import PICTURE, Benchmark, draw_side_by_side
from vjepa_gym.experiments.benchmark.settings import SimulatorSettings
from vjepa_gym.experiments.benchmark.speed import measure_speed
from vjepa_gym.experiments.timing import machine, one_core

VERSIONS = ("mujoco", "robosuite", "numpy")


def measure_simulator(
    settings: SimulatorSettings,
    *,
    folder: Path,
    rounds: int,
    seconds: float,
    seed: int,
    core: int | None,
    on_part: Callable[[str], None],
) -> Benchmark:
    """Measure everything, and write `rendering.png`.

    Args:
        settings: How much is measured.
        folder: Where to.
        rounds: How often ours and robosuite's are measured by turns.
        seconds: How long each is measured in each round [s].
        seed: Of the moves and the resets.
        core: Which core to run on; None for the first that this process may use.
        on_part: Called with what comes next.

    Raises:
        RenderingError: This machine has no working OpenGL.
        VJEPAGymError: robosuite is not installed.
    """
    image_size = settings.image_size
    with one_core(core) as used:
        with closing(StockRobosuite(image_size, seed)) as stock:
            comparisons, pictures = measure_speed(
                stock,
                rounds=rounds,
                seconds=seconds,
                image_size=image_size,
                seed=seed,
                on_round=lambda number: on_part(f"round {number}"),
            )
            limits = limits_of.measure_accuracy(
                stock, moves=settings.moves, seed=seed, on_part=on_part
            )
        on_part("opening")
        limits.append(limits_of.measure_opening(image_size=image_size, seed=seed))
        for task in settings.tasks:
            on_part(f"resets of {task}")
            how = {"resets": settings.resets, "image_size": image_size, "seed": seed}
            limits += limits_of.measure_resets(task, **how)
    on_part("")
    draw_side_by_side(folder / PICTURE, pictures)
    return Benchmark(comparisons=comparisons, limits=limits, machine=machine(used, VERSIONS))
