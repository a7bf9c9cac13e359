"""What of ours should be quick or exact: resets, opening a scene, the ends of moves."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from typing import Any

import gymnasium as gym
import numpy as np

from vjepa_gym.envs import REACH, SHORT
from vjepa_gym.envs.stock_robosuite import STEP_SECONDS, StockRobosuite
from vjepa_gym.experiments.benchmark.report import Limit
from vjepa_gym.experiments.timing import duration

FREE_LOW, FREE_HIGH = (0.40, -0.15, 0.18), (0.62, 0.15, 0.33)
"""Where the tool centre begins [m]: far from everything."""
MOVES_FROM_ONE_PLACE = 10
SMALL, LARGE = 0.03, 0.075
"""Largest displacement of a move along each axis [m]."""


def measure_resets(task: str, *, resets: int, image_size: int, seed: int) -> list[Limit]:
    """Return the median time of a task's resets without goal images, and the longest with them."""
    with closing(gym.make(SHORT[task], image_size=image_size)) as env:
        env.reset(seed=seed)  # opens the scene and what draws it

        def reset(number: int, *, goal_images: bool) -> float:
            options = {"goal_images": goal_images}
            return duration(lambda: env.reset(seed=seed + number, options=options))

        without = [reset(i, goal_images=False) for i in range(1, resets + 1)]
        drawn = [reset(i, goal_images=True) for i in range(1, resets + 1)]
    return [
        Limit(
            what=f"{task}: reset without goal images",
            unit="ms",
            ours=1e3 * median(without),
            most=15.0,
            notes={"longest": 1e3 * max(without)},
        ),
        Limit(
            what=f"{task}: first reset with a goal's images, the longest",
            unit="s",
            ours=max(drawn),
            most=0.8,
            notes={"median": median(drawn)},
        ),
    ]


def measure_opening(*, image_size: int, seed: int) -> Limit:
    """Return how long an environment takes to its first picture, once its scene is cached."""

    def open_it() -> None:
        with closing(gym.make(REACH, image_size=image_size, goal_images=False)) as env:
            env.reset(seed=seed)

    open_it()
    began = time.perf_counter()
    taken = duration(open_it)
    notes = {"by_the_clock": time.perf_counter() - began}
    what = "opening a cached scene, to the first picture"
    return Limit(what=what, unit="s", ours=taken, most=0.7, notes=notes)


@dataclass(frozen=True, kw_only=True)
class Ends:
    """How far from where they should moves ended [mm]: the 95th percentile.

    Attributes:
        error: Of those that were not held up.
        held_up: Share of those of which it is said that they were clipped, touched something, or
            went beyond what the joints reach.
    """

    error: float
    held_up: float = 0.0


def measure_moves(
    controller: str, reach: float, *, moves: int, seed: int, seconds: float | None = None
) -> Ends:
    """Make random moves of our arm in free space.

    Args:
        controller: `servo` or `osc`.
        reach: Largest displacement along each axis [m].
        moves: How many.
        seed: Which.
        seconds: How long each takes [s]; None for as long as it needs to settle.
    """
    rng, missed, held_up = np.random.default_rng(seed), [], 0
    with closing(gym.make(REACH, image_size=16, controller=controller)) as env:
        world: Any = env.get_wrapper_attr("world")
        world.arrange({})
        for i in range(moves):
            if i % MOVES_FROM_ONE_PLACE == 0:
                world.arm.place(world.arm.flange_at(rng.uniform(FREE_LOW, FREE_HIGH)))
            displacement = rng.uniform(-reach, reach, 3)
            action = np.concatenate([displacement, np.zeros(4)]).astype(np.float32)
            move = world.arm.move(action, seconds)
            if move.clipped or move.contact or move.joint_limit:
                held_up += 1
            else:
                missed.append(np.linalg.norm(move.achieved[:3] - action[:3]))
    return Ends(error=_percentile(missed), held_up=held_up / moves)


def measure_stock_moves(stock: StockRobosuite, reach: float, *, moves: int, seed: int) -> Ends:
    """Make the same of robosuite's, each of one of its steps."""
    rng, missed = np.random.default_rng(seed), []
    for i in range(moves):
        if i % MOVES_FROM_ONE_PLACE == 0:
            stock.reset()
        displacement = rng.uniform(-reach, reach, 3)
        before = stock.tool
        stock.step(displacement)
        missed.append(np.linalg.norm(stock.tool - before - displacement))
    return Ends(error=_percentile(missed))


def measure_accuracy(
    stock: StockRobosuite, *, moves: int, seed: int, on_part: Callable[[str], None]
) -> list[Limit]:
    """Return how far from where they should moves end, ours and robosuite's.

    Args:
        stock: robosuite's.
        moves: How many of each kind.
        seed: Which.
        on_part: Called with what comes next.
    """
    on_part("ends of moves, as robosuite makes them")
    theirs = measure_stock_moves(stock, SMALL, moves=moves, seed=seed)
    found = []
    for reach, most in ((SMALL, 2.0), (LARGE, 4.0)):
        size = f"moves of up to {100 * reach:g} cm along each axis"
        on_part(size)
        ours = measure_moves("servo", reach, moves=moves, seed=seed)
        osc = measure_moves("osc", reach, moves=moves, seed=seed)
        found.append(_limit(f"{size}, settled; robosuite's controller in our lab", ours, osc, most))
    hasty = measure_moves("servo", SMALL, moves=moves, seed=seed, seconds=STEP_SECONDS)
    what = f"moves of up to {100 * SMALL:g} cm along each axis in {STEP_SECONDS:g} s, not settled"
    found.append(_limit(what, hasty, theirs, None))
    return found


def _limit(what: str, ours: Ends, stock: Ends, most: float | None) -> Limit:
    return Limit(
        what=f"error of {what}, 95th percentile",
        unit="mm",
        ours=ours.error,
        stock=stock.error,
        most=most,
        notes={"held_up": ours.held_up, "stock_held_up": stock.held_up},
    )


def _percentile(missed: list[Any]) -> float:
    return 1e3 * float(np.quantile(missed, 0.95)) if missed else float("nan")
