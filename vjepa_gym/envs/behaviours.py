"""How data is made: behaviours that see the simulator's state and choose metric displacements.

A world model has to see what actions do, not only what succeeds: a part of the data is scripted,
a part is disturbed, a part plays with the objects, a part is random (compare OGBench's `noisy` and
`play` data, arXiv 2410.20092).
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeAlias

import numpy as np

from vjepa_gym.envs.experts import toward
from vjepa_gym.envs.placement import REGION_HIGH, REGION_LOW
from vjepa_gym.envs.task import Task
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.sim.world import OBJECTS, World
from vjepa_gym.spaces import MAX_GRIPPER, MAX_ROTATION, MAX_TRANSLATION
from vjepa_gym.types import Action

Behaviour: TypeAlias = Iterator[Action]
"""Yields one action after another; the lab is looked at anew for each."""

ROAM_LOW = REGION_LOW - [0.03, 0.05, 0.07]
ROAM_HIGH = REGION_HIGH + [0.04, 0.05, 0.03]
"""Where the tool centre wanders [m]: a little beyond where it is asked to reach."""
ARRIVED = 0.015
"""A waypoint nearer than this is reached [m]."""
GOES_ASTRAY, STAYS_ASTRAY = 0.15, 0.6
"""How often a step of `noisy` is disturbed, after one that was not and after one that was."""
FUMBLES, TOGGLES = 0.03, 0.08
"""How often a step of `noisy` and of `random` opens or closes the hand for no reason."""


def scripted(world: World, task: Task, rng: np.random.Generator, steps: int) -> Behaviour:
    """Go from one random place to the next, then do the task in the time that it is given."""
    yield from islice(_wander(world, rng), max(0, steps - sum(task.steps)))
    while True:
        yield task.expert(world)


def noisy(world: World, task: Task, rng: np.random.Generator, steps: int) -> Behaviour:
    """Do as `scripted`, for a few steps now and then led astray; rarely open or close the hand.

    The expert goes by what it finds, so that this shows how to recover.
    """
    noise = _ornstein_uhlenbeck(rng, rng.uniform(0.01, 0.04))
    astray = False
    for action, disturbance in zip(scripted(world, task, rng, steps), noise, strict=False):
        astray = rng.random() < (STAYS_ASTRAY if astray else GOES_ASTRAY)
        if astray:
            action[:3] = np.clip(action[:3] + disturbance, -MAX_TRANSLATION, MAX_TRANSLATION)
        if rng.random() < FUMBLES:
            action[6] = _other_end(world)
        yield action


def play(world: World, task: Task, rng: np.random.Generator, steps: int) -> Behaviour:
    """Visit the objects: close on them, carry them, let go; often clumsily."""
    del task, steps
    while True:
        name = OBJECTS[rng.integers(len(OBJECTS))]
        miss = rng.normal(0.0, 0.008, 3)
        place = world.object_pose(name)[:3] + [0.0, 0.0, 0.01] + miss
        above = place + [0.0, 0.0, rng.uniform(0.09, 0.13)]
        yield from _hand(world, 0.0)
        yield from _visit(world, above)
        yield from _visit(world, place)
        yield from _hand(world, 1.0)
        yield from _visit(world, above)
        away = rng.uniform(REGION_LOW, REGION_HIGH)
        yield from _visit(world, away)
        if rng.random() < 0.5:
            yield from _visit(world, np.append(away[:2], place[2] + 0.01))
        yield from _hand(world, 0.0)
        yield from _visit(world, rng.uniform(REGION_LOW, REGION_HIGH))


def random(world: World, task: Task, rng: np.random.Generator, steps: int) -> Behaviour:
    """Drift smoothly at a pace of its own, turn a little, open and close the hand."""
    del task, steps
    scale = np.exp(rng.uniform(np.log(0.01), np.log(0.06)))
    turns = rng.random() < 0.3
    for drift in _ornstein_uhlenbeck(rng, scale, memory=0.6):
        tool = world.arm.tool
        outward = ((tool + drift < ROAM_LOW) & (drift < 0)) | (
            (tool + drift > ROAM_HIGH) & (drift > 0)
        )
        action = np.zeros(7, np.float32)
        action[:3] = np.clip(np.where(outward, -drift, drift), -MAX_TRANSLATION, MAX_TRANSLATION)
        if turns:
            back = -0.3 * world.arm.pose[5]
            action[5] = np.clip(rng.normal(back, 0.08), -MAX_ROTATION, MAX_ROTATION)
        if rng.random() < TOGGLES:
            action[6] = _other_end(world)
        yield action


def idle(world: World, task: Task, rng: np.random.Generator, steps: int) -> Behaviour:
    """Do nothing: a model has to know that nothing comes of it."""
    del world, task, rng, steps
    while True:
        yield np.zeros(7, np.float32)


BEHAVIOURS: dict[str, Callable[[World, Task, np.random.Generator, int], Behaviour]] = {
    "scripted": scripted,
    "noisy": noisy,
    "play": play,
    "random": random,
    "idle": idle,
}


def make_behaviour(
    name: str, world: World, task: Task, rng: np.random.Generator, steps: int
) -> Behaviour:
    """Return the behaviour of that name for an episode that has just begun.

    Args:
        name: One of `BEHAVIOURS`.
        world: The lab; it is looked at, never changed.
        task: What is asked for in it.
        rng: Where everything random comes from.
        steps: How many actions the episode will have.

    Raises:
        UnknownNameError: There is no such behaviour.
    """
    if name not in BEHAVIOURS:
        raise UnknownNameError("behaviour", name, BEHAVIOURS)
    return BEHAVIOURS[name](world, task, rng, steps)


def _wander(world: World, rng: np.random.Generator) -> Behaviour:
    """Go from one random place to the next, straight and as fast as allowed."""
    while True:
        yield from _visit(world, rng.uniform(ROAM_LOW, ROAM_HIGH))


def _visit(world: World, place: np.ndarray, patience: int = 8) -> Behaviour:
    """Go straight to a place [m] with the tool centre.

    The hand is turned down again if something had tilted it. Gives up after `patience` moves, since
    something may be in the way.
    """
    for _ in range(patience):
        if np.linalg.norm(place - world.arm.tool) < ARRIVED:
            return
        action = toward(world, world.arm.flange_at(place))
        action[6] = 0.0
        yield action


def _hand(world: World, closedness: float) -> Behaviour:
    """Open (0) or close (1) the hand in two steps."""
    for _ in range(2):
        action = np.zeros(7, np.float32)
        action[6] = np.clip(closedness - world.arm.closedness, -MAX_GRIPPER, MAX_GRIPPER)
        yield action


def _other_end(world: World) -> float:
    """Return the change of closedness that opens a closed hand and closes an open one."""
    return MAX_GRIPPER if world.arm.closedness < 0.5 else -MAX_GRIPPER


def _ornstein_uhlenbeck(
    rng: np.random.Generator, scale: float, memory: float = 0.8
) -> Iterator[np.ndarray]:
    """Yield correlated noise in three dimensions with standard deviation `scale`."""
    value = rng.normal(0.0, scale, 3)
    while True:
        yield value
        value = memory * value + np.sqrt(1 - memory**2) * rng.normal(0.0, scale, 3)
