"""Control steps and pictures a second: ours and stock robosuite's, by turns."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from statistics import mean, median
from typing import Any

import gymnasium as gym
import numpy as np

from vjepa_gym.envs import REACH
from vjepa_gym.envs.stock_robosuite import REACH as LONGEST
from vjepa_gym.envs.stock_robosuite import STEP_SECONDS, StockRobosuite
from vjepa_gym.experiments.benchmark.report import Comparison
from vjepa_gym.experiments.timing import Rate, rate
from vjepa_gym.types import Image

SIZES = (128, 256)
"""Of the pictures whose rate is measured [px]."""
SHOWN = 256
"""Of the pictures that are shown [px]."""
NEVER = 10**9


def measure_speed(
    stock: StockRobosuite,
    *,
    rounds: int,
    seconds: float,
    image_size: int,
    seed: int,
    on_round: Callable[[int], None],
) -> tuple[list[Comparison], dict[str, Image]]:
    """Measure both by turns.

    Both step through the same random displacements of up to 5 cm along each axis, each there and
    back again, with one picture at the end of each step. On robosuite's table stands a cube; on
    ours a box for the steps of equal length, and in those that settle all that `FrankaReach` has.

    Args:
        stock: robosuite's; its camera is put where ours is.
        rounds: How often each is measured.
        seconds: How long each time, of the processor's time.
        image_size: Of the picture at the end of each step [px].
        seed: Of the displacements.
        on_round: Called with the number of each round before it begins.

    Returns:
        What was measured, and what both draw of an arm in the same place, by its caption.
    """
    with ExitStack() as opened:

        def make(**options: Any) -> Any:
            env = gym.make(REACH, goal_images=False, horizon=NEVER, **options).unwrapped
            env.reset(seed=seed)
            return opened.enter_context(closing(env))

        timed = make(image_size=image_size).world
        _leave_one_box(timed)
        settled = make(image_size=image_size)
        drawn = {size: make(image_size=size).world for size in {*SIZES, SHOWN}}
        _stand_alike(stock, drawn[SHOWN])
        pictures = drawn[SHOWN].image(), stock.image(SHOWN)
        moved: list[float] = []

        def move(displacement: np.ndarray) -> None:
            timed.arm.move(_action(displacement), STEP_SECONDS)
            timed.image()

        def settle(displacement: np.ndarray) -> None:
            *_, info = settled.step(_action(displacement))
            moved.append(info["step_seconds"])

        tasks: dict[str, Callable[[], object]] = {
            "timed": _with(seed, move),
            "settled": _with(seed, settle),
            "stock": _with(seed, stock.step),
        }
        for size in SIZES:
            tasks[f"draw {size}"] = drawn[size].image
            tasks[f"stock draw {size}"] = lambda size=size: stock.image(size)
        for task in tasks.values():
            rate(task, 0.0)  # some things are compiled or opened only now
        moved.clear()
        rates: dict[str, list[Rate]] = {name: [] for name in tasks}
        for i in range(rounds):
            on_round(i + 1)
            for name, task in tasks.items():
                rates[name].append(rate(task, seconds))
    found = _comparisons(rates, mean(moved), image_size)
    ours, theirs = (rates[f"{who}draw {SIZES[0]}"] for who in ("", "stock "))
    captions = (_caption("vjepa_gym", ours), _caption("stock robosuite", theirs))
    return found, dict(zip(captions, pictures, strict=True))


def _comparisons(
    rates: dict[str, list[Rate]], step_seconds: float, image_size: int
) -> list[Comparison]:
    """Return what follows from the rates, with settled moves that took `step_seconds` of motion."""
    stock, settled = rates["stock"], rates["settled"]
    picture = f"with a picture of {image_size} px each"
    found = [
        Comparison(
            what=f"control steps of {STEP_SECONDS:g} s, {picture}",
            ours=rates["timed"],
            stock=stock,
            least=8.0,
        ),
        Comparison(
            what=f"steps of FrankaReach, settled ({step_seconds:.2f} s in the mean), {picture}",
            ours=settled,
            stock=stock,
            least=5.0,
        ),
        Comparison(
            what="seconds of arm motion in these",
            ours=[rate.times(step_seconds) for rate in settled],
            stock=[rate.times(STEP_SECONDS) for rate in stock],
        ),
    ]
    for size, least in zip(SIZES, (10.0, None), strict=True):
        found.append(
            Comparison(
                what=f"pictures of {size} px",
                ours=rates[f"draw {size}"],
                stock=rates[f"stock draw {size}"],
                least=least,
            )
        )
    return found


def _there_and_back(seed: int) -> Iterator[np.ndarray]:
    """Yield random displacements [m], each followed by its opposite."""
    rng = np.random.default_rng(seed)
    while True:
        displacement = rng.uniform(-LONGEST, LONGEST, 3)
        yield displacement
        yield -displacement


def _with(seed: int, step: Callable[[np.ndarray], object]) -> Callable[[], object]:
    """Return a step along the next displacement."""
    displacements = _there_and_back(seed)
    return lambda: step(next(displacements))


def _action(displacement: np.ndarray) -> np.ndarray:
    return np.concatenate([displacement, np.zeros(4)]).astype(np.float32)


def _stand_alike(stock: StockRobosuite, world: Any) -> None:
    camera = world.model.camera("left")
    stock.imitate(world.arm.joints, camera.pos, camera.quat, float(camera.fovy[0]))


def _leave_one_box(world: Any) -> None:
    """Have as much on the table as robosuite has, away from the arm."""
    pose = world.arm.pose
    world.arrange({"box": np.array([0.6, 0.25, 0.0])})
    world.arm.place(pose)


def _caption(whose: str, rates: list[Rate]) -> str:
    return f"{whose}: {median(rate.process for rate in rates):.0f} frames/s at {SIZES[0]} px"
